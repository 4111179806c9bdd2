//! The folder of a demo: what is ours in it, and the marker without which it is never wiped.

use crate::fault::Fault;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MARKER: &str = ".skep-demo";
const MARKER_TEXT: &str = "This folder belongs to `cargo xtask demo`, which may delete it with --fresh.\n";
const PASSWORD_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PASSWORD_LENGTH: usize = 20;

/// A folder that a demo lives in.
#[derive(Clone, Debug)]
pub(crate) struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Names the folder; it need not be there.
    pub(crate) fn at(path: PathBuf) -> Self {
        DemoFolder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Written by `skep dev` when every node is ready.
    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.0.join("cluster.json")
    }

    /// What `skep dev` says.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.0.join("dev.log")
    }

    /// The process id of `skep dev`.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.0.join("dev.pid")
    }

    /// A checksum for every file that was loaded.
    pub(crate) fn manifest_file(&self) -> PathBuf {
        self.0.join("manifest.txt")
    }

    /// Which loads were begun and which are done.
    pub(crate) fn loads_file(&self) -> PathBuf {
        self.0.join("loads.json")
    }

    /// Settings for a WebDAV mount.
    pub(crate) fn davfs_file(&self) -> PathBuf {
        self.0.join("davfs2.conf")
    }

    fn marker(&self) -> PathBuf {
        self.0.join(MARKER)
    }

    /// Makes the folder, or takes it again if it is a demo's.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        self.require_marker_or_empty()?;
        fs::create_dir_all(&self.0).map_err(|cause| Fault::at("make", &self.0, cause))?;
        fs::write(self.marker(), MARKER_TEXT).map_err(|cause| Fault::at("write", &self.marker(), cause))
    }

    /// Refuses a folder that no demo has made.
    pub(crate) fn require_marker(&self) -> Result<(), Fault> {
        if self.marker().is_file() {
            return Ok(());
        }
        Err(Fault::new(format!("{} holds no demo: its marker {MARKER} is missing", self.0.display())))
    }

    /// Refuses a folder that holds something else than a demo.
    pub(crate) fn require_marker_or_empty(&self) -> Result<(), Fault> {
        let is_empty = match fs::read_dir(&self.0) {
            Ok(mut entries) => entries.next().is_none(),
            Err(cause) if cause.kind() == ErrorKind::NotFound => true,
            Err(cause) => return Err(Fault::at("read", &self.0, cause)),
        };
        if is_empty || self.marker().is_file() {
            return Ok(());
        }
        Err(Fault::new(format!("{} is not empty and holds no demo (no {MARKER} in it): choose another with --dir", self.0.display())))
    }

    /// Removes the folder with all that is in it, if it carries the marker.
    pub(crate) fn wipe(&self) -> Result<(), Fault> {
        if !self.marker().is_file() {
            return Ok(());
        }
        fs::remove_dir_all(&self.0).map_err(|cause| Fault::at("remove", &self.0, cause))
    }

    /// The administrator's password: drawn once, kept in a file that only its owner can read.
    pub(crate) fn admin_password(&self) -> Result<String, Fault> {
        let path = self.0.join("admin-password");
        match fs::read_to_string(&path) {
            Ok(known) => return Ok(known.trim().to_owned()),
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) => return Err(Fault::at("read", &path, cause)),
        }
        let password = draw_password()?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{password}"));
        written.map_err(|cause| Fault::at("write", &path, cause))?;
        Ok(password)
    }
}

fn draw_password() -> Result<String, Fault> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0u8; PASSWORD_LENGTH];
    let read = fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|cause| Fault::at("read", source, cause))?;
    Ok(bytes.iter().map(|byte| char::from(PASSWORD_LETTERS[usize::from(*byte) % PASSWORD_LETTERS.len()])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_demo_is_wiped() {
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let foreign = DemoFolder::at(outer.path().to_path_buf());
        fs::write(outer.path().join("thesis.txt"), "mine").expect("the folder is writable");
        assert!(foreign.create().is_err(), "a folder with other files is refused");
        foreign.wipe().expect("nothing to do is no error");
        assert!(outer.path().join("thesis.txt").is_file());

        let ours = DemoFolder::at(outer.path().join("demo"));
        ours.create().expect("a new folder is made");
        ours.create().expect("a demo's folder is taken again");
        ours.wipe().expect("a demo's folder is wiped");
        assert!(!ours.path().exists());
    }

    #[test]
    fn the_password_stays_and_is_private() {
        let outer = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = DemoFolder::at(outer.path().to_path_buf());
        let password = folder.admin_password().expect("a password is drawn");
        assert_eq!(password.len(), PASSWORD_LENGTH);
        assert_eq!(folder.admin_password().expect("it is kept"), password);
        let mode = fs::metadata(outer.path().join("admin-password")).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
