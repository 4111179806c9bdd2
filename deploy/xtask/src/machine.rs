//! What this machine has: room on disks, memory, free ports.

use crate::duration_text::bytes;
use crate::fault::Fault;
use crate::output;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Memory below which nothing is started: three nodes and a load.
const MEMORY_BYTES_MIN: u64 = 1500 << 20;
/// Memory below which compiling RocksDB may be ended by the kernel.
const MEMORY_BYTES_BUILD: u64 = 3 << 30;

/// Room wanted under a path, and what for.
#[derive(Clone, Debug)]
pub(crate) struct RoomWanted {
    /// What will be written.
    pub(crate) purpose: &'static str,
    /// Below which folder; it need not be there yet.
    pub(crate) path: PathBuf,
    /// How much.
    pub(crate) bytes: u64,
}

/// Checks that every file system has the sum of what is wanted of it.
pub(crate) fn check_disk(wanted: &[RoomWanted]) -> Result<(), Fault> {
    let mut by_device: Vec<(u64, u64, Vec<&RoomWanted>)> = Vec::new();
    for want in wanted {
        let existing = nearest_existing(&want.path);
        let device = rustix::fs::stat(&existing).map_err(|cause| Fault::at("look at", &existing, cause))?.st_dev;
        let free = free_bytes(&existing)?;
        match by_device.iter_mut().find(|(known, _, _)| *known == device) {
            Some((_, _, wants)) => wants.push(want),
            None => by_device.push((device, free, vec![want])),
        }
    }
    for (_device, free, wants) in by_device {
        let sum: u64 = wants.iter().map(|want| want.bytes).sum();
        let reasons: Vec<String> =
            wants.iter().map(|want| format!("{} for {} in {}", bytes(want.bytes), want.purpose, want.path.display())).collect();
        if sum > free {
            return Err(Fault::new(format!(
                "not enough room: {} free, {} wanted ({}). Free some, or choose other folders with CARGO_TARGET_DIR and --dir",
                bytes(free),
                bytes(sum),
                reasons.join(", ")
            )));
        }
        output::good(&format!("disk: {} free, up to {} wanted ({})", bytes(free), bytes(sum), reasons.join(", ")));
    }
    Ok(())
}

/// Checks that nodes can run, and says so if compiling might not.
pub(crate) fn check_memory(will_build: bool) -> Result<(), Fault> {
    let meminfo = fs::read_to_string("/proc/meminfo").map_err(|cause| Fault::at("read", Path::new("/proc/meminfo"), cause))?;
    let Some(available) = available_bytes(&meminfo) else {
        output::warning("memory: /proc/meminfo does not say how much is available");
        return Ok(());
    };
    if available < MEMORY_BYTES_MIN {
        return Err(Fault::new(format!("not enough memory: {} available, {} wanted", bytes(available), bytes(MEMORY_BYTES_MIN))));
    }
    output::good(&format!("memory: {} available", bytes(available)));
    if will_build && available < MEMORY_BYTES_BUILD {
        output::warning("compiling RocksDB takes about 1 GiB for each core; if it is killed, set CARGO_BUILD_JOBS=1 and start again");
    }
    Ok(())
}

/// Checks that nobody listens on the API ports of the nodes.
pub(crate) fn check_ports(first: u16, count: u16) -> Result<(), Fault> {
    let last = first.checked_add(count - 1).filter(|_| first > 0);
    let last = last.ok_or_else(|| Fault::new(format!("--port {first}: the ports of {count} nodes must lie in 1..65535")))?;
    for port in first..=last {
        TcpListener::bind(("127.0.0.1", port)).map_err(|cause| {
            Fault::new(format!("port {port} of 127.0.0.1 is not free ({cause}): choose others with --port, {count} in a row are needed"))
        })?;
    }
    output::good(&format!("ports {first} to {last} are free"));
    Ok(())
}

fn free_bytes(path: &Path) -> Result<u64, Fault> {
    let stat = rustix::fs::statvfs(path).map_err(|cause| Fault::at("ask for the free room of", path, cause))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn nearest_existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_no_working_directory| path.to_path_buf());
    absolute.ancestors().find(|ancestor| ancestor.is_dir()).map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let meminfo = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   21000000 kB\n";
        assert_eq!(available_bytes(meminfo), Some(21_000_000 * 1024));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = taken.local_addr().expect("a bound socket has an address").port();
        let fault = check_ports(port, 1).expect_err("the port is taken").to_string();
        assert!(fault.contains(&port.to_string()), "{fault}");
    }

    #[test]
    fn ports_past_the_end_are_refused() {
        assert!(check_ports(65_534, 3).is_err());
        assert!(check_ports(0, 3).is_err());
    }

    #[test]
    fn too_little_room_is_said_with_all_purposes() {
        let want = |purpose, bytes| RoomWanted { purpose, path: PathBuf::from("/tmp/not/there/yet"), bytes };
        assert!(check_disk(&[want("nothing", 1)]).is_ok());
        let fault = check_disk(&[want("the one", 1 << 60), want("the other", 1 << 60)]).expect_err("no disk is that large").to_string();
        assert!(fault.contains("the one") && fault.contains("the other"), "{fault}");
    }
}
