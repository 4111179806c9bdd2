//! Which folder of this node is which device: the ids that the cluster gave out, by folder, in the data folder's `devices.json`.
//!
//! Invariants: a folder is made into a device once, when the list says that this was not done yet; afterwards an empty folder is a missing disk
//! and is refused. A nonce is durable before the cluster is asked, so that asking again gives the same id.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_placement::ids::DeviceId;

use crate::clock::System;
use crate::config::DeviceConfig;
use crate::durable_file::{self, FileError, MODE_PLAIN};

const FILE: &str = "devices.json";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// One folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Drawn once; the cluster knows the device again by it.
    pub nonce: [u8; 16],
    /// The id that the cluster gave; 0: none yet.
    device: u64,
    /// The folder was made into this device.
    pub made: bool,
}

impl DeviceFolder {
    /// The id that the cluster gave.
    pub fn device(&self) -> Option<DeviceId> {
        (self.device != 0).then_some(DeviceId(self.device))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    devices: Vec<DeviceFolder>,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceFoldersError {
    /// The file or a folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list is no list of this format.
    #[error("{} is no list of devices of format {FORMAT}: take it from a backup or run the version that wrote it ({why})", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The list.
#[derive(Debug)]
pub struct DeviceFolders {
    file: PathBuf,
    folders: Vec<DeviceFolder>,
}

impl DeviceFolders {
    /// Reads the list of a data folder; none is an empty one.
    ///
    /// # Errors
    /// [`DeviceFoldersError`] if it is there and cannot be used.
    pub fn load(data_folder: &Path) -> Result<Self, DeviceFoldersError> {
        let file = data_folder.join(FILE);
        let malformed = |why: String| DeviceFoldersError::Malformed { path: file.clone(), why };
        let folders = match durable_file::read(&file, FILE_BYTES_MAX)? {
            None => Vec::new(),
            Some(text) => {
                let stored: Stored = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
                if stored.format != FORMAT {
                    return Err(malformed(format!("it has format {}", stored.format)));
                }
                stored.devices
            }
        };
        Ok(Self { file, folders })
    }

    /// The entry of each configured device, new ones with a nonce that is durable.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn of(&mut self, configured: &[DeviceConfig]) -> Result<Vec<DeviceFolder>, DeviceFoldersError> {
        let known = self.folders.len();
        for device in configured {
            if !self.folders.iter().any(|folder| folder.path == device.path) {
                self.folders.push(DeviceFolder { path: device.path.clone(), nonce: System.new_id(), device: 0, made: false });
            }
        }
        if self.folders.len() > known {
            self.store()?;
        }
        let entry = |device: &DeviceConfig| self.folders.iter().find(|folder| folder.path == device.path).cloned();
        Ok(configured.iter().filter_map(entry).collect())
    }

    /// Notes the id that the cluster gave a folder.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn set_device(&mut self, path: &Path, device: DeviceId) -> Result<(), DeviceFoldersError> {
        self.change(path, |folder| folder.device = device.0)
    }

    /// Notes that a folder was made into its device.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn set_made(&mut self, path: &Path) -> Result<(), DeviceFoldersError> {
        self.change(path, |folder| folder.made = true)
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut DeviceFolder)) -> Result<(), DeviceFoldersError> {
        if let Some(folder) = self.folders.iter_mut().find(|folder| folder.path == path) {
            change(folder);
        }
        self.store()
    }

    fn store(&self) -> Result<(), DeviceFoldersError> {
        let stored = Stored { format: FORMAT, devices: self.folders.clone() };
        let text = serde_json::to_vec_pretty(&stored)
            .map_err(|error| DeviceFoldersError::Malformed { path: self.file.clone(), why: error.to_string() })?;
        Ok(durable_file::write(&self.file, &text, MODE_PLAIN)?)
    }
}

/// The weight of a new device in GiB: as configured, or the size of its file system. Makes the folder if it is missing.
///
/// # Errors
/// The folder cannot be made or measured.
pub fn weigh(device: &DeviceConfig) -> Result<u64, FileError> {
    durable_file::create_folder(&device.path)?;
    if let Some(weight) = device.weight {
        return Ok(weight);
    }
    let found = rustix::fs::statvfs(&device.path).map_err(|error| FileError::at("measure", &device.path)(error.into()))?;
    Ok((found.f_blocks.saturating_mul(found.f_frsize) / GIB).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_nonce_and_its_id() {
        let data = tempfile::tempdir().unwrap();
        let config = |name: &str| DeviceConfig { path: data.path().join(name), weight: None };
        let first = DeviceFolders::load(data.path()).unwrap().of(&[config("a"), config("b")]).unwrap();
        assert_ne!(first[0].nonce, first[1].nonce);
        let mut again = DeviceFolders::load(data.path()).unwrap();
        assert_eq!(again.of(&[config("b"), config("a")]).unwrap(), [first[1].clone(), first[0].clone()]);
        again.set_device(&first[0].path, DeviceId(7)).unwrap();
        again.set_made(&first[0].path).unwrap();
        let known = DeviceFolders::load(data.path()).unwrap().of(&[config("a"), config("c")]).unwrap();
        assert_eq!((known[0].device(), known[0].made), (Some(DeviceId(7)), true));
        assert_eq!((known[1].device(), known[1].made), (None, false));
        assert!(weigh(&config("a")).unwrap() >= 1);
        assert_eq!(weigh(&DeviceConfig { weight: Some(9), ..config("a") }).unwrap(), 9);
        std::fs::write(data.path().join(FILE), r#"{"format":2,"devices":[]}"#).unwrap();
        assert!(DeviceFolders::load(data.path()).unwrap_err().to_string().contains("format 2"));
    }
}
