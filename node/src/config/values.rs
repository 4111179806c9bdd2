//! Reads one value after another out of the source, with its kind and range checked; what is wrong is noted and reading goes on.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Value;

use super::source::{Found, Origin, Source};

impl Source {
    /// Takes a value out, so that what is left at the end is unknown.
    fn take(&mut self, key: &str) -> Option<Found> {
        self.values.remove(key)
    }

    fn wrong(&mut self, key: &str, origin: &Origin, reason: impl fmt::Display) {
        self.fault(origin, key, reason.to_string());
    }

    /// A required value that is missing.
    pub(super) fn missing(&mut self, key: &str) {
        let origin = Origin::File(self.file.clone());
        self.wrong(key, &origin, "it is missing");
    }

    /// A fault of a value that was taken before.
    pub(super) fn refuse(&mut self, key: &str, reason: impl fmt::Display) {
        let origin = Origin::File(self.file.clone());
        self.wrong(key, &origin, reason);
    }

    /// A text, empty ones counting as absent.
    pub(super) fn text(&mut self, key: &str) -> Option<(String, Origin)> {
        let Found { value, origin } = self.take(key)?;
        match value {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some((text, origin)),
            other => {
                self.wrong(key, &origin, format_args!("it must be a text in quotes, not {}", kind(&other)));
                None
            }
        }
    }

    /// A text that passes a check or becomes something else.
    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (text, origin) = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.wrong(key, &origin, reason);
                None
            }
        }
    }

    /// As [`Source::parsed`], but its absence is a fault. A wrong value was told already.
    pub(super) fn required<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let absent = self.values.get(key).is_none_or(|found| found.value.as_str() == Some(""));
        if absent {
            self.take(key);
            self.missing(key);
            return None;
        }
        self.parsed(key, parse)
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(Found { value, origin }) = self.take(key) else {
            return default;
        };
        let number = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) if origin_is_text(&origin) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let (low, high) = (range.start(), range.end());
                self.wrong(key, &origin, format_args!("it must be a whole number from {low} to {high}, not {}", shown(&value)));
                default
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(Found { value, origin }) = self.take(key) else {
            return default;
        };
        match &value {
            Value::Boolean(flag) => *flag,
            Value::String(text) if origin_is_text(&origin) && text == "true" => true,
            Value::String(text) if origin_is_text(&origin) && text == "false" => false,
            other => {
                self.wrong(key, &origin, format_args!("it must be true or false, not {}", shown(other)));
                default
            }
        }
    }

    /// A list of texts; from environment and flags separated by commas.
    pub(super) fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(Found { value, origin }) = self.take(key) else {
            return Vec::new();
        };
        let items: Vec<String> = match value {
            Value::String(text) if origin_is_text(&origin) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
            Value::Array(items) if items.iter().all(Value::is_str) => {
                items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            other => {
                self.wrong(key, &origin, format_args!("it must be a list of texts, not {}", kind(&other)));
                return Vec::new();
            }
        };
        let mut parsed = Vec::with_capacity(items.len());
        for item in &items {
            match parse(item) {
                Ok(value) => parsed.push(value),
                Err(reason) => self.wrong(key, &origin, reason),
            }
        }
        parsed
    }

    /// A path; relative ones begin at the folder of the file.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        let base = self.file.parent().map(PathBuf::from).unwrap_or_default();
        self.parsed(key, |text| Ok(base.join(text)))
    }

    /// As [`Source::path`], but its absence is a fault.
    pub(super) fn required_path(&mut self, key: &str) -> Option<PathBuf> {
        let base = self.file.parent().map(PathBuf::from).unwrap_or_default();
        self.required(key, |text| Ok(base.join(text)))
    }
}

/// Environment and flags are text whatever the kind of the value.
fn origin_is_text(origin: &Origin) -> bool {
    !matches!(origin, Origin::File(_))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

/// An address to listen on.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_no_address| format!("`{text}` is no address and port, like 127.0.0.1:7000 or [::1]:7000"))
}

/// host:port as others reach it.
pub(super) fn host_port(text: &str) -> Result<String, String> {
    let reason = || format!("`{text}` is no host and port, like storage-1.example.org:7000");
    let (host, port) = text.rsplit_once(':').ok_or_else(reason)?;
    let port_fits = u16::from_str(port).is_ok_and(|port| port != 0);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match bare {
        Some(address) => std::net::Ipv6Addr::from_str(address).is_ok_and(|address| !address.is_unspecified()),
        None => !host.is_empty() && host != "0.0.0.0" && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
    };
    if port_fits && host_fits { Ok(text.to_owned()) } else { Err(reason()) }
}

/// The URL of a web server as clients have it: scheme, host and perhaps a port, nothing behind them. Given back without a slash at its end.
pub(super) fn web_url(text: &str) -> Result<String, String> {
    let url = text.strip_suffix('/').unwrap_or(text);
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let fits = authority.is_some_and(|authority| host_port(authority).is_ok() || host_port(&format!("{authority}:443")).is_ok());
    if fits {
        Ok(url.to_owned())
    } else {
        Err(format!("`{text}` is no URL like https://files.example.org or https://files.example.org:8443"))
    }
}

/// A name for people: of a node or a zone.
pub(super) fn name(text: &str) -> Result<String, String> {
    let fits = text.len() <= 63 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if fits { Ok(text.to_owned()) } else { Err(format!("`{text}` must be letters, digits, `-`, `_` and `.`, at most 63")) }
}
