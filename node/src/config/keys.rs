//! Every key of the configuration with its comment: the example file is made from this list, and a value that was read under a name
//! not in it is a fault.

/// The key that environment and flags use to replace all devices.
pub(super) const DEVICES: &str = "device";

/// A section of the file.
pub(super) struct Section {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it may stand there several times (`[[name]]`).
    pub(super) repeated: bool,
    /// What it is about.
    pub(super) comment: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

/// A key of a section.
pub(super) struct Key {
    /// Its name in the section.
    pub(super) name: &'static str,
    /// What it means, its unit and range.
    pub(super) comment: &'static str,
    /// Its value in the example, as TOML.
    pub(super) example: &'static str,
    /// Whether it must be said; others stand in the example as comments with their default.
    pub(super) required: bool,
}

const fn required(name: &'static str, example: &'static str, comment: &'static str) -> Key {
    Key { name, comment, example, required: true }
}

const fn optional(name: &'static str, example: &'static str, comment: &'static str) -> Key {
    Key { name, comment, example, required: false }
}

/// The whole file in order.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "node",
        repeated: false,
        comment: "Who this node is and where its own files are.",
        keys: &[
            required("name", "\"n1\"", "Name for people, unique in the cluster: letters, digits, `-`, `_` and `.`, at most 63."),
            optional(
                "zone",
                "\"default\"",
                "What fails together with this node, beyond the node itself: a room, a rack, a site.\nVoters of the metadata spread over zones.",
            ),
            required(
                "data_dir",
                "\"/var/lib/skep/node\"",
                "Folder of the metadata, the log and the node's certificate. A fast device: every write waits for a sync here.",
            ),
            required(
                "master_key_file",
                "\"/etc/skep/master.key\"",
                "File of the cluster's master key (mode 0600), written by `skep init` or `skep join`. It must lie outside all data folders,\nso that a lost disk does not carry the key to what it holds.",
            ),
        ],
    },
    Section {
        name: "api",
        repeated: false,
        comment: "The port for clients: REST, WebDAV, the web page, health and metrics.",
        keys: &[
            required("listen", "\"127.0.0.1:7000\"", "Address and port to listen on."),
            optional(
                "advertise",
                "\"\"",
                "host:port by which clients reach it. Empty: as it listens; must be said when it listens on all addresses.",
            ),
            optional("tls_certificate_file", "\"\"", "Certificate chain for HTTPS, a PEM file. Empty: plain HTTP."),
            optional("tls_key_file", "\"\"", "Key of that certificate, a PEM file."),
            optional(
                "insecure_http",
                "false",
                "Allow plain HTTP on an address that others can reach. Passwords then cross the network readable, unless a proxy\nbefore this node ends TLS.",
            ),
            optional(
                "public_url",
                "\"\"",
                "URL under which clients reach the cluster, of a proxy or load balancer: https://files.example.org. Empty: what each request\nwas addressed to.",
            ),
            optional("metrics_public", "true", "/metrics answers whoever asks. false: administrators who sign in only."),
        ],
    },
    Section {
        name: "rpc",
        repeated: false,
        comment: "The port between nodes: mutual TLS by the cluster's own certificates.",
        keys: &[
            required("listen", "\"127.0.0.1:7100\"", "Address and port to listen on."),
            optional(
                "advertise",
                "\"\"",
                "host:port by which the other nodes reach it. Empty: as it listens; must be said when it listens on all addresses.",
            ),
            optional(
                "peers",
                "[]",
                "RPC addresses of other nodes as \"id@host:port\", for a start at which every address in the cluster map is out of date.",
            ),
        ],
    },
    Section {
        name: "device",
        repeated: true,
        comment: "A data directory: the smallest thing that fails alone. One for each disk; repeat the section for more.",
        keys: &[
            required("path", "\"/var/lib/skep/devices/d1\"", "Its folder, on a file system of its own wherever possible."),
            optional("weight", "0", "Share of the data it takes, in GiB. 0: the size of its file system. Used when the device is added."),
        ],
    },
    Section {
        name: "raft",
        repeated: false,
        comment: "Consensus: its timing, the same on all nodes, and the size of its log.",
        keys: &[
            optional("heartbeat_ms", "250", "Between a leader's heartbeats, milliseconds, 20 to 5000."),
            optional(
                "election_ms_min",
                "1000",
                "Silence of the leader after which an election begins, milliseconds, at least three heartbeats.",
            ),
            optional("election_ms_max", "2000", "The same, at most; each election waits some time between the two."),
            optional("silent_voter_minutes", "15", "Silence after which a voter is replaced by another node, minutes, 1 to 1440."),
            optional(
                "prune_seconds",
                "10",
                "How often a datasource's leader looks for old versions, history and recycled files to drop, seconds, 1 to 3600.",
            ),
            optional("segment_mib", "64", "Size of a file of the log, MiB, 1 to 1024."),
            optional("log_mib_max", "512", "Log kept at most for all groups of this node, MiB, at least four files."),
            optional("snapshot_mib", "64", "A group's state is snapshot after so much log, MiB, 1 to 1024."),
            optional("snapshot_commands", "100000", "The same after so many commands, 100 to 10000000."),
        ],
    },
    Section {
        name: "memory",
        repeated: false,
        comment: "What memory is used for; the process takes some 200 MiB besides.",
        keys: &[
            optional(
                "budget_mib",
                "192",
                "For bytes of files on their way in and out, MiB, 32 to 65536. Requests wait for their turn when it is used up.",
            ),
            optional("block_cache_mib", "128", "For blocks of the metadata databases, MiB, 8 to 1048576."),
            optional("write_buffer_mib", "64", "For metadata that is logged but not yet in its database, MiB, 8 to 65536."),
        ],
    },
    Section {
        name: "log",
        repeated: false,
        comment: "What the node tells on standard error.",
        keys: &[
            optional("format", "\"text\"", "\"text\" for people, \"json\" for machines."),
            optional("level", "\"info\"", "error, warn, info, debug or trace; or directives such as \"info,skep_raft=debug\"."),
        ],
    },
    Section {
        name: "limits",
        repeated: false,
        comment: "Upper bounds.",
        keys: &[
            optional("connections_max", "4096", "Client connections at a time, 16 to 1000000."),
            optional("drain_seconds", "20", "How long requests may take to finish once the node is to stop, seconds, 1 to 3600."),
            optional(
                "device_reserve_mib",
                "16384",
                "Free space on a device below which it takes no more, MiB; a twentieth of the device if that is less.",
            ),
        ],
    },
];

/// All keys that stand once, dotted, and `device` for the list.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    static DOTTED: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let dotted = DOTTED.get_or_init(|| {
        let once = SECTIONS.iter().filter(|section| !section.repeated);
        let keys = once.flat_map(|section| section.keys.iter().map(|key| format!("{}.{}", section.name, key.name)));
        keys.chain([DEVICES.to_owned()]).collect()
    });
    dotted.iter().map(String::as_str)
}

/// The names of the sections.
pub(super) fn sections() -> Vec<&'static str> {
    SECTIONS.iter().map(|section| section.name).collect()
}

/// The environment variable of a dotted key.
pub(super) fn environment_name(key: &str) -> String {
    format!("SKEP_{}", key.replace('.', "_").to_uppercase())
}

/// The known key that a wrong one is most like, if any is near.
pub(super) fn nearest(wrong: &str) -> Option<&'static str> {
    let by_distance = all().map(|key| (distance(wrong, key), key));
    by_distance.min().filter(|(distance, _key)| *distance <= 3).map(|(_distance, key)| key)
}

/// Levenshtein's distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, of_left) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, of_right) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(of_left != *of_right);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
