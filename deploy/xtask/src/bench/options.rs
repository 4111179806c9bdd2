//! Options of `cargo xtask bench`, most of them passed on as they are.

use clap::Args;
use std::path::PathBuf;

/// Options of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchOptions {
    /// Only rows whose names contain one of these words, with commas between; bench/RESULTS.md is left alone then
    #[arg(long, value_name = "FILTER")]
    pub(crate) rows: Option<String>,
    /// Length of a round in seconds; each row has three for each side
    #[arg(long, value_name = "S", default_value_t = 1.5)]
    pub(crate) seconds: f64,
    /// Rounds of each row and side
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: u32,
    /// All rows: every size by every number of clients on every cluster, a folder of a million entries; hours
    #[arg(long)]
    pub(crate) long: bool,
    /// Time codec, checksums, keys, state machine, log and shard frames by themselves, without a cluster; with a word, only cases whose names match it
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "", exclusive = true)]
    pub(crate) micro: Option<String>,
    /// Name the rows, and return
    #[arg(long)]
    pub(crate) list: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Build this commit in a temporary worktree and measure it in turn with what is here
    #[arg(long, value_name = "COMMIT")]
    pub(crate) compare: Option<String>,
    /// Where clusters keep their data while they are measured; the file system that is measured [default: ~/.cache/skep/bench]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) peer: PeerOptions,
}

/// A server that runs already.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeerOptions {
    /// URL of a WebDAV folder or an S3 endpoint that runs already, measured in turn by the same requests; several with commas between: its nodes
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// webdav or s3 [default: webdav]
    #[arg(long, value_name = "KIND", requires = "target")]
    pub(crate) target_kind: Option<String>,
    /// Its login or access key
    #[arg(long, value_name = "LOGIN", requires = "target")]
    pub(crate) target_login: Option<String>,
    /// File that holds its password or secret key
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) target_password_file: Option<PathBuf>,
    /// What to call it [default: peer]
    #[arg(long, value_name = "NAME", requires = "target")]
    pub(crate) target_name: Option<String>,
    /// S3: the bucket [default: bench]
    #[arg(long, value_name = "BUCKET", requires = "target")]
    pub(crate) target_bucket: Option<String>,
    /// S3: the region [default: us-east-1]
    #[arg(long, value_name = "REGION", requires = "target")]
    pub(crate) target_region: Option<String>,
    /// Its processes on this machine, with commas between, so that their CPU time and memory are shown
    #[arg(long, value_name = "PIDS", requires = "target")]
    pub(crate) target_pids: Option<String>,
    /// PEM file of the authority that signed its certificate, for https
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) target_ca: Option<PathBuf>,
}

impl BenchOptions {
    /// What the bench is told as it was told here.
    pub(super) fn passed_on(&self) -> Vec<String> {
        let peer = &self.peer;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let pairs = [
            ("--rows", self.rows.clone()),
            ("--seconds", Some(self.seconds.to_string())),
            ("--rounds", Some(self.rounds.to_string())),
            ("--target", peer.target.clone()),
            ("--target-kind", peer.target_kind.clone()),
            ("--target-login", peer.target_login.clone()),
            ("--target-password-file", path(&peer.target_password_file)),
            ("--target-name", peer.target_name.clone()),
            ("--target-bucket", peer.target_bucket.clone()),
            ("--target-region", peer.target_region.clone()),
            ("--target-pids", peer.target_pids.clone()),
            ("--target-ca", path(&peer.target_ca)),
        ];
        let mut words: Vec<String> = Vec::new();
        for (name, value) in pairs {
            words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
        }
        let flags = [("--long", self.long), ("--list", self.list), ("--json", self.json)];
        words.extend(flags.iter().filter(|(_, given)| *given).map(|(name, _)| (*name).to_owned()));
        words
    }

    /// Whether the results are those of Skep alone and of all rows, so that they replace the stored ones.
    pub(super) fn is_whole(&self) -> bool {
        self.rows.is_none() && self.compare.is_none() && self.peer.target.is_none() && !self.list
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn options(words: &[&str]) -> super::BenchOptions {
        let all = ["xtask", "bench"].iter().chain(words);
        match Cli::try_parse_from(all).expect("these are options of it").command {
            Command::Bench(options) => *options,
            other => panic!("this is {other:?}"),
        }
    }

    #[test]
    fn what_is_said_is_passed_on() {
        let said = options(&["--rows", "3n/put", "--long", "--target", "http://127.0.0.1:1/dav"]);
        let words = said.passed_on().join(" ");
        assert_eq!(words, "--rows 3n/put --seconds 1.5 --rounds 3 --target http://127.0.0.1:1/dav --long");
        assert!(!said.is_whole());
    }

    #[test]
    fn microbenchmarks_go_alone() {
        assert_eq!(options(&["--micro"]).micro.as_deref(), Some(""));
        assert_eq!(options(&["--micro", "codec"]).micro.as_deref(), Some("codec"));
        assert_eq!(options(&[]).micro, None);
        assert!(Cli::try_parse_from(["xtask", "bench", "--micro", "--long"]).is_err(), "clusters have no part in it");
    }

    #[test]
    fn only_a_whole_run_of_skep_alone_is_stored() {
        assert!(options(&[]).is_whole() && options(&["--long", "--seconds", "5"]).is_whole());
        assert!(!options(&["--compare", "HEAD~1"]).is_whole());
        assert!(Cli::try_parse_from(["xtask", "bench", "--target-login", "x"]).is_err(), "a login of nobody");
    }
}
