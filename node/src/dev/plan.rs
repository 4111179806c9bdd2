//! What a `skep dev` folder holds: made once, kept in `dev.json`, so that every start is of the same cluster.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DevError, DevOptions};
use crate::durable_file::{self, MODE_PLAIN, MODE_SECRET};

const PLAN_FILE: &str = "dev.json";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: u64 = 1 << 20;
/// RPC ports begin so far above the API ports.
const RPC_OFFSET: u16 = 100;
/// Many nodes share one machine and often one disk: less memory each, and no reserve that a laptop has not.
const BUDGET_MIB: u32 = 96;
const BLOCK_CACHE_MIB: u32 = 32;
const WRITE_BUFFER_MIB: u32 = 32;
const DEVICE_RESERVE_MIB: u32 = 512;

/// The cluster of a folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    format: u32,
    /// Of the user admin.
    pub(super) admin_password: String,
    /// auto or K+M.
    pub(super) profile: String,
    /// In the order of their ports.
    pub(super) nodes: Vec<NodePlan>,
}

/// One node of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodePlan {
    pub(super) name: String,
    pub(super) zone: String,
    pub(super) api_port: u16,
    pub(super) rpc_port: u16,
    pub(super) config_file: PathBuf,
    pub(super) data_folder: PathBuf,
    pub(super) master_key_file: PathBuf,
    pub(super) log_file: PathBuf,
    pub(super) devices: Vec<PathBuf>,
}

impl NodePlan {
    pub(super) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// Its configuration; a person may change the file afterwards, it is written once.
    fn config(&self) -> String {
        let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        let mut text = format!(
            "# Written once by `skep dev`.\n[node]\nname = \"{}\"\nzone = \"{}\"\ndata_dir = {}\nmaster_key_file = {}\n\n",
            self.name,
            self.zone,
            quoted(&self.data_folder),
            quoted(&self.master_key_file),
        );
        text += &format!("[api]\nlisten = \"127.0.0.1:{}\"\n\n[rpc]\nlisten = \"127.0.0.1:{}\"\n\n", self.api_port, self.rpc_port);
        for device in &self.devices {
            text += &format!("[[device]]\npath = {}\n\n", quoted(device));
        }
        text +=
            &format!("[memory]\nbudget_mib = {BUDGET_MIB}\nblock_cache_mib = {BLOCK_CACHE_MIB}\nwrite_buffer_mib = {WRITE_BUFFER_MIB}\n\n");
        text += &format!("[limits]\ndevice_reserve_mib = {DEVICE_RESERVE_MIB}\n");
        text
    }
}

impl Plan {
    /// The plan of the folder, or a new one by the options, durable before anything is started.
    pub(super) fn of(dir: &Path, options: &DevOptions) -> Result<Self, DevError> {
        let file = dir.join(PLAN_FILE);
        let plan = match durable_file::read(&file, FILE_BYTES_MAX)? {
            Some(text) => {
                let plan: Plan = serde_json::from_slice(&text)
                    .map_err(|error| DevError::Refused(format!("{} cannot be read: {error}; name another folder", file.display())))?;
                plan.check_against(dir, options)?;
                plan
            }
            None => {
                let plan = Self::draw(dir, options)?;
                let text = serde_json::to_vec_pretty(&plan).map_err(|error| DevError::Refused(error.to_string()))?;
                durable_file::write(&file, &text, MODE_SECRET)?;
                plan
            }
        };
        for node in plan.nodes.iter().filter(|node| !node.config_file.exists()) {
            if let Some(folder) = node.config_file.parent() {
                durable_file::create_folder(folder)?;
            }
            durable_file::write(&node.config_file, node.config().as_bytes(), MODE_PLAIN)?;
        }
        Ok(plan)
    }

    fn draw(dir: &Path, options: &DevOptions) -> Result<Self, DevError> {
        let password = options.admin_password.clone().unwrap_or_else(crate::password::draw);
        let mut nodes: Vec<NodePlan> = Vec::new();
        for place in 0..options.nodes {
            let name = format!("n{}", place + 1);
            let folder = dir.join(&name);
            let too_high = || DevError::Refused(format!("port {} leaves no room for {} nodes", options.port, options.nodes));
            let api_port = options.port.checked_add(place).ok_or_else(too_high)?;
            let rpc_port = match api_port.checked_add(RPC_OFFSET).filter(|port| is_free(*port)) {
                Some(port) => port,
                None => free_port(&nodes)?,
            };
            nodes.push(NodePlan {
                zone: format!("z{}", place % options.zones + 1),
                api_port,
                rpc_port,
                config_file: folder.join("skep.toml"),
                data_folder: folder.join("node"),
                master_key_file: folder.join("master.key"),
                log_file: folder.join("log.txt"),
                devices: (1..=options.devices_per_node).map(|device| folder.join(format!("d{device}"))).collect(),
                name,
            });
        }
        Ok(Self { format: FORMAT, admin_password: password.to_string(), profile: options.profile.clone(), nodes })
    }

    /// A folder's cluster stays what it is.
    fn check_against(&self, dir: &Path, options: &DevOptions) -> Result<(), DevError> {
        let dir = dir.display();
        let refused = |what: String| Err(DevError::Refused(format!("{dir} holds a cluster {what}, or name another folder")));
        if self.format != FORMAT {
            return refused(format!("of format {}: use the version of skep that made it", self.format));
        }
        let port = self.nodes.first().map_or(0, |node| node.api_port);
        if port != options.port {
            return refused(format!("at port {port}: say --port {port}"));
        }
        if self.nodes.len() != usize::from(options.nodes) {
            return refused(format!("of {} nodes: say --nodes {}", self.nodes.len(), self.nodes.len()));
        }
        if options.admin_password.as_ref().is_some_and(|password| password.as_str() != self.admin_password) {
            return refused("with another administrator's password: leave --admin-password out".to_owned());
        }
        Ok(())
    }

    /// Every port must be free now: a node of an earlier start may run still.
    pub(super) fn check_ports(&self) -> Result<(), DevError> {
        for node in &self.nodes {
            for port in [node.api_port, node.rpc_port] {
                if !is_free(port) {
                    let sentence = format!(
                        "port {port} of {} is taken: end the process that listens there, or choose another --port and folder",
                        node.name
                    );
                    return Err(DevError::Refused(sentence));
                }
            }
        }
        Ok(())
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn free_port(taken: &[NodePlan]) -> Result<u16, DevError> {
    let refused = |error: std::io::Error| DevError::Refused(format!("no port is free: {error}"));
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(refused)?;
        let port = listener.local_addr().map_err(refused)?.port();
        if !taken.iter().any(|node| node.rpc_port == port) {
            return Ok(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn options(dir: &Path) -> DevOptions {
        DevOptions {
            nodes: 3,
            dir: dir.to_owned(),
            port: 17_650,
            admin_password: None,
            zones: 2,
            devices_per_node: 2,
            profile: "auto".to_owned(),
        }
    }

    #[test]
    fn a_plan_is_kept_and_its_configurations_are_good() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan::of(dir.path(), &options(dir.path())).unwrap();
        assert_eq!(plan.nodes.iter().map(|node| node.zone.as_str()).collect::<Vec<_>>(), ["z1", "z2", "z1"]);
        assert_eq!(plan.nodes.iter().map(|node| node.api_port).collect::<Vec<_>>(), [17_650, 17_651, 17_652]);
        for node in &plan.nodes {
            let config = Config::load(&node.config_file, &Overrides::default()).unwrap();
            assert_eq!(config.devices.len(), 2);
            assert_eq!(config.node.name, node.name);
        }
        let again = Plan::of(dir.path(), &options(dir.path())).unwrap();
        assert_eq!(again.admin_password, plan.admin_password);
        let sentence = |changed: DevOptions| Plan::of(dir.path(), &changed).unwrap_err().to_string();
        assert!(sentence(DevOptions { nodes: 4, ..options(dir.path()) }).contains("say --nodes 3"));
        assert!(sentence(DevOptions { port: 9, ..options(dir.path()) }).contains("say --port 17650"));
        let other = Some("other password".to_owned().into());
        assert!(sentence(DevOptions { admin_password: other, ..options(dir.path()) }).contains("password"));
    }
}
