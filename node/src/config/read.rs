//! Makes a [`Config`] of the source, section by section; checks across keys come after all of them were read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skep_placement::ids::NodeId;

use super::source::{Fault, Faults, Overrides, Source};
use super::values::{host_port, name, socket, web_url};
use super::{ApiConfig, ApiTls, Config, DeviceConfig, LimitsConfig, MemoryConfig, NodeConfig, RaftConfig, RpcConfig, is_loopback, keys};
use crate::telemetry::{LogFormat, LogOptions, check_filter};

const MIB: u64 = 1 << 20;
const DEVICES_MAX: usize = 64;

/// Reads everything, then says everything that is wrong.
pub(super) fn load(file: &Path, overrides: &Overrides) -> Result<Config, Faults> {
    let mut source = Source::gather(file, overrides);
    let unreadable = !source.faults.is_empty() && source.values.is_empty();
    let node = node(&mut source);
    let api = api(&mut source);
    let rpc = rpc(&mut source);
    let devices = devices(&mut source);
    let raft = raft(&mut source);
    let memory = memory(&mut source);
    let log = log(&mut source);
    let limits = limits(&mut source);
    if let Some(node) = &node {
        check_folders(&mut source, node, &devices);
    }
    note_unknown(&mut source);
    if unreadable {
        // One fault, not one for each key that an unreadable file does not say.
        source.faults.truncate(1);
    }
    match (node, api, rpc) {
        (Some(node), Some(api), Some(rpc)) if source.faults.is_empty() => {
            Ok(Config { file: source.file, node, api, rpc, devices, raft, memory, log, limits })
        }
        _incomplete => Err(Faults(std::mem::take(&mut source.faults))),
    }
}

fn node(source: &mut Source) -> Option<NodeConfig> {
    let node_name = source.required("node.name", name);
    let zone = source.parsed("node.zone", name).unwrap_or_else(|| "default".to_owned());
    let data_dir = source.required_path("node.data_dir");
    let master_key_file = source.required_path("node.master_key_file");
    Some(NodeConfig { name: node_name?, zone, data_dir: data_dir?, master_key_file: master_key_file? })
}

fn api(source: &mut Source) -> Option<ApiConfig> {
    let listen = source.required("api.listen", socket);
    let advertise = source.parsed("api.advertise", host_port);
    let certificate_file = source.path("api.tls_certificate_file");
    let key_file = source.path("api.tls_key_file");
    let insecure_http = source.flag("api.insecure_http", false);
    let public_url = source.parsed("api.public_url", web_url);
    let metrics_public = source.flag("api.metrics_public", true);
    for (key, file) in [("api.tls_certificate_file", &certificate_file), ("api.tls_key_file", &key_file)] {
        if let Some(Err(error)) = file.as_ref().map(std::fs::File::open) {
            source.refuse(key, format_args!("it cannot be read: {error}"));
        }
    }
    let tls = match (certificate_file, key_file) {
        (Some(certificate_file), Some(key_file)) => Some(ApiTls { certificate_file, key_file }),
        (None, None) => None,
        (Some(_), None) => {
            source.refuse("api.tls_key_file", "it is missing, though a certificate is named");
            None
        }
        (None, Some(_)) => {
            source.refuse("api.tls_certificate_file", "it is missing, though a key is named");
            None
        }
    };
    let listen = listen?;
    check_advertised(source, "api", listen, advertise.is_some());
    if tls.is_none() && !insecure_http && !is_loopback(listen.ip()) {
        let reason = "plain HTTP is served on loopback only: name a certificate and its key, or set api.insecure_http = true if a proxy \
                      before this node ends TLS";
        source.refuse("api.listen", reason);
    }
    Some(ApiConfig { listen, advertise, tls, public_url, metrics_public })
}

fn rpc(source: &mut Source) -> Option<RpcConfig> {
    let listen = source.required("rpc.listen", socket);
    let advertise = source.parsed("rpc.advertise", host_port);
    let peers = source.list("rpc.peers", peer);
    let listen = listen?;
    check_advertised(source, "rpc", listen, advertise.is_some());
    Some(RpcConfig { listen, advertise, peers })
}

fn peer(text: &str) -> Result<(NodeId, String), String> {
    let (id, address) = text.split_once('@').ok_or_else(|| format!("`{text}` is not of the form id@host:port"))?;
    let id = id.parse().map_err(|_no_number| format!("`{id}` in `{text}` is no node id"))?;
    Ok((id, host_port(address)?))
}

fn check_advertised(source: &mut Source, section: &str, listen: SocketAddr, said: bool) {
    if listen.ip().is_unspecified() && !said {
        let key = format!("{section}.advertise");
        source.refuse(&key, format_args!("it must be said, because {section}.listen = {listen} names no address that others could use"));
    }
}

fn devices(source: &mut Source) -> Vec<DeviceConfig> {
    let mut devices = Vec::new();
    for place in 0..DEVICES_MAX {
        let prefix = format!("device[{place}].");
        if !source.values.keys().any(|key| key.starts_with(&prefix)) {
            break;
        }
        let weight = source.number(&format!("{prefix}weight"), 0..=1 << 30, 0);
        if let Some(path) = source.required_path(&format!("{prefix}path")) {
            devices.push(DeviceConfig { path, weight: (weight > 0).then_some(weight) });
        }
    }
    if source.values.keys().any(|key| key.starts_with(&format!("device[{DEVICES_MAX}]."))) {
        source.values.retain(|key, _found| !key.starts_with("device["));
        source.refuse("device", format_args!("a node has at most {DEVICES_MAX} devices"));
    } else if devices.is_empty() && !source.faults.iter().any(|fault| fault.key.starts_with("device")) {
        source.refuse("device", "at least one [[device]] with a path is needed");
    }
    devices
}

fn raft(source: &mut Source) -> RaftConfig {
    let heartbeat = source.number("raft.heartbeat_ms", 20..=5000, 250);
    let election_min = source.number("raft.election_ms_min", 60..=60_000, 1000);
    let election_max = source.number("raft.election_ms_max", 61..=120_000, 2000);
    let silent = source.number("raft.silent_voter_minutes", 1..=1440, 15);
    if election_min < 3 * heartbeat {
        let reason = format!("{election_min} is less than three heartbeats of {heartbeat} ms: one late heartbeat would begin an election");
        source.refuse("raft.election_ms_min", reason);
    }
    if election_max <= election_min {
        source.refuse("raft.election_ms_max", format_args!("{election_max} must be more than raft.election_ms_min = {election_min}"));
    }
    let segment_mib = source.number("raft.segment_mib", 1..=1024, 64);
    let log_mib_max = source.number("raft.log_mib_max", 4..=65_536, 512);
    if log_mib_max < 4 * segment_mib {
        source.refuse("raft.log_mib_max", format_args!("{log_mib_max} is less than four times raft.segment_mib = {segment_mib}"));
    }
    RaftConfig {
        segment_bytes: MIB * segment_mib,
        log_bytes_max: MIB * log_mib_max,
        snapshot_bytes: MIB * source.number("raft.snapshot_mib", 1..=1024, 64),
        snapshot_commands: source.number("raft.snapshot_commands", 100..=10_000_000, 100_000),
        heartbeat: Duration::from_millis(heartbeat),
        election_min: Duration::from_millis(election_min),
        election_max: Duration::from_millis(election_max),
        silent_voter: Duration::from_secs(60 * silent),
        prune_interval: Duration::from_secs(source.number("raft.prune_seconds", 1..=3600, 10)),
    }
}

fn memory(source: &mut Source) -> MemoryConfig {
    MemoryConfig {
        budget_bytes: MIB * source.number("memory.budget_mib", 32..=65_536, 192),
        block_cache_bytes: MIB * source.number("memory.block_cache_mib", 8..=1_048_576, 128),
        write_buffer_bytes: MIB * source.number("memory.write_buffer_mib", 8..=65_536, 64),
    }
}

fn log(source: &mut Source) -> LogOptions {
    let format = source.parsed("log.format", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("`{other}` is neither `text` nor `json`")),
    });
    let level = source.parsed("log.level", |text| match check_filter(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    });
    LogOptions { format: format.unwrap_or_default(), filter: level.unwrap_or_else(|| "info".to_owned()) }
}

fn limits(source: &mut Source) -> LimitsConfig {
    let connections = source.number("limits.connections_max", 16..=1_000_000, 4096);
    LimitsConfig {
        connections_max: usize::try_from(connections).expect("a million fits"),
        drain: Duration::from_secs(source.number("limits.drain_seconds", 1..=3600, 20)),
        device_reserve_bytes: MIB * source.number("limits.device_reserve_mib", 0..=1 << 30, 16_384),
    }
}

/// Folders must not hold each other, and the master key none of them.
fn check_folders(source: &mut Source, node: &NodeConfig, devices: &[DeviceConfig]) {
    let mut folders: Vec<(String, &PathBuf)> = vec![("node.data_dir".to_owned(), &node.data_dir)];
    folders.extend(devices.iter().enumerate().map(|(place, device)| (format!("device[{place}].path"), &device.path)));
    for (key, folder) in &folders {
        if node.master_key_file.starts_with(folder) {
            let reason = format!(
                "{} lies in {key} = {}: the key must not lie with the data it opens",
                node.master_key_file.display(),
                folder.display()
            );
            source.refuse("node.master_key_file", reason);
        }
    }
    for (place, (key, folder)) in folders.iter().enumerate().skip(1) {
        for (other_key, other) in &folders[..place] {
            let is_data_dir = other_key == "node.data_dir";
            if folder == other || other.starts_with(folder) || (!is_data_dir && folder.starts_with(other)) {
                source.refuse(key, format_args!("{} is the folder of {other_key}, or holds it, or lies in it", folder.display()));
            }
        }
    }
}

/// What nobody took is a key that nobody knows.
fn note_unknown(source: &mut Source) {
    for (key, found) in std::mem::take(&mut source.values) {
        let hint = keys::nearest(&key).map_or_else(String::new, |near| format!("; do you mean {near}?"));
        source.faults.push(Fault {
            origin: found.origin.to_string(),
            key,
            reason: format!("no such key{hint} (`skep config example` shows all)"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn load_text(text: &str, overrides: &Overrides) -> Result<Config, Faults> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skep.toml");
        std::fs::write(&file, text).unwrap();
        load(&file, overrides)
    }

    fn faults(text: &str, overrides: &Overrides) -> Vec<String> {
        load_text(text, overrides).unwrap_err().0.iter().map(|fault| format!("{}: {}", fault.key, fault.reason)).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_example_is_valid_and_its_comments_are_the_defaults() {
        let given = load_text(&example(), &Overrides::default()).unwrap();
        let uncommented: String = example()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') && rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let all = load_text(&uncommented, &Overrides::default()).unwrap();
        assert_eq!(Config { file: PathBuf::new(), ..given }, Config { file: PathBuf::new(), ..all });
    }

    #[test]
    fn the_example_file_is_in_step() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/skep.example.toml");
        let stored = std::fs::read_to_string(&path).expect("deploy/config/skep.example.toml is there");
        assert!(stored == example(), "write it anew: skep config example > deploy/config/skep.example.toml");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = "
            [node]\nname = \"a b\"\nzon = \"x\"\ndata_dir = \"/d\"\nmaster_key_file = \"/d/key\"
            [api]\nlisten = \"0.0.0.0:7000\"\ntls_key_file = \"/nowhere/key.pem\"
            [rpc]\nlisten = 7100\npeers = [\"1@host\"]
            [[device]]\npath = \"/e\"\nweight = -1
            [[device]]\npath = \"/e/sub\"
            [raft]\nheartbeat_ms = 900\nelection_ms_max = 500
            [log]\nformat = \"xml\"\nlevel = \"info,=\"\n[extra]\nkey = 1";
        let found = faults(text, &Overrides::default());
        for expected in [
            "node.name: `a b` must be",
            "node.zon: no such key; do you mean node.zone?",
            "api.tls_key_file: it cannot be read",
            "api.tls_certificate_file: it is missing",
            "api.advertise: it must be said",
            "api.listen: plain HTTP",
            "rpc.listen: it must be a text",
            "rpc.peers: `host` is no host and port",
            "device[0].weight: it must be a whole number",
            "raft.election_ms_min: 1000 is less than three heartbeats",
            "raft.election_ms_max: 500 must be more",
            "log.format: `xml`",
            "log.level: `info,=`",
            "extra.key: no such key",
        ] {
            assert!(found.iter().any(|fault| fault.starts_with(expected)), "{expected} is not among {found:#?}");
        }
        assert_eq!(found.len(), 14, "{found:#?}");
    }

    #[test]
    fn folders_and_the_key_are_kept_apart() {
        let text = example().replace("/var/lib/skep/devices/d1", "/var/lib/skep").replace("/etc/skep/master.key", "/var/lib/skep/node/key");
        let found = faults(&text, &Overrides::default());
        assert!(found.iter().any(|fault| fault.starts_with("node.master_key_file: ")), "{found:?}");
        assert!(found.iter().any(|fault| fault.starts_with("device[0].path: ")), "{found:?}");
    }

    #[test]
    fn flags_win_over_environment_and_that_over_the_file() {
        let overrides = Overrides {
            environment: pairs(&[("SKEP_NODE_NAME", "e"), ("SKEP_NODE_ZONE", "z"), ("SKEP_DEVICE", "/a,/b=7"), ("SKEP_FAILPOINTS", "x")]),
            flags: pairs(&[("node.name", "f"), ("memory.budget_mib", "64"), ("api.insecure_http", "true")]),
        };
        let config = load_text(&example(), &overrides).unwrap();
        assert_eq!((config.node.name.as_str(), config.node.zone.as_str()), ("f", "z"));
        assert_eq!(config.memory.budget_bytes, 64 << 20);
        let device = |path: &str, weight| DeviceConfig { path: path.into(), weight };
        assert_eq!(config.devices, [device("/a", None), device("/b", Some(7))]);
    }

    #[test]
    fn wrong_environment_and_flags_are_told_with_their_names() {
        let overrides = Overrides {
            environment: pairs(&[("SKEP_NODE_NAEM", "x"), ("SKEP_MEMORY_BUDGET_MIB", "lots")]),
            flags: pairs(&[("raft.heartbeats", "1")]),
        };
        let all = load_text(&example(), &overrides).unwrap_err().to_string();
        assert!(all.contains("the configuration has 3 faults"), "{all}");
        assert!(all.contains("environment variable SKEP_NODE_NAEM: it names no key"), "{all}");
        assert!(all.contains("environment variable SKEP_MEMORY_BUDGET_MIB: memory.budget_mib: it must be a whole number"), "{all}");
        assert!(all.contains("command line: raft.heartbeats: no such key"), "{all}");
    }

    #[test]
    fn what_clients_are_told_can_be_set() {
        let default = load_text(&example(), &Overrides::default()).unwrap().api;
        assert_eq!((default.public_url, default.metrics_public), (None, true));
        let set =
            |url: &str| Overrides { flags: pairs(&[("api.public_url", url), ("api.metrics_public", "false")]), ..Overrides::default() };
        let api = load_text(&example(), &set("https://files.example.org/")).unwrap().api;
        assert_eq!((api.public_url.as_deref(), api.metrics_public), (Some("https://files.example.org"), false));
        for wrong in ["files.example.org", "ftp://files.example.org", "https://", "https://a b", "https://x/y?z", "https://x/dav"] {
            let found = faults(&example(), &set(wrong));
            assert!(found.len() == 1 && found[0].contains("api.public_url"), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn a_missing_file_and_bad_toml_are_one_fault() {
        let missing = load(Path::new("/nowhere/skep.toml"), &Overrides::default()).unwrap_err();
        assert_eq!(missing.0.len(), 1, "{missing}");
        assert!(missing.to_string().contains("/nowhere/skep.toml: it cannot be read"));
        assert!(load_text("[node", &Overrides::default()).unwrap_err().to_string().contains("it is not TOML"));
    }

    #[test]
    fn relative_paths_begin_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skep.toml");
        std::fs::write(&file, example().replace("/var/lib/skep/node", "data")).unwrap();
        assert_eq!(load(&file, &Overrides::default()).unwrap().node.data_dir, folder.path().join("data"));
    }
}
