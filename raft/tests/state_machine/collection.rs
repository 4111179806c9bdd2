//! Chunks, uploads and the collection horizon: the rules of the `collection` model on the real code.

use super::group::{Group, code, path, put_of, stored};
use skep_raft::wire::meta::v1::content_command::What;
use skep_raft::wire::meta::v1::{
    AbortUpload, AdvanceHorizon, AppendUpload, ChunkQuery, ChunkRecord, Code, CondemnedQuery, Done, ExpireUploads, GroupTotals, OpenUpload,
    QueueRepairs, Reencoded, Rejection, RejectionCode, RenewUpload, RepairQuery, ReportDamage, ShardRepaired, StoredChunk, WriteId, answer,
    new_content, query, tree_command,
};

const LEASE: u64 = 60;

fn record(group: &Group, chunk: u8) -> Option<ChunkRecord> {
    match group.query(query::What::Chunk(ChunkQuery { chunk: vec![chunk; 32].into() })) {
        answer::What::Chunk(record) => Some(record),
        answer::What::Absence(_) => None,
        other => panic!("{other:?}"),
    }
}

fn totals(group: &Group) -> GroupTotals {
    match group.query(query::What::Totals(Default::default())) {
        answer::What::Totals(totals) => totals,
        other => panic!("{other:?}"),
    }
}

fn open(group: &mut Group) -> u64 {
    let open = OpenUpload { begun: group.clock, lease_seconds: LEASE, job: bytes::Bytes::new() };
    group.content(What::OpenUpload(open)).unwrap().number
}

fn append(group: &mut Group, upload: u64, part: u64, chunks: Vec<StoredChunk>) -> Result<Done, Rejection> {
    group.content(What::AppendUpload(AppendUpload { upload, part, chunks, lease_seconds: LEASE }))
}

fn horizon(group: &mut Group, collection: u64) {
    group.content(What::AdvanceHorizon(AdvanceHorizon { collection })).unwrap();
}

fn repairs(group: &Group) -> Vec<u8> {
    match group.query(query::What::Repair(RepairQuery { limit: 1_000, ..RepairQuery::default() })) {
        answer::What::Repair(page) => page.chunks.iter().map(|placed| placed.chunk[0]).collect(),
        other => panic!("{other:?}"),
    }
}

fn deletes(group: &Group) -> Vec<(u8, u64)> {
    match group.query(query::What::Condemned(CondemnedQuery { limit: 1_000, ..CondemnedQuery::default() })) {
        answer::What::Condemned(page) => {
            let counter = |stored: &StoredChunk| (stored.chunk[0], stored.write.unwrap().counter);
            page.instances.iter().map(|record| counter(record.instance.as_ref().unwrap())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_instance_is_kept_and_another_is_surplus() {
    let mut group = Group::datasource();
    assert!(group.put_chunks("/a", &[stored(1, 5_000, 1, 900)]).unwrap().surplus.is_empty());
    let second = stored(1, 5_000, 2, 900);
    assert_eq!(group.put_chunks("/b", &[second.clone(), second.clone()]).unwrap().surplus, [second]);
    assert!(group.put_chunks("/c", &[stored(1, 5_000, 1, 900)]).unwrap().surplus.is_empty(), "the instance named is the one kept");
    let kept = record(&group, 1).unwrap();
    assert_eq!((kept.write.unwrap().counter, kept.contents), (1, 4));
    group.check();
}

#[test]
fn a_changed_code_under_one_write_id_is_refused() {
    let mut group = Group::datasource();
    let written = stored(1, 5_000, 1, 900);
    group.put_chunks("/f", std::slice::from_ref(&written)).unwrap();
    let other = StoredChunk { code: Some(Code { data: 1, parity: 2 }), ..written.clone() };
    assert_eq!(code(group.put_chunks("/g", std::slice::from_ref(&other))), RejectionCode::Invalid);
    let upload = open(&mut group);
    assert_eq!(code(append(&mut group, upload, 0, vec![other.clone()])), RejectionCode::Invalid);
    group.content(What::AbortUpload(AbortUpload { upload })).unwrap();
    let kept = record(&group, 1).unwrap();
    assert_eq!((kept.code, kept.contents), (written.code, 1), "the first writing is as it was");
    let surplus =
        group.put_chunks("/h", &[StoredChunk { write: Some(WriteId { node: 1, boot: 1, counter: 2 }), ..other }]).unwrap().surplus;
    assert_eq!(surplus.len(), 1, "under a write id of its own it is another instance");
    group.check();
}

#[test]
fn every_command_with_a_new_instance_begun_before_the_horizon_is_refused() {
    let mut group = Group::datasource();
    group.put_chunks("/a", &[stored(1, 5_000, 1, 900)]).unwrap();
    let upload = open(&mut group);
    horizon(&mut group, 1_000);
    let old = RejectionCode::InstanceTooOld;
    assert_eq!(code(group.put_chunks("/b", &[stored(2, 5_000, 2, 999)])), old);
    assert_eq!(code(group.put_chunks("/b", &[stored(1, 5_000, 2, 999)])), old, "also of a chunk that is there");
    assert_eq!(code(append(&mut group, upload, 0, vec![stored(2, 5_000, 2, 999)])), old, "an upload is no exception");
    let reencoded = |begun| Reencoded {
        chunk: vec![1; 32].into(),
        replaces: Some(WriteId { node: 1, boot: 1, counter: 1 }),
        instance: Some(stored(1, 5_000, 3, begun)),
    };
    assert_eq!(code(group.content(What::Reencoded(reencoded(999)))), old);
    group.put_chunks("/b", &[stored(2, 5_000, 2, 1_000)]).unwrap();
    append(&mut group, upload, 0, vec![stored(3, 5_000, 4, 1_000)]).unwrap();
    group.content(What::Reencoded(reencoded(1_000))).unwrap();
    group.check();
}

#[test]
fn the_horizon_only_grows_and_stays_behind_the_stamp() {
    let mut group = Group::datasource();
    horizon(&mut group, 1_000);
    horizon(&mut group, 500);
    assert_eq!(code(group.put_chunks("/b", &[stored(2, 5_000, 2, 999)])), RejectionCode::InstanceTooOld);
    let ahead = AdvanceHorizon { collection: group.clock + 1_000_000 };
    assert_eq!(code(group.content(What::AdvanceHorizon(ahead))), RejectionCode::Invalid);
}

#[test]
fn a_condemned_chunk_is_revived_with_its_first_instance() {
    let mut group = Group::datasource();
    let upload = open(&mut group);
    append(&mut group, upload, 0, vec![stored(1, 5_000, 1, 900)]).unwrap();
    group.content(What::AbortUpload(AbortUpload { upload })).unwrap();
    assert_ne!(record(&group, 1).unwrap().condemned_at, 0);
    assert_eq!((totals(&group).chunks, totals(&group).condemned_chunks, totals(&group).condemned_bytes), (0, 1, 5_000));
    group.check();
    let other = stored(1, 5_000, 2, 900);
    assert_eq!(group.put_chunks("/a", std::slice::from_ref(&other)).unwrap().surplus, [other]);
    let revived = record(&group, 1).unwrap();
    assert_eq!((revived.write.unwrap().counter, revived.condemned_at, revived.contents), (1, 0, 1));
    assert!(deletes(&group).is_empty(), "nothing that is live is to be deleted");
    group.check();
}

#[test]
fn a_commit_that_relies_on_a_pin_is_refused_if_the_record_is_gone_or_another() {
    let mut group = Group::datasource();
    let pinned = |counter| StoredChunk { pin: 9, ..stored(1, 5_000, counter, 0) };
    assert_eq!(code(group.put_chunks("/a", &[pinned(1)])), RejectionCode::InstanceGone);
    group.put_chunks("/a", &[stored(1, 5_000, 1, 900)]).unwrap();
    assert_eq!(code(group.put_chunks("/b", &[pinned(2)])), RejectionCode::InstanceGone);
    horizon(&mut group, 1_000);
    group.put_chunks("/b", &[pinned(1)]).unwrap();
    group.check();
}

#[test]
fn a_refused_commit_leaves_nothing() {
    let mut group = Group::datasource();
    let before = group.rows().len();
    let bad = [stored(1, 5_000, 1, 900), StoredChunk { length: 0, ..stored(2, 1, 2, 900) }];
    assert_eq!(code(group.put_chunks("/a", &bad)), RejectionCode::Invalid);
    // Stamp, applied index, format; the command itself left nothing.
    assert!(group.rows().len() <= before + 3, "{:?}", group.rows());
    assert_eq!(record(&group, 1), None);
    group.check();
}

#[test]
fn what_a_commit_says_of_a_chunk_is_checked() {
    let mut group = Group::datasource();
    let good = stored(1, 5_000, 1, 900);
    let bad = [
        StoredChunk { chunk: vec![1; 31].into(), ..good.clone() },
        StoredChunk { length: (4 << 20) + 1, ..good.clone() },
        StoredChunk { write: None, ..good.clone() },
        StoredChunk { write: Some(WriteId { node: 0, boot: 1, counter: 1 }), ..good.clone() },
        StoredChunk { code: None, ..good.clone() },
        StoredChunk { code: Some(Code { data: 0, parity: 1 }), ..good.clone() },
        StoredChunk { code: Some(Code { data: 300, parity: 1 }), ..good.clone() },
        StoredChunk { missing: 0b100, ..good.clone() },
        StoredChunk { missing: 0b01, ..good.clone() },
        StoredChunk { devices: vec![1], ..good.clone() },
        StoredChunk { devices: vec![1, 1], ..good.clone() },
    ];
    for stored in bad {
        assert_eq!(code(group.put_chunks("/a", std::slice::from_ref(&stored))), RejectionCode::Invalid, "{stored:?}");
    }
    assert_eq!(code(group.put_chunks("/a", &[])), RejectionCode::Invalid, "an empty list is no content");
    let wide = StoredChunk { code: Some(Code { data: 4, parity: 2 }), ..good.clone() };
    assert_eq!(code(group.put_chunks("/a", &[StoredChunk { missing: 0b11, ..wide.clone() }])), RejectionCode::Invalid);
    group.put_chunks("/a", &[StoredChunk { missing: 0b10, ..wide }]).unwrap();
    assert_eq!(code(group.put_chunks("/b", &[StoredChunk { length: 4_999, ..good }])), RejectionCode::Invalid, "one chunk, two lengths");
    let sized = new_content::From::Chunks(skep_raft::wire::meta::v1::ChunkList { chunks: vec![stored(7, 10, 7, 900)] });
    assert_eq!(code(group.put_from("/c", 11, sized)), RejectionCode::SizeMismatch);
    let long: Vec<StoredChunk> = (0..17).map(|counter| stored(8, 4 << 20, counter, 900)).collect();
    assert_eq!(code(group.put_chunks("/d", &long)), RejectionCode::Invalid, "more than 64 MiB are uploads");
    group.check();
}

#[test]
fn an_upload_takes_its_parts_in_order_and_becomes_a_file() {
    let mut group = Group::datasource();
    let upload = open(&mut group);
    let part = |from: u8| (from..from + 3).map(|chunk| stored(chunk, 1_000, u64::from(chunk), 900)).collect::<Vec<_>>();
    assert_eq!(code(append(&mut group, upload, 1, part(1))), RejectionCode::UploadOutOfOrder);
    append(&mut group, upload, 0, part(1)).unwrap();
    assert_eq!(code(append(&mut group, upload, 0, part(1))), RejectionCode::UploadOutOfOrder);
    append(&mut group, upload, 1, part(4)).unwrap();
    assert_eq!(totals(&group).uploads_open, 1);
    group.check();
    assert_eq!(code(group.put_from("/f", 5_999, new_content::From::Upload(upload))), RejectionCode::SizeMismatch);
    group.put_from("/f", 6_000, new_content::From::Upload(upload)).unwrap();
    assert_eq!(code(group.put_from("/g", 6_000, new_content::From::Upload(upload))), RejectionCode::UploadNotFound);
    assert_eq!(code(append(&mut group, upload, 2, part(7))), RejectionCode::UploadNotFound);
    group.put_from("/g", 6_000, new_content::From::Content(upload)).unwrap();
    assert_eq!(totals(&group).uploads_open, 0);
    group.check();
}

#[test]
fn an_upload_expires_unless_it_is_renewed() {
    let mut group = Group::datasource();
    let upload = open(&mut group);
    append(&mut group, upload, 0, vec![stored(1, 5_000, 1, 900)]).unwrap();
    group.clock += (LEASE - 1) * 1_000_000;
    group.content(What::RenewUpload(RenewUpload { upload, lease_seconds: LEASE })).unwrap();
    group.clock += (LEASE - 1) * 1_000_000;
    assert_eq!(group.content(What::ExpireUploads(ExpireUploads { limit: 10 })).unwrap().count, 0);
    group.clock += 2_000_000;
    let expired = RejectionCode::UploadExpired;
    assert_eq!(code(append(&mut group, upload, 1, vec![stored(2, 5_000, 2, 900)])), expired);
    assert_eq!(code(group.content(What::RenewUpload(RenewUpload { upload, lease_seconds: LEASE }))), expired);
    assert_eq!(code(group.put_from("/f", 5_000, new_content::From::Upload(upload))), expired, "expired is expired, walked or not");
    assert_eq!(group.content(What::ExpireUploads(ExpireUploads { limit: 10 })).unwrap().count, 1);
    assert_eq!((totals(&group).uploads_open, totals(&group).condemned_chunks), (0, 1));
    group.check();
}

#[test]
fn a_long_upload_is_given_back_step_by_step() {
    let mut group = Group::datasource();
    let upload = open(&mut group);
    let parts = 20;
    for part in 0..parts {
        let chunks = (0..1_000).map(|counter| stored((counter % 200) as u8, 1_000, part * 1_000 + counter, 900)).collect();
        append(&mut group, upload, part, chunks).unwrap();
    }
    group.check();
    group.content(What::AbortUpload(AbortUpload { upload })).unwrap();
    group.check();
    assert_eq!(totals(&group).uploads_open, 1, "a part of it is left");
    assert_eq!(code(group.put_from("/f", 1, new_content::From::Upload(upload))), RejectionCode::UploadExpired);
    let mut steps = 0;
    while totals(&group).uploads_open > 0 {
        group.content(What::ExpireUploads(ExpireUploads { limit: 10 })).unwrap();
        group.check();
        steps += 1;
    }
    assert!((2..=parts).contains(&steps), "{steps}");
    assert_eq!((totals(&group).chunks, totals(&group).condemned_chunks), (0, 200));
}

#[test]
fn an_upload_without_a_byte_is_an_empty_file() {
    let mut group = Group::datasource();
    let upload = open(&mut group);
    group.put_from("/empty", 0, new_content::From::Upload(upload)).unwrap();
    group.check();
    let asked = skep_raft::wire::meta::v1::ContentQuery { path: path("/empty"), ..Default::default() };
    assert!(
        matches!(group.query(query::What::Content(asked)), answer::What::Content(content) if content.is_inlined && content.inlined.is_empty())
    );
}

#[test]
fn a_foreign_upload_is_out_of_reach() {
    use skep_raft::wire::meta::v1::{Actor, Command, Proposal, outcome};
    let mut group = Group::datasource();
    let mut by = |user: u8, what: skep_raft::wire::meta::v1::command::What| {
        let actor = Some(Actor { user: vec![user; 16].into(), login: "u".to_owned() });
        let command = Command { actor, what: Some(what), ..Command::default() };
        match group.batch(vec![Proposal { command: Some(command), ..Proposal::default() }]).remove(0).what {
            Some(outcome::What::Done(done)) => Ok(done),
            Some(outcome::What::Rejection(rejection)) => Err(rejection),
            other => panic!("{other:?}"),
        }
    };
    let open = OpenUpload { begun: 1, lease_seconds: LEASE, job: bytes::Bytes::new() };
    let upload = by(1, super::group::content(What::OpenUpload(open))).unwrap().number;
    let put = put_of("/f", super::group::id(1), super::group::id(2), 0, new_content::From::Upload(upload));
    let put = super::group::tree(tree_command::What::PutFile(put));
    assert_eq!(code(by(2, put.clone())), RejectionCode::Forbidden);
    by(1, put).unwrap();
}

#[test]
fn the_repair_queue_follows_what_is_missing() {
    let mut group = Group::datasource();
    let wide = |chunk, counter| StoredChunk { code: Some(Code { data: 4, parity: 2 }), ..stored(chunk, 900_000, counter, 900) };
    group.put_chunks("/a", &[wide(1, 1), StoredChunk { missing: 0b10, ..wide(2, 2) }]).unwrap();
    assert_eq!(repairs(&group), [2]);
    let repaired = |counter, missing_was, missing| {
        let write = Some(WriteId { node: 1, boot: 1, counter });
        What::ShardRepaired(ShardRepaired { chunk: vec![2; 32].into(), write, missing_was, missing, devices: Vec::new(), epoch: 2 })
    };
    assert_eq!(code(group.content(repaired(9, 0b10, 0))), RejectionCode::InstanceGone, "it names another instance");
    assert_eq!(code(group.content(repaired(2, 0b11, 0))), RejectionCode::Stale, "it saw another mask");
    group.content(repaired(2, 0b10, 0)).unwrap();
    assert_eq!((repairs(&group), record(&group, 2).unwrap().epoch), (vec![], 2));
    let damage = ReportDamage { chunk: vec![2; 32].into(), write: Some(WriteId { node: 1, boot: 1, counter: 2 }), missing: 0b111 };
    group.content(What::ReportDamage(damage)).unwrap();
    assert_eq!((repairs(&group), record(&group, 2).unwrap().missing), (vec![2], 0b111));
    group.content(repaired(2, 0b111, 0b100)).unwrap();
    assert_eq!(repairs(&group), [2]);
    group.check();
}

#[test]
fn what_lies_away_or_below_the_profile_is_queued() {
    let mut group = Group::datasource();
    group.put_chunks("/a", &[StoredChunk { devices: vec![7, 8], ..stored(1, 900, 1, 900) }]).unwrap();
    group.put_chunks("/b", &[StoredChunk { below_profile: true, ..stored(2, 900_000, 2, 900) }]).unwrap();
    group.put_chunks("/c", &[stored(3, 900_000, 3, 900)]).unwrap();
    assert_eq!(repairs(&group), [1, 2]);
    let walk = |group: &mut Group, after: bytes::Bytes, profile| {
        group.content(What::QueueRepairs(QueueRepairs { after, limit: 2, profile: Some(profile), epoch_floor: 0 })).unwrap()
    };
    let first = walk(&mut group, bytes::Bytes::new(), Code { data: 2, parity: 1 });
    assert_eq!(first.cursor, vec![2; 32]);
    let second = walk(&mut group, first.cursor, Code { data: 2, parity: 1 });
    assert!(second.cursor.is_empty());
    assert_eq!((repairs(&group), second.count), (vec![1, 2, 3], 1));
    let cursor = walk(&mut group, bytes::Bytes::new(), Code { data: 1, parity: 1 }).cursor;
    walk(&mut group, cursor, Code { data: 1, parity: 1 });
    assert_eq!(repairs(&group), [1], "the profile is met again");
    group.check();
}

/// What `status` shows by class: what a class takes is known for each byte in it.
#[test]
fn totals_tell_inline_copies_and_coded_chunks_apart() {
    let mut group = Group::datasource();
    let code = |data, parity| Some(Code { data, parity });
    group.put("/inline", b"12345").unwrap();
    group.put_chunks("/copies", &[StoredChunk { code: code(1, 2), ..stored(1, 1_000, 1, 900) }]).unwrap();
    let large = [StoredChunk { code: code(4, 2), ..stored(2, 900_000, 2, 900) }, StoredChunk { code: code(1, 2), ..stored(3, 10, 3, 900) }];
    group.put_chunks("/large", &large).unwrap();
    let seen = totals(&group);
    assert_eq!((seen.inline_bytes, seen.inline_plain_bytes), (5, 5));
    assert_eq!((seen.chunk_bytes, seen.coded_bytes), (901_010, 900_000));
    assert_eq!((seen.stored_bytes, seen.coded_stored_bytes), (5 + 3 * 1_010 + 1_350_000, 1_350_000));
    group.check();
    let smaller = StoredChunk { code: code(1, 1), ..stored(2, 900_000, 9, 900) };
    let replaces = Some(WriteId { node: 1, boot: 1, counter: 2 });
    group.content(What::Reencoded(Reencoded { chunk: vec![2; 32].into(), replaces, instance: Some(smaller) })).unwrap();
    let seen = totals(&group);
    assert_eq!((seen.coded_bytes, seen.coded_stored_bytes, seen.stored_bytes), (0, 0, 5 + 3 * 1_010 + 1_800_000), "copies now");
    group.check();
}

#[test]
fn a_reencoding_swaps_instances_and_the_old_one_is_to_be_deleted() {
    let mut group = Group::datasource();
    group.put_chunks("/a", &[StoredChunk { below_profile: true, ..stored(1, 900_000, 1, 900) }]).unwrap();
    let wide = StoredChunk { code: Some(Code { data: 2, parity: 1 }), ..stored(1, 900_000, 5, 900) };
    let swap = |replaces, instance: &StoredChunk| {
        let replaces = Some(WriteId { node: 1, boot: 1, counter: replaces });
        What::Reencoded(Reencoded { chunk: vec![1; 32].into(), replaces, instance: Some(instance.clone()) })
    };
    assert_eq!(code(group.content(swap(2, &wide))), RejectionCode::InstanceGone);
    let partial = StoredChunk { code: Some(Code { data: 4, parity: 2 }), missing: 1, ..wide.clone() };
    assert_eq!(code(group.content(swap(1, &partial))), RejectionCode::Invalid, "all shards must be durable");
    group.content(swap(1, &wide)).unwrap();
    assert_eq!(deletes(&group), [(1, 1)]);
    assert_eq!(record(&group, 1).unwrap().write.unwrap().counter, 5);
    assert!(repairs(&group).is_empty());
    group.content(swap(1, &wide)).unwrap();
    assert_eq!(deletes(&group), [(1, 1)], "the same again is done already");
    assert_eq!(totals(&group).stored_bytes, 1_350_000);
    group.check();
}
