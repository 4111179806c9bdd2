//! Licences, origins and bans of all crates in the lock files, against `deny.toml`.

use super::Finding;
use crate::fault::Fault;
use crate::licence;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The registry that every crate comes from, in the two ways that cargo writes it.
const REGISTRIES: [&str; 2] = ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

/// What `deny.toml` says, as far as it can be checked offline.
#[derive(Debug, Deserialize)]
pub(crate) struct Policy {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(rename = "use-instead", default)]
    instead: String,
}

impl Policy {
    /// Reads `deny.toml`.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        toml::from_str(text).map_err(|cause| Fault::new(format!("deny.toml: {cause}")))
    }
}

/// A crate as cargo knows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for ours.
    source: Option<String>,
}

/// Reads the answer of `cargo metadata`.
pub(crate) fn parse_metadata(json: &[u8]) -> Result<Vec<Package>, Fault> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let metadata: Metadata =
        serde_json::from_slice(json).map_err(|cause| Fault::new(format!("cargo metadata is not understood: {cause}")))?;
    Ok(metadata.packages)
}

/// Name and version of every crate in a lock file.
pub(crate) fn locked_names(lock: &str) -> Result<BTreeSet<(String, String)>, toml::de::Error> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(lock)?;
    Ok(lock.package.into_iter().map(|locked| (locked.name, locked.version)).collect())
}

/// Crates that are banned, whatever platform they are for.
pub(crate) fn check_bans(lock: &str, names: &BTreeSet<(String, String)>, policy: &Policy) -> Vec<Finding> {
    let banned = |name: &String| policy.bans.deny.iter().find(|ban| ban.name == *name);
    names
        .iter()
        .filter_map(|(name, version)| {
            banned(name).map(|ban| Finding::new(lock, 0, format!("{name} {version} is banned; use {}", ban.instead)))
        })
        .collect()
}

/// Licences and origins.
pub(crate) fn check(lock: &str, packages: &[Package], policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(source) = &package.source else {
            continue;
        };
        let mut report = |what: String| findings.push(Finding::new(lock, 0, format!("{} {}: {what}", package.name, package.version)));
        if !REGISTRIES.contains(&source.as_str()) {
            report(format!("comes from {source}, not from the registry"));
        }
        match package.license.as_deref().map(|expression| (expression, licence::is_allowed(expression, &policy.licenses.allow))) {
            None => report("names no licence".to_owned()),
            Some((_, Ok(true))) => {}
            Some((expression, Ok(false))) => report(format!("the licence {expression} is not among those that deny.toml allows")),
            Some((_, Err(cause))) => report(format!("its licence is not understood: {cause}")),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse("[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"openssl\", use-instead = \"rustls\" }]\n")
            .expect("it is right")
    }

    fn package(license: Option<&str>, source: Option<&str>) -> Package {
        Package { name: "p".into(), version: "1.0.0".into(), license: license.map(Into::into), source: source.map(Into::into) }
    }

    #[test]
    fn planted_licences_and_origins_are_found() {
        let registry = Some(REGISTRIES[0]);
        let planted = [
            package(Some("GPL-3.0"), registry),
            package(None, registry),
            package(Some("MIT OR"), registry),
            package(Some("MIT"), Some("git+https://example.org/p")),
        ];
        for package in planted {
            assert_eq!(check("Cargo.lock", std::slice::from_ref(&package), &policy()).len(), 1, "{package:?}");
        }
        assert_eq!(check("Cargo.lock", &[package(Some("MIT"), registry), package(None, None)], &policy()), []);
    }

    #[test]
    fn planted_bans_are_found() {
        let lock =
            "version = 4\n[[package]]\nname = \"openssl\"\nversion = \"0.10.0\"\n[[package]]\nname = \"fine\"\nversion = \"1.0.0\"\n";
        let findings = check_bans("Cargo.lock", &locked_names(lock).expect("it is TOML"), &policy());
        assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Cargo.lock: openssl 0.10.0 is banned; use rustls"]);
    }

    #[test]
    fn the_projects_own_policy_is_understood() {
        let text = std::fs::read_to_string(crate::target::workspace_root().join("deny.toml")).expect("the project has one");
        let policy = Policy::parse(&text).expect("it is right");
        assert!(policy.licenses.allow.iter().any(|name| name == "Apache-2.0") && !policy.bans.deny.is_empty());
    }
}
