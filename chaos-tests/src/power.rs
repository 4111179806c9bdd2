//! Power cuts: a folder on a loop-mounted ext4 whose unsynced bytes are lost by the shutdown ioctl.
//!
//! The ioctl (`EXT4_IOC_SHUTDOWN`, flag 2: no flush of the journal) makes the file system refuse everything from then on; what the page cache
//! held and was not synced never reaches the image. Source: Linux `fs/ext4/ioctl.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::skipped::skip;
use crate::wait::INTERVAL;

/// How long killed processes may keep a file system busy.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(10);

/// A file system in an image file, mounted by a loop device.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    is_mounted: bool,
}

/// Why this machine cannot cut the power of a disk; `None` if it can.
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".into());
    }
    for tool in ["mkfs.ext4", "mount", "umount", "python3"] {
        let found = Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin command -v {tool}")]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Some(format!("{tool} is not installed"));
        }
    }
    let folder = tempfile::tempdir().ok()?;
    let probe = Disk::create(folder.path(), "probe", 64).and_then(|disk| disk.cut());
    probe.err()
}

/// Whether a test has to be skipped because this machine cannot cut the power of a disk; says so.
pub fn is_skipped(test: &str) -> bool {
    let why = why_not();
    if let Some(why) = &why {
        skip(test, why);
    }
    why.is_some()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Disk {
    /// Makes an image of so many MiB and mounts it.
    ///
    /// # Errors
    /// What the tool said.
    pub fn create(folder: &Path, name: &str, mebibytes: u64) -> Result<Self, String> {
        let image = folder.join(format!("{name}.img"));
        let mount = folder.join(name);
        fs::create_dir_all(&mount).map_err(|error| error.to_string())?;
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&image))?;
        let mut disk = Self { image, mount, is_mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it again; the journal is replayed.
    ///
    /// # Errors
    /// What the tool said.
    pub fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    /// Gives the power back: takes the file system off, once the processes that used it are gone, and mounts it anew.
    ///
    /// # Errors
    /// What the tool said last.
    pub async fn remount(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while let Err(why) = self.unmount() {
            if begun.elapsed() > UNMOUNT_LIMIT {
                return Err(why);
            }
            tokio::time::sleep(INTERVAL).await;
        }
        self.mount()
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power: nothing that is not synced by now will be there after the next mount.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn cut(&self) -> Result<(), String> {
        Self::cut_all(std::slice::from_ref(self))
    }

    /// Cuts the power of several, as near to one moment as a process can.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn cut_all(disks: &[Self]) -> Result<(), String> {
        const SHUTDOWN: &str = "import fcntl,os,struct,sys\n\
            disks=[os.open(path, os.O_RDONLY) for path in sys.argv[1:]]\n\
            for disk in disks: fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", SHUTDOWN]).args(disks.iter().map(|disk| &disk.mount)))
    }

    /// Takes it off; no process may have files open on it.
    ///
    /// # Errors
    /// What the tool said.
    pub fn unmount(&mut self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.mount))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Files of a process that was just killed are closed a moment later.
        let begun = Instant::now();
        while self.is_mounted && self.unmount().is_err() {
            if begun.elapsed() > UNMOUNT_LIMIT {
                let _left_to_the_kernel = run(Command::new("umount").arg("--lazy").arg(&self.mount));
                return;
            }
            std::thread::sleep(INTERVAL);
        }
    }
}
