//! `skep init`: begins a cluster with this node.

use std::path::{Path, PathBuf};

use clap::Args;
use skep_placement::profile::Profile;
use zeroize::Zeroizing;

use super::errors::CliError;
use super::{ConfigSource, block_on, output};
use crate::durable_file;
use crate::form::{FormOptions, Formed, form};
use crate::password;

const AFTER_HELP: &str = "\
It makes the cluster's certificate authority and master key, the datasources pydiods1 and personal, the workspaces common-files and
personal-files, and the user admin. It prints a recovery sheet: keep it apart from the machines, it opens everything that is sealed.

Examples:
  skep init --config /etc/skep/skep.toml
  skep init --config /etc/skep/skep.toml --admin-password-file /run/secrets/admin
  skep init --config /etc/skep/skep.toml --profile 4+2";

/// Begins a cluster with this node as its first; then run it with `skep node`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct InitArguments {
    #[command(flatten)]
    source: ConfigSource,
    /// File whose first line is the password of the user admin. Without it one is drawn and printed once.
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
    /// How chunks are spread: auto follows the number of nodes; K+M is k data and m parity shards, K+M/zone over zones.
    #[arg(long, default_value = "auto", value_name = "PROFILE", value_parser = profile)]
    profile: ProfileChoice,
}

/// What `--profile` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProfileChoice {
    /// Follows the number of nodes.
    Auto,
    /// This one.
    Fixed(Profile),
}

/// Reads `auto`, `K+M` or `K+M/DOMAIN`.
pub(super) fn profile(text: &str) -> Result<ProfileChoice, String> {
    match text {
        "auto" => Ok(ProfileChoice::Auto),
        text => text.parse().map(ProfileChoice::Fixed).map_err(|error: skep_placement::profile::InvalidProfile| error.to_string()),
    }
}

/// Reads a secret from the first line of a file.
pub(super) fn secret_of(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let bytes = durable_file::read(path, 64 * 1024)?.map(Zeroizing::new);
    let bytes = bytes.ok_or_else(|| CliError::usage(format!("{} is not there", path.display())))?;
    let text = std::str::from_utf8(&bytes).map_err(|_not_text| CliError::usage(format!("{} is not text", path.display())))?;
    match text.lines().next().unwrap_or_default() {
        "" => Err(CliError::usage(format!("the first line of {} is empty", path.display()))),
        line => Ok(Zeroizing::new(line.to_owned())),
    }
}

pub(super) fn run(arguments: &InitArguments) -> Result<(), CliError> {
    let config = arguments.source.load()?;
    let (admin_password, drawn) = match &arguments.admin_password_file {
        Some(path) => (secret_of(path)?, false),
        None => (password::draw(), true),
    };
    crate::telemetry::begin_logging(&crate::telemetry::LogOptions { filter: "warn".to_owned(), ..config.log })
        .map_err(|error| CliError::usage(error.to_string()))?;
    let profile = match arguments.profile {
        ProfileChoice::Auto => None,
        ProfileChoice::Fixed(profile) => Some(profile),
    };
    let options = FormOptions { admin_password: admin_password.clone(), profile };
    let formed = block_on(async { form(&config, options).await.map_err(|error| CliError::failed(error.to_string())) })?;
    tell(&formed, &config.file, drawn.then_some(admin_password.as_str()));
    output::note(&config.lone_node_warning());
    Ok(())
}

fn tell(formed: &Formed, file: &Path, drawn_password: Option<&str>) {
    output::line(format!("cluster {} begins with this node as node 1", formed.cluster));
    if let Some(password) = drawn_password {
        output::line(format!("\nadministrator: admin\npassword:      {password}\n(shown once; `skep user password admin` sets another)"));
    }
    output::line("\n---- recovery sheet: print it, keep it apart from the machines, show it to nobody ----");
    output::line(formed.recovery_sheet.trim_end());
    output::line(format!("authority sha256 {}", formed.authority_sha256));
    output::line("---- end of the recovery sheet; `skep key export` prints it again ----\n");
    output::line(format!("start it: skep node --config {}", file.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read() {
        assert_eq!(profile("auto"), Ok(ProfileChoice::Auto));
        assert_eq!(profile("4+2/zone"), Ok(ProfileChoice::Fixed("4+2/zone".parse().unwrap())));
        assert!(profile("4-2").unwrap_err().contains("k+m"));
    }

    #[test]
    fn a_secret_is_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(secret_of(&path).unwrap_err().to_string().contains("not there"));
        std::fs::write(&path, "\nsecond").unwrap();
        assert!(secret_of(&path).unwrap_err().to_string().contains("empty"));
        std::fs::write(&path, "pass word\r\nsecond").unwrap();
        assert_eq!(secret_of(&path).unwrap().as_str(), "pass word");
    }
}
