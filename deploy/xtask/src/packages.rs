//! The Debian packages that building and testing need: why each, whether it is there, and how it gets there.
//!
//! What counts is the thing itself (a compiler on the path, a library where the loader looks), not the package manager's word, so
//! that other distributions work as long as they have it.

use crate::fault::Fault;
use crate::output;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// A Debian package and what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    name: &'static str,
    why: &'static str,
    present: fn() -> bool,
}

/// Needed to build anything.
pub(crate) const TO_BUILD: [Package; 2] = [
    Package { name: "g++", why: "compiles RocksDB (C++), and ring, zstd, lz4 and BLAKE3's assembly (C)", present: has_compilers },
    Package { name: "libclang-dev", why: "bindgen reads RocksDB's C header with it while building", present: has_libclang },
];

/// Without them some tests are counted as skipped.
pub(crate) const TO_TEST: [Package; 3] = [
    Package { name: "e2fsprogs", why: "the power-cut tests make ext4 file systems with it", present: has_mkfs },
    Package { name: "python3", why: "the power-cut tests ask it for the ioctl that shuts a file system down", present: has_python },
    Package { name: "mount", why: "the power-cut tests mount them on loop devices", present: has_losetup },
];

/// Makes sure that `needed` are there: installs what is missing, or says which line does and stops.
pub(crate) fn ensure(needed: &[Package]) -> Result<(), Fault> {
    let missing = missing_of(needed);
    if missing.is_empty() {
        output::good(&format!("packages: {} found", names(needed)));
        return Ok(());
    }
    for package in &missing {
        output::warning(&format!("{} is missing: it {}", package.name, package.why));
    }
    let Some(prefix) = installer() else {
        let line = format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", names(&missing));
        return Err(Fault::new(format!("installing needs root. Run this, then start again:\n  {line}")));
    };
    install(prefix, &missing)?;
    let still = missing_of(needed);
    if still.is_empty() { Ok(()) } else { Err(Fault::new(format!("installed, but still not found: {}", names(&still)))) }
}

/// Installs what is missing where that needs no question; otherwise goes on without and says what will be skipped.
pub(crate) fn ensure_if_possible(wanted: &[Package]) {
    let missing = missing_of(wanted);
    if missing.is_empty() {
        return;
    }
    let installed = installer().is_some_and(|prefix| install(prefix, &missing).is_ok());
    if !installed {
        for package in &missing_of(wanted) {
            output::warning(&format!("{} is missing ({}): such tests are counted as skipped", package.name, package.why));
        }
    }
}

fn missing_of(packages: &[Package]) -> Vec<Package> {
    packages.iter().filter(|package| !(package.present)()).copied().collect()
}

fn names(packages: &[Package]) -> String {
    packages.iter().map(|package| package.name).collect::<Vec<_>>().join(" ")
}

/// The words before `apt-get` that make it run as root; none if there is no way without a question.
fn installer() -> Option<&'static [&'static str]> {
    on_path("apt-get")?;
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    sudo.is_ok_and(|status| status.success()).then_some(&["sudo", "-n"])
}

fn install(prefix: &[&str], packages: &[Package]) -> Result<(), Fault> {
    output::line(&format!("installing {}", names(packages)));
    apt_get(prefix, &["update"])?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages.iter().map(|package| package.name));
    apt_get(prefix, &arguments)
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Result<(), Fault> {
    let words: Vec<&str> =
        prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).chain(arguments).copied().collect();
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .status()
        .map_err(|cause| Fault::new(format!("cannot run {}: {cause}", words.join(" "))))?;
    if status.success() { Ok(()) } else { Err(Fault::new(format!("`{}` failed ({status})", words.join(" ")))) }
}

/// Where a program lies, if it is installed.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Where administration tools lie, which are not on everybody's path.
    let also = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(also).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn has_compilers() -> bool {
    let compiler = |variable: &str, usual: &str| env::var_os(variable).is_some() || on_path(usual).is_some();
    compiler("CXX", "c++") && compiler("CC", "cc")
}

fn has_mkfs() -> bool {
    on_path("mkfs.ext4").is_some()
}

fn has_python() -> bool {
    on_path("python3").is_some()
}

fn has_losetup() -> bool {
    on_path("losetup").is_some() && on_path("mount").is_some()
}

/// Looks where bindgen looks: `LIBCLANG_PATH`, the library folders, and LLVM's own.
fn has_libclang() -> bool {
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let usual = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let machine = [format!("/usr/lib/{}-linux-gnu", env::consts::ARCH)].map(PathBuf::from);
    let llvm = subfolders(Path::new("/usr/lib"), "llvm").into_iter().map(|folder| folder.join("lib"));
    named.into_iter().chain(usual).chain(machine).chain(llvm).any(|folder| holds_libclang(&folder))
}

fn subfolders(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect()
}

fn holds_libclang(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    folder.is_file() || entries.map(|entry| entry.file_name()).any(|name| is_libclang(&name.to_string_lossy()))
}

/// `libclang.so`, `libclang.so.1`, `libclang-14.so.1`; never `libclang-cpp.so.14`, which is another library that comes without it.
fn is_libclang(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libclang") else { return false };
    let version = rest.strip_prefix('-').map_or("", |rest| rest.split(".so").next().unwrap_or(""));
    let rest = if version.is_empty() { rest } else { &rest[version.len() + 1..] };
    version.chars().all(|character| character.is_ascii_digit() || character == '.') && (rest == ".so" || rest.starts_with(".so."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_says_why() {
        for package in TO_BUILD.iter().chain(&TO_TEST) {
            assert!(package.why.len() > 20, "{}: {}", package.name, package.why);
        }
    }

    #[test]
    fn missing_packages_are_found_out() {
        let there = Package { name: "there", why: "is here for the test", present: || true };
        let gone = Package { name: "gone", why: "is missing for the test", present: || false };
        assert_eq!(names(&missing_of(&[there, gone])), "gone");
        assert!(ensure(&[there]).is_ok());
    }

    /// What the tests run beside themselves is in the list.
    #[test]
    fn the_programs_of_the_power_cut_tests_are_named() {
        let power = include_str!("../../../chaos-tests/src/power.rs");
        let needed = [("python3", "python3"), ("mkfs.ext4", "e2fsprogs"), ("losetup", "mount"), ("\"mount\"", "mount")];
        for (program, package) in needed {
            let listed = TO_TEST.iter().any(|listed| listed.name == package);
            assert!(listed || !power.contains(program), "{program} is used, and {package} is not listed");
        }
    }

    #[test]
    fn libclang_is_known_by_its_file_names() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        assert!(!holds_libclang(folder.path()));
        for other in ["libclang-cpp.txt", "libclang-cpp.so.14", "libclang-cpp.so", "libclang.soon", "libclang-14"] {
            fs::write(folder.path().join(other), "").expect("the folder is writable");
            assert!(!holds_libclang(folder.path()), "{other}");
        }
        assert!(is_libclang("libclang.so") && is_libclang("libclang.so.1") && is_libclang("libclang-19.so.19"));
        fs::write(folder.path().join("libclang-14.so.1"), "").expect("the folder is writable");
        assert!(holds_libclang(folder.path()));
    }
}
