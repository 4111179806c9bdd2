//! Values with where they came from: the file's keys flattened to dotted names, environment variables and flags laid over them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys;

/// What is laid over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Environment variables, name and value; only `SKEP_…` of a known section are looked at.
    pub environment: Vec<(String, String)>,
    /// Flags: key and value.
    pub flags: Vec<(String, String)>,
}

impl Overrides {
    /// The process's environment and these flags.
    pub fn from_process(flags: Vec<(String, String)>) -> Self {
        let text = |name: std::ffi::OsString| name.into_string().ok();
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self { environment: environment.filter(|(name, _value)| name.starts_with("SKEP_")).collect(), flags }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File(PathBuf),
    Environment(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, the environment variable or the command line.
    pub origin: String,
    /// The dotted key; empty if it is about the file itself.
    pub key: String,
    /// Why it cannot be used.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, reason } = self;
        if key.is_empty() { write!(f, "{origin}: {reason}") } else { write!(f, "{origin}: {key}: {reason}") }
    }
}

/// All that is wrong with a configuration, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.len();
        let noun = if number == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {number} {noun}:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The values by dotted key; devices are `device[0].path`, and so on.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) values: BTreeMap<String, Found>,
    pub(super) faults: Vec<Fault>,
}

impl Source {
    /// Reads the file and lays the overrides over it.
    pub(super) fn gather(file: &Path, overrides: &Overrides) -> Self {
        let absolute = std::path::absolute(file).unwrap_or_else(|_no_current_folder| file.to_owned());
        let mut source = Self { file: absolute.clone(), values: BTreeMap::new(), faults: Vec::new() };
        match std::fs::read_to_string(&absolute) {
            Ok(text) => match text.parse::<Table>() {
                Ok(table) => source.flatten("", table),
                Err(error) => source.fault(&Origin::File(absolute), "", format!("it is not TOML: {}", error.to_string().trim_end())),
            },
            Err(error) => {
                source.fault(
                    &Origin::File(absolute),
                    "",
                    format!("it cannot be read: {error}; `skep config example` prints one to begin with"),
                );
            }
        }
        source.lay_environment(&overrides.environment);
        for (key, value) in &overrides.flags {
            source.lay(key, value, Origin::Flag);
        }
        source
    }

    pub(super) fn fault(&mut self, origin: &Origin, key: &str, reason: impl Into<String>) {
        self.faults.push(Fault { origin: origin.to_string(), key: key.to_owned(), reason: reason.into() });
    }

    fn flatten(&mut self, prefix: &str, table: Table) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) => self.flatten(&key, inner),
                Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
                    for (place, item) in items.into_iter().enumerate() {
                        if let Value::Table(inner) = item {
                            self.flatten(&format!("{key}[{place}]"), inner);
                        }
                    }
                }
                value => {
                    let origin = Origin::File(self.file.clone());
                    self.values.insert(key, Found { value, origin });
                }
            }
        }
    }

    /// `SKEP_NODE_NAME` is `node.name`. Other variables of ours (`SKEP_FAILPOINTS`) begin with no section's name.
    fn lay_environment(&mut self, environment: &[(String, String)]) {
        for (name, value) in environment {
            let key = keys::all().find(|key| keys::environment_name(key) == *name);
            let sections = keys::sections();
            let ours = || sections.iter().any(|section| name.starts_with(&format!("SKEP_{}_", section.to_uppercase())));
            match key {
                Some(key) => self.lay(key, value, Origin::Environment(name.clone())),
                None if ours() => self.fault(&Origin::Environment(name.clone()), "", "it names no key of the configuration"),
                None => {}
            }
        }
    }

    fn lay(&mut self, key: &str, value: &str, origin: Origin) {
        if key == keys::DEVICES {
            self.lay_devices(value, &origin);
            return;
        }
        self.values.insert(key.to_owned(), Found { value: Value::String(value.to_owned()), origin });
    }

    /// `device=/mnt/a,/mnt/b=500` replaces all devices of the file.
    fn lay_devices(&mut self, text: &str, origin: &Origin) {
        self.values.retain(|key, _found| !key.starts_with("device["));
        for (place, item) in text.split(',').map(str::trim).filter(|item| !item.is_empty()).enumerate() {
            let (path, weight) = item.split_once('=').map_or((item, None), |(path, weight)| (path, Some(weight)));
            let found = |value: &str| Found { value: Value::String(value.to_owned()), origin: origin.clone() };
            self.values.insert(format!("device[{place}].path"), found(path));
            if let Some(weight) = weight {
                self.values.insert(format!("device[{place}].weight"), found(weight));
            }
        }
    }
}
