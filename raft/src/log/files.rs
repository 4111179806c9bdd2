//! The file trait: all the log asks of a file system, so that a simulator can run the real code.
//!
//! A folder is flat. What a call promises is what POSIX promises: a write is readable at once and durable only after [`LogFile::sync_data`]; a
//! change of the folder is durable only after [`LogFiles::sync_folder`]; a rename is all or nothing.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;

/// One folder of files.
pub trait LogFiles: fmt::Debug + Send + Sync {
    /// Names the folder in messages.
    fn folder(&self) -> String;

    /// Takes the folder for this process until what it returns is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process has it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// Returns the sector size of the device in bytes: what is never torn.
    fn sector_bytes(&self) -> u32;

    /// Lists the names of all files.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file to read and write; an old one of that name is emptied.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;

    /// Opens a file to read.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; an open file can be read on.
    ///
    /// # Errors
    /// As the system says.
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Makes the changes of names durable.
    ///
    /// # Errors
    /// As the system says; what is durable is then unknown.
    fn sync_folder(&self) -> io::Result<()>;
}

/// One open file.
pub trait LogFile: fmt::Debug + Send + Sync {
    /// Writes all bytes at an offset; the file grows as needed.
    ///
    /// # Errors
    /// As the system says; what was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable, with the length needed to read it.
    ///
    /// # Errors
    /// As the system says; what is durable is then unknown, and calling again proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Fills the buffer from an offset.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns the length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;
}
