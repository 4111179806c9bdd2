//! Nodes made as a person makes them: a configuration each, `skep init` for the first, `skep join` for the others, `skep node` for all.
//!
//! What `skep dev` gives in one command is done in single steps; the API of a node may speak HTTPS by a certificate made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper::Version;
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use crate::client::Client;
use crate::cluster::{ONE_AT_A_TIME, PASSWORD};
use crate::https::Https;
use crate::processes::{Said, free_ports, skep_binary, skep_for};
use crate::wait::wait_for;

/// How long a node may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// RPC ports begin so far above the API ports.
const RPC_OFFSET: u16 = 50;

/// Nodes of one cluster, made one after the other; they end with this value.
#[derive(Debug)]
pub struct ByHand {
    nodes: Vec<Made>,
    certificate: String,
    first_port: u16,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

#[derive(Debug)]
struct Made {
    config: PathBuf,
    base: String,
    process: Option<Child>,
}

impl ByHand {
    /// No node yet; the ports of so many are free.
    pub async fn new(nodes_max: u16) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let folder = TempDir::new().expect("a temporary folder");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        fs::write(folder.path().join("api.pem"), &certificate).expect("a file");
        fs::write(folder.path().join("api.key"), made.signing_key.serialize_pem()).expect("a file");
        fs::write(folder.path().join("password"), PASSWORD).expect("a file");
        let first_port = free_ports(RPC_OFFSET + nodes_max);
        Self { nodes: Vec::new(), certificate, first_port, folder, _turn: turn }
    }

    /// Writes the configuration of one more node, whose API speaks HTTPS or HTTP; gives its place.
    pub fn configure(&mut self, is_https: bool) -> usize {
        let place = self.nodes.len();
        let root = self.folder.path();
        let port = self.first_port + u16::try_from(place).expect("few nodes");
        let own = root.join(format!("n{}", place + 1));
        fs::create_dir(&own).expect("a folder");
        let tls = format!("tls_certificate_file = \"{0}/api.pem\"\ntls_key_file = \"{0}/api.key\"\n", root.display());
        let tls = if is_https { tls.as_str() } else { "" };
        let text = format!(
            "[node]\nname = \"n{name}\"\ndata_dir = \"{own}/node\"\nmaster_key_file = \"{own}/master.key\"\n\
             [api]\nlisten = \"127.0.0.1:{port}\"\n{tls}\
             [rpc]\nlisten = \"127.0.0.1:{rpc}\"\n[[device]]\npath = \"{own}/d1\"\n\
             [memory]\nbudget_mib = 96\nblock_cache_mib = 32\nwrite_buffer_mib = 32\n[limits]\ndevice_reserve_mib = 512\n",
            name = place + 1,
            own = own.display(),
            rpc = port + RPC_OFFSET,
        );
        let config = own.join("skep.toml");
        fs::write(&config, text).expect("a file");
        self.nodes.push(Made { config, base: format!("{}://127.0.0.1:{port}", if is_https { "https" } else { "http" }), process: None });
        place
    }

    /// A configuration like a node's with another folder, for a node that is never to be.
    pub fn configure_elsewhere(&self, place: usize) -> PathBuf {
        let text = fs::read_to_string(&self.nodes[place].config).expect("it was written");
        let own = self.root().join(format!("n{}/", place + 1)).display().to_string();
        let other = self.root().join(format!("n{}-again", place + 1));
        fs::create_dir(&other).expect("a folder");
        let config = other.join("skep.toml");
        fs::write(&config, text.replace(&own, &format!("{}/", other.display()))).expect("a file");
        config
    }

    /// `skep init` on a node.
    pub fn init(&self, place: usize) -> Said {
        let password = self.folder.path().join("password").display().to_string();
        self.skep(place, &["init", "--admin-password-file", &password])
    }

    /// `skep join` on a node, by a token.
    pub fn join(&self, place: usize, token: &str) -> Said {
        self.join_as(&self.nodes[place].config, token)
    }

    /// `skep join` by a configuration.
    pub fn join_as(&self, config: &Path, token: &str) -> Said {
        let file = self.folder.path().join("token");
        fs::write(&file, token).expect("a file");
        skep_for(config, &["join", "--token-file", &file.display().to_string()])
    }

    /// Runs `skep` with these arguments and a node's configuration.
    pub fn skep(&self, place: usize, arguments: &[&str]) -> Said {
        skep_for(&self.nodes[place].config, arguments)
    }

    /// `skep status --json` of a node.
    ///
    /// # Errors
    /// What the command said.
    pub fn status(&self, place: usize) -> Result<serde_json::Value, String> {
        serde_json::from_str(&self.skep(place, &["status", "--json"]).good()?).map_err(|error| error.to_string())
    }

    /// Runs a node and waits until it is ready.
    ///
    /// # Panics
    /// If it is not in time, with what its log says.
    pub async fn start(&mut self, place: usize) {
        let path = self.log_file(place);
        let log = fs::File::options().append(true).create(true).open(&path).expect("a log");
        let mut command = Command::new(skep_binary());
        command.arg("node").arg("--config").arg(&self.nodes[place].config).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("the binary starts");
        self.nodes[place].process = Some(child);
        let what = format!("node {} to be ready; its log is {}", place + 1, path.display());
        wait_for(&what, READY_LIMIT, async || {
            let (status, text) = match self.nodes[place].base.starts_with("https") {
                true => self.https(place, Version::HTTP_2).get("/readyz").await.map(|answer| (answer.status, answer.text()))?,
                false => self.client(place).open("/readyz").await?,
            };
            if status.is_success() { Ok(()) } else { Err(format!("{status}: {text}")) }
        })
        .await;
    }

    /// Ends a node's process without warning.
    pub fn kill(&mut self, place: usize) {
        if let Some(mut process) = self.nodes[place].process.take() {
            process.kill().expect("the child was started here");
            process.wait().expect("it ends");
        }
    }

    /// URL of a node's API.
    pub fn base(&self, place: usize) -> &str {
        &self.nodes[place].base
    }

    /// A client of a node as the admin.
    pub fn client(&self, place: usize) -> Client {
        Client::new(&self.nodes[place].base, "admin", PASSWORD)
    }

    /// A client of a node whose API speaks HTTPS, in one version of HTTP or the other.
    pub fn https(&self, place: usize, version: Version) -> Https {
        let address = self.nodes[place].base.strip_prefix("https://").expect("this node speaks HTTPS");
        Https::new(address, &self.certificate, version)
    }

    /// The log of a node.
    fn log_file(&self, place: usize) -> PathBuf {
        self.root().join(format!("n{}.log", place + 1))
    }

    /// Where everything lies.
    fn root(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        for place in 0..self.nodes.len() {
            self.kill(place);
        }
    }
}
