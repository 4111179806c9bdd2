//! What lies in the files of this node: segments of its devices, segments of its log. Only looked at, never changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tonic::Status;

use super::AdminParts;
use super::wire::{DebugLogReply, DebugLogRequest, DebugSegmentReply, DebugSegmentRequest, LogFile, Replica, Segment, SegmentRecord};
use crate::device_store::{InspectedRecord, RecordKind, inspect_segment};

const RECORDS_DEFAULT: u32 = 1_000;
const RECORDS_MAX: u32 = 100_000;
const SEGMENT_SUFFIX: &str = ".seg";

/// A file as the file system knows it.
struct FileSize {
    path: PathBuf,
    name: String,
    length: u64,
    allocated: u64,
}

impl AdminParts {
    pub(super) async fn debug_segment(&self, request: DebugSegmentRequest) -> Result<DebugSegmentReply, Status> {
        let devices: Vec<_> = self.devices.iter().filter(|(id, _folder)| request.device == 0 || request.device == id.0).cloned().collect();
        if devices.is_empty() {
            let ids: Vec<String> = self.devices.iter().map(|(id, _folder)| id.to_string()).collect();
            let sentence = format!("node {} has no device {}; it has {}", self.node, request.device, ids.join(", "));
            return Err(Status::not_found(sentence));
        }
        on_files(move || {
            let mut reply = DebugSegmentReply::default();
            for (id, folder) in devices {
                for file in segments(&folder)? {
                    let wanted = request.segment.is_empty() || request.segment == file.name;
                    if !wanted {
                        continue;
                    }
                    if !request.segment.is_empty() {
                        (reply.records, reply.more) = records(&file.path, request.limit)?;
                    }
                    reply.segments.push(Segment { device: id.0, name: file.name, length: file.length, allocated: file.allocated });
                }
            }
            if reply.segments.is_empty() && !request.segment.is_empty() {
                return Err(Status::not_found(format!("there is no segment {}", request.segment)));
            }
            Ok(reply)
        })
        .await
    }

    pub(super) async fn debug_log(&self, _request: DebugLogRequest) -> Result<DebugLogReply, Status> {
        let replicas = self.metadata.replicas().await.into_iter().map(|replica| Replica {
            group: replica.group,
            raft_id: replica.raft_id,
            generation: replica.generation,
            state: replica.state,
            term: replica.term,
            last_log_index: replica.last_log_index,
            applied_index: replica.applied_index,
            snapshot_index: replica.snapshot_index,
            leader_node: replica.leader_node,
        });
        let replicas = replicas.collect();
        let folder = self.log_folder.clone();
        let files = on_files(move || files_in(&folder).map_err(|error| unreadable(&folder, &error))).await?;
        let files = files.into_iter().map(|file| LogFile { name: file.name, length: file.length, allocated: file.allocated });
        Ok(DebugLogReply { files: files.collect(), replicas })
    }
}

async fn on_files<T: Send + 'static>(work: impl FnOnce() -> Result<T, Status> + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Status {
    Status::internal(format!("{} cannot be read: {error}", path.display()))
}

fn files_in(folder: &Path) -> io::Result<Vec<FileSize>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push(FileSize { path: entry.path(), name, length: metadata.len(), allocated: metadata.blocks() * 512 });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The segment files of a device, wherever in its folder they lie.
fn segments(folder: &Path) -> Result<Vec<FileSize>, Status> {
    let list = || -> io::Result<Vec<FileSize>> {
        let mut files = files_in(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != "lost+found" {
                files.extend(files_in(&entry.path())?);
            }
        }
        files.retain(|file| file.name.ends_with(SEGMENT_SUFFIX));
        Ok(files)
    };
    list().map_err(|error| unreadable(folder, &error))
}

fn records(path: &Path, limit: u32) -> Result<(Vec<SegmentRecord>, bool), Status> {
    let limit = if limit == 0 { RECORDS_DEFAULT } else { limit.min(RECORDS_MAX) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let inspection = inspect_segment(path).map_err(|error| unreadable(path, &error))?;
    let more = inspection.records.len() > limit;
    Ok((inspection.records.iter().take(limit).map(record_row).collect(), more))
}

fn record_row(record: &InspectedRecord) -> SegmentRecord {
    let fault = record.fault.as_ref().map(|fault| format!("; {fault}")).unwrap_or_default();
    let Some(header) = &record.header else {
        return SegmentRecord { offset: record.offset, length: 0, kind: "bad".to_owned(), detail: format!("no record stands here{fault}") };
    };
    let shard = &header.shard;
    let (kind, detail) = match header.kind {
        RecordKind::Shard => {
            ("shard", format!("{} of code {}, placement group {} at epoch {}", shard.key(), shard.code, shard.pg, shard.epoch))
        }
        RecordKind::Tombstone(place) => {
            ("tombstone", format!("{} was deleted at segment {}, offset {}", shard.key(), place.segment, place.offset))
        }
    };
    SegmentRecord {
        offset: record.offset,
        length: u64::from(shard.payload_length),
        kind: kind.to_owned(),
        detail: format!("{detail}{fault}"),
    }
}
