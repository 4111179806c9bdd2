//! The file that a lock on a free name has made. `dav-server` opens it to have it made and closes it again: it is there already, and no bytes go this way.

use std::future;
use std::io::SeekFrom;

use bytes::{Buf, Bytes};
use dav_server::fs::{DavFile, DavMetaData, FsError, FsFuture};

/// Nothing can be done with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeFile;

fn refused<T: Send + 'static>() -> FsFuture<'static, T> {
    Box::pin(future::ready(Err(FsError::NotImplemented)))
}

impl DavFile for MadeFile {
    fn metadata(&'_ mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        refused()
    }

    fn write_buf(&'_ mut self, _buf: Box<dyn Buf + Send>) -> FsFuture<'_, ()> {
        refused()
    }

    fn write_bytes(&'_ mut self, _buf: Bytes) -> FsFuture<'_, ()> {
        refused()
    }

    fn read_bytes(&'_ mut self, _count: usize) -> FsFuture<'_, Bytes> {
        refused()
    }

    fn seek(&'_ mut self, _pos: SeekFrom) -> FsFuture<'_, u64> {
        refused()
    }

    fn flush(&'_ mut self) -> FsFuture<'_, ()> {
        refused()
    }
}
