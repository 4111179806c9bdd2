//! Which epochs this device refuses: for each fenced placement group the lowest epoch it still takes writes for.
//!
//! Kept whole in memory and in one small file that is replaced atomically and synced before a fence is acknowledged.
//! The file exists from the device's first day: a missing or damaged one means that promises are forgotten, and the
//! device isn't opened.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use skep_placement::ids::{DeviceId, Epoch, PgId, PoolId};

use super::fields::{Fields, put};
use super::files::replace_file;

/// Name of the file in a device folder.
pub(super) const FENCE_FILE: &str = "skep-fences";

const MAGIC: [u8; 8] = *b"SKEPFNC\n";
const VERSION: u16 = 1;

/// The fences of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fences {
    device: DeviceId,
    lowest: BTreeMap<PgId, Epoch>,
}

impl Fences {
    pub(super) fn new(device: DeviceId) -> Self {
        Self { device, lowest: BTreeMap::new() }
    }

    /// The lowest epoch that writes for the group may have.
    pub(super) fn lowest(&self, pg: PgId) -> Epoch {
        self.lowest.get(&pg).copied().unwrap_or_default()
    }

    /// Raises the group's fence; a lower epoch changes nothing. Returns the fence in force and whether it changed.
    pub(super) fn raise(&mut self, pg: PgId, epoch: Epoch) -> (Epoch, bool) {
        let before = self.lowest(pg);
        if epoch <= before {
            return (before, false);
        }
        self.lowest.insert(pg, epoch);
        (epoch, true)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + 20 * self.lowest.len());
        put(&mut bytes, MAGIC);
        put(&mut bytes, VERSION.to_le_bytes());
        put(&mut bytes, self.device.0.to_le_bytes());
        for (pg, epoch) in &self.lowest {
            put(&mut bytes, pg.pool.0.to_le_bytes());
            put(&mut bytes, pg.index.to_le_bytes());
            put(&mut bytes, epoch.0.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        put(&mut bytes, checksum.to_le_bytes());
        bytes
    }

    /// Reads the file's bytes; `None` if they are damaged, of another version or another device's.
    pub(super) fn decode(bytes: &[u8], device: DeviceId) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        let mut fields = Fields::new(body);
        let is_ours = fields.take::<8>()? == MAGIC && fields.u16()? == VERSION && fields.u64()? == device.0;
        if !is_ours || crc32c::crc32c(body).to_le_bytes() != *checksum {
            return None;
        }
        let mut lowest = BTreeMap::new();
        while !fields.is_empty() {
            let pg = PgId { pool: PoolId(fields.u64()?), index: fields.u32()? };
            lowest.insert(pg, Epoch(fields.u64()?));
        }
        Some(Self { device, lowest })
    }

    /// Makes the fences durable.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        replace_file(folder, FENCE_FILE, &self.encode())
    }
}
