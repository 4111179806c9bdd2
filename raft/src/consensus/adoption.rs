//! The file that says which placement of the system group this node has, once the group was recovered from another node.
//!
//! The recovered group cannot tell a node of its new placement in the group's own log, because the node refuses the new generation until it knows of it. So
//! it is told by a call, and notes it here before anything else. Invariant: what the file says only rises, in (generation, Raft id); **what is older is
//! refused for ever**, also after a crash at any moment.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use skep_placement::ids::{Generation, RaftId};

const FILE: &str = "system-placement";
const UNFINISHED: &str = "system-placement.new";
const TITLE: &str = "skep-system-placement-1";

/// A placement of the system group. Later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Adopted {
    pub(crate) generation: Generation,
    pub(crate) raft: RaftId,
}

/// Reads the file; nothing if this node never adopted a placement. Blocks.
pub(crate) fn read(folder: &Path) -> io::Result<Option<Adopted>> {
    let path = folder.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
    parse(&text).map(Some).ok_or_else(damaged)
}

/// Writes the file durably. Blocks.
pub(crate) fn write(folder: &Path, adopted: Adopted) -> io::Result<()> {
    let unfinished: PathBuf = folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(text(adopted).as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

fn text(adopted: Adopted) -> String {
    let body = format!("{TITLE} {} {}", adopted.generation.0, adopted.raft.0);
    format!("{body} {:08x}\n", crc32c::crc32c(body.as_bytes()))
}

fn parse(text: &str) -> Option<Adopted> {
    let (body, checksum) = text.trim_end().rsplit_once(' ')?;
    if checksum != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
        return None;
    }
    let mut words = body.split(' ');
    let (title, generation, raft) = (words.next()?, words.next()?, words.next()?);
    let adopted = Adopted { generation: Generation(generation.parse().ok()?), raft: RaftId(raft.parse().ok()?) };
    (title == TITLE && words.next().is_none()).then_some(adopted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_wrote_and_refuses_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()).expect("nothing is right"), None, "a node that never adopted one");
        let adopted = Adopted { generation: Generation(12), raft: RaftId(34) };
        write(folder.path(), adopted).expect("it can be written");
        assert_eq!(read(folder.path()).expect("it can be read"), Some(adopted), "what was written");
        assert_eq!(text(adopted), "skep-system-placement-1 12 34 8bcd28ee\n", "the format is frozen");
        fs::write(folder.path().join(FILE), text(adopted).replace("34", "35")).expect("it can be written");
        assert!(read(folder.path()).is_err(), "damage is no placement");
    }

    #[test]
    fn later_placements_are_greater() {
        let adopted = |generation, raft| Adopted { generation: Generation(generation), raft: RaftId(raft) };
        assert!(adopted(2, 1) > adopted(1, 9), "the generation counts first");
        assert!(adopted(2, 2) > adopted(2, 1), "then the Raft id");
    }
}
