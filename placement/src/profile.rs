//! How bytes are spread: the code (k data + m parity shards), the failure domain, and which code a length gets.
//!
//! Invariant: a [`Code`] has at least one data shard and at most [`SHARDS_MAX`] shards, whoever made it.

use std::fmt;
use std::str::FromStr;

use crate::limits::{INLINE_LENGTH_BYTES_MAX, SHARDS_MAX, WHOLE_COPY_LENGTH_BYTES_MAX};

/// k data shards and m parity shards; any k of the k+m give the payload back. Whole copies are the code 1+m.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    data: u8,
    parity: u8,
}

impl Code {
    /// Makes the code k+m.
    ///
    /// # Errors
    /// [`InvalidCode`] if k is 0 or k+m is more than [`SHARDS_MAX`].
    pub const fn new(data: u8, parity: u8) -> Result<Self, InvalidCode> {
        match data.checked_add(parity) {
            Some(total) if data >= 1 && total <= SHARDS_MAX => Ok(Self { data, parity }),
            Some(_) | None => Err(InvalidCode { data, parity }),
        }
    }

    /// Data shards (k), at least 1.
    pub const fn data(self) -> u8 {
        self.data
    }

    /// Parity shards (m).
    pub const fn parity(self) -> u8 {
        self.parity
    }

    /// All shards (k+m).
    pub const fn total(self) -> u8 {
        self.data + self.parity
    }

    /// Shards that must be durable on different failure domains before a chunk is acknowledged (w).
    ///
    /// From the acknowledgement on w−k devices may be lost, and m once no shard is missing.
    pub const fn write_quorum(self) -> u8 {
        match self.parity {
            0 => self.data,
            1 => self.data + 1,
            parity => self.data + parity - 1,
        }
    }

    /// Devices of a set that must have fenced before no older write can be acknowledged on it (n−w+1).
    pub const fn fence_quorum(self) -> u8 {
        self.total() - self.write_quorum() + 1
    }

    /// Least failure domains that can take a chunk of this m: one data shard and all parity.
    pub const fn domains_min(self) -> u8 {
        1 + self.parity
    }

    /// The same m with k shrunk to the domains that live; `None` with fewer than 1+m. Never grows.
    pub fn shrunk_to(self, domains_live: usize) -> Option<Self> {
        let domains = u8::try_from(domains_live).unwrap_or(u8::MAX);
        let data = domains.checked_sub(self.parity).filter(|data| *data >= 1)?;
        Some(Self { data: data.min(self.data), parity: self.parity })
    }

    /// The code of whole copies with the same m.
    pub const fn whole_copies(self) -> Self {
        Self { data: 1, parity: self.parity }
    }

    /// The code of a content of `length` bytes under a profile; `None` if it lives inline in the metadata.
    pub fn for_length(profile: Profile, length: u64) -> Option<Self> {
        match SizeClass::of(length) {
            SizeClass::Inline => None,
            SizeClass::WholeCopy => Some(profile.code.whole_copies()),
            SizeClass::Erasure => Some(profile.code),
        }
    }

    /// The code of a chunk of `length` bytes that is stored on devices, however short (the tail of a longer file).
    pub fn for_chunk(profile: Profile, length: u64) -> Self {
        Self::for_length(profile, length).unwrap_or_else(|| profile.code.whole_copies())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Code {
    type Err = InvalidProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (data, parity) = text.split_once('+').ok_or(InvalidProfile::Form)?;
        let number = |digits: &str| digits.parse().map_err(|_no_number| InvalidProfile::Form);
        Ok(Self::new(number(data)?, number(parity)?)?)
    }
}

/// What is assumed to fail as one; shards of an instance lie in different ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureDomain {
    /// One data directory.
    Device,
    /// A server with all its devices.
    #[default]
    Node,
    /// A room, a rack, a site: whatever the operator calls a zone.
    Zone,
}

impl fmt::Display for FailureDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureDomain::Device => "device",
            FailureDomain::Node => "node",
            FailureDomain::Zone => "zone",
        })
    }
}

impl FromStr for FailureDomain {
    type Err = InvalidProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "device" => Ok(FailureDomain::Device),
            "node" => Ok(FailureDomain::Node),
            "zone" => Ok(FailureDomain::Zone),
            _ => Err(InvalidProfile::Domain),
        }
    }
}

/// A code and the failure domain its shards spread over. Prints as `2+1/node`; the domain may be left out when read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    /// The code of chunks that are not small.
    pub code: Code,
    /// What its shards spread over.
    pub domain: FailureDomain,
}

impl Profile {
    /// The profile that `auto` stands for in a cluster of `nodes` nodes, the only one of which has `devices` devices.
    ///
    /// `devices` matters with one node alone. No nodes count as one.
    pub fn auto(nodes: usize, devices: usize) -> Self {
        let (data, parity, domain) = match (nodes, devices) {
            (0 | 1, 0..=2) => (1, 0, FailureDomain::Device),
            (0 | 1, _) => (2, 1, FailureDomain::Device),
            (2, _) => (1, 1, FailureDomain::Node),
            (3..=5, _) => (2, 1, FailureDomain::Node),
            (6..=11, _) => (4, 2, FailureDomain::Node),
            (_, _) => (8, 3, FailureDomain::Node),
        };
        Self { code: Code { data, parity }, domain }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code, self.domain)
    }
}

impl FromStr for Profile {
    type Err = InvalidProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((code, domain)) => Ok(Self { code: code.parse()?, domain: domain.parse()? }),
            None => Ok(Self { code: text.parse()?, domain: FailureDomain::default() }),
        }
    }
}

/// How bytes of a length are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// In the metadata itself.
    Inline,
    /// As 1+m whole copies.
    WholeCopy,
    /// As k+m shards.
    Erasure,
}

impl SizeClass {
    /// The class of a content of `length` bytes.
    pub const fn of(length: u64) -> Self {
        if length <= INLINE_LENGTH_BYTES_MAX as u64 {
            SizeClass::Inline
        } else if length <= WHOLE_COPY_LENGTH_BYTES_MAX as u64 {
            SizeClass::WholeCopy
        } else {
            SizeClass::Erasure
        }
    }
}

/// A code without data shards or with too many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no code {data}+{parity}: it takes 1 data shard at least and {SHARDS_MAX} shards at most")]
pub struct InvalidCode {
    /// Data shards asked for.
    pub data: u8,
    /// Parity shards asked for.
    pub parity: u8,
}

/// A text that names no profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfile {
    /// Not of the form k+m.
    #[error("a code is written k+m, like 2+1; each a number from 0 to 255")]
    Form,
    /// Not the name of a failure domain.
    #[error("a failure domain is one of device, node, zone")]
    Domain,
    /// Numbers that make no code.
    #[error(transparent)]
    Code(#[from] InvalidCode),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        text.parse().unwrap()
    }

    #[test]
    fn quorums_are_those_of_the_write_rule() {
        let quorums: Vec<(u8, u8)> =
            ["1+0", "3+0", "1+1", "2+1", "1+2", "4+2", "8+3"].map(|text| (code(text).write_quorum(), code(text).fence_quorum())).to_vec();
        assert_eq!(quorums, [(1, 1), (3, 1), (2, 1), (3, 1), (2, 2), (5, 2), (10, 2)]);
    }

    #[test]
    fn m_stays_and_k_shrinks() {
        assert_eq!(code("2+1").shrunk_to(2), Some(code("1+1")));
        assert_eq!(code("4+2").shrunk_to(5), Some(code("3+2")));
        assert_eq!(code("4+2").shrunk_to(9), Some(code("4+2")));
        assert_eq!(code("4+2").shrunk_to(1000), Some(code("4+2")));
        assert_eq!(code("4+2").shrunk_to(2), None);
        assert_eq!(code("2+0").shrunk_to(1), Some(code("1+0")));
        assert_eq!(code("1+0").shrunk_to(0), None);
    }

    #[test]
    fn lengths_have_their_classes() {
        let profile: Profile = "4+2/zone".parse().unwrap();
        let of = |length| Code::for_length(profile, length).map(|code| code.to_string());
        assert_eq!(of(0), None);
        assert_eq!(of(4096), None);
        assert_eq!(of(4097).as_deref(), Some("1+2"));
        assert_eq!(of(131_072).as_deref(), Some("1+2"));
        assert_eq!(of(131_073).as_deref(), Some("4+2"));
        assert_eq!(Code::for_chunk(profile, 10), code("1+2"));
    }

    #[test]
    fn texts_round_trip_and_wrong_ones_are_refused() {
        for text in ["1+0/device", "2+1/node", "29+3/zone"] {
            assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
        }
        assert_eq!("2+1".parse::<Profile>().unwrap().domain, FailureDomain::Node);
        for text in ["", "2", "2+", "+1", "0+1", "30+3", "255+255", "2+1/rack", "2-1", "-2+1"] {
            assert!(text.parse::<Profile>().is_err(), "{text:?} was taken");
        }
    }
}
