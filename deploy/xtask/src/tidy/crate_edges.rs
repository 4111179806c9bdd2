//! Which crate of ours may depend on which, and which crates of others only one of ours may depend on.

use super::{Finding, SourceFile};
use toml::{Table, Value};

/// A crate of ours and all of ours that it may depend on.
const EDGES: [(&str, &[&str]); 10] = [
    ("skep-placement", &[]),
    ("base2histogram", &[]),
    ("skep-raft", &["skep-placement"]),
    ("skep-api", &["skep-raft", "skep-placement"]),
    ("skep-frames", &["skep-placement"]),
    ("skep", &["skep-api", "skep-frames", "skep-raft", "skep-placement"]),
    ("skep-chaos-tests", &["skep", "skep-api", "skep-frames", "skep-raft", "skep-placement", "skep-bench"]),
    ("skep-bench", &["skep", "skep-api", "skep-frames", "skep-raft", "skep-placement"]),
    (FOR_BENCHES, &[]),
    ("xtask", &[]),
];

/// The harness of microbenchmarks: any crate may use it in its benches, none in what it ships.
const FOR_BENCHES: &str = "skep-micro";

/// A crate of others and ours that may depend on it.
const RESERVED: [(&str, &[&str]); 5] = [
    ("openraft", &["skep-raft"]),
    ("axum", &["skep-api"]),
    ("criterion", &[FOR_BENCHES]),
    ("reed-solomon-erasure", &["skep-placement", "skep-chaos-tests", "skep-bench", "xtask"]),
    ("blake3", &["skep-placement", "skep-chaos-tests", "skep-bench", "xtask"]),
];

/// Checks the manifests among these files.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml")).flat_map(check_manifest).collect()
}

fn check_manifest(file: &SourceFile) -> Vec<Finding> {
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(cause) => return vec![Finding::new(&file.path, 0, format!("no TOML: {cause}"))],
    };
    let Some(name) = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str) else {
        return Vec::new();
    };
    // A workspace of its own (models, simulation) is outside of the build and may look at anything.
    if manifest.contains_key("workspace") {
        return Vec::new();
    }
    let Some((_, may)) = EDGES.iter().find(|(known, _)| *known == name) else {
        return vec![Finding::new(&file.path, 0, format!("the crate `{name}` is new: say in tidy's table what it may depend on"))];
    };
    let mut findings = Vec::new();
    if dependencies(&manifest, &["dependencies", "build-dependencies"]).iter().any(|dependency| dependency == FOR_BENCHES) {
        findings.push(Finding::new(&file.path, 0, format!("`{FOR_BENCHES}` is for benches: it belongs into [dev-dependencies]")));
    }
    for dependency in dependencies(&manifest, &["dependencies", "dev-dependencies", "build-dependencies"]) {
        let ours = dependency != FOR_BENCHES && EDGES.iter().any(|(known, _)| *known == dependency);
        if ours && !may.contains(&dependency.as_str()) {
            findings.push(Finding::new(&file.path, 0, format!("`{name}` must not depend on `{dependency}`")));
        }
        if RESERVED.iter().any(|(reserved, users)| *reserved == dependency && !users.contains(&name)) {
            findings.push(Finding::new(&file.path, 0, format!("`{dependency}` is not for `{name}`")));
        }
    }
    findings
}

/// Names of packages in dependency tables of these kinds.
fn dependencies(manifest: &Table, kinds: &[&str]) -> Vec<String> {
    let by_platform = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| targets.values());
    let places = std::iter::once(manifest).chain(by_platform.filter_map(Value::as_table));
    let tables = places.flat_map(|place| kinds.iter().filter_map(|kind| place.get(*kind)?.as_table()));
    let package = |(key, value): (&String, &Value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned();
    tables.flat_map(|table| table.iter().map(package).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn check_text(name: &str, rest: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{name}\"\n{rest}");
        check(&[file("x/Cargo.toml", &text)]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn allowed_edges_pass() {
        assert!(check_text("skep-api", "[dependencies]\nskep-raft.workspace = true\naxum = \"1\"\n").is_empty());
        assert!(check_text("skep-bench", "[dependencies]\nskep = { path = \"../node\" }\nblake3 = \"1\"\n").is_empty());
    }

    #[test]
    fn forbidden_edges_of_every_kind_are_found() {
        let planted = [
            "[dependencies]\nskep-raft.workspace = true\n",
            "[dev-dependencies]\nskep-raft = { path = \"../raft\" }\n",
            "[build-dependencies]\nskep-raft = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\nskep-raft = \"1\"\n",
            "[dependencies]\nharmless = { package = \"skep-raft\", version = \"1\" }\n",
        ];
        for rest in planted {
            assert_eq!(check_text("skep-placement", rest), ["x/Cargo.toml: `skep-placement` must not depend on `skep-raft`"], "{rest}");
        }
        assert_eq!(check_text("skep", "[dependencies]\nxtask = \"1\"\n").len(), 1, "nobody depends on deploy");
    }

    #[test]
    fn reserved_crates_are_found() {
        assert_eq!(check_text("skep", "[dependencies]\nopenraft.workspace = true\naxum.workspace = true\n").len(), 2);
        assert_eq!(check_text("skep-raft", "[dev-dependencies]\nblake3 = \"1\"\n").len(), 1);
    }

    #[test]
    fn the_harness_of_benches_is_not_shipped() {
        assert!(check_text("skep-placement", "[dev-dependencies]\nskep-micro.workspace = true\n").is_empty());
        for kind in ["dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
            let found = check_text("skep-placement", &format!("[{kind}]\nskep-micro.workspace = true\n"));
            assert_eq!(found, ["x/Cargo.toml: `skep-micro` is for benches: it belongs into [dev-dependencies]"], "{kind}");
        }
        assert_eq!(check_text("skep-raft", "[dev-dependencies]\ncriterion = \"0.8\"\n").len(), 1);
    }

    #[test]
    fn a_new_crate_has_to_be_placed() {
        assert_eq!(check_text("skep-util", "").len(), 1);
        assert!(check_text("skep-models", "[workspace]\n[dependencies]\nskep = \"1\"\n").is_empty());
    }
}
