//! Commands by chance: whatever comes, nothing panics and every invariant holds.

use super::group::{Group, content, id, path, put_of, stored, tree};
use super::system;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use skep_raft::invariants;
use skep_raft::state::{GroupKind, Position, apply_batch};
use skep_raft::store::{Changes, MemoryStore, StateStore};
use skep_raft::wire::meta::v1::{
    AbortUpload, AdvanceHorizon, AppendUpload, Batch, ChunkList, ClusterCommand, Code, Command, ContentCommand, ExpireUploads, OpenUpload,
    Proposal, PutFile, QueueRepairs, Reencoded, ReportDamage, SetMeta, ShardRepaired, StoredChunk, TreeCommand, WriteId, cluster_command,
    command, content_command, new_content, tree_command,
};

/// Few chunks, few writings: so that commands meet.
fn instance() -> impl Strategy<Value = StoredChunk> {
    (1..5_u8, 1..6_u64, 900..1_100_u64, 0..4_u8, any::<bool>(), 0..12_u64).prop_map(
        |(chunk, counter, begun, missing, below_profile, pin)| StoredChunk {
            code: Some(Code { data: 2, parity: 2 }),
            missing: if missing == 0 { 1 << (chunk % 4) } else { 0 },
            devices: if missing == 1 { vec![1, 2, 3, 4] } else { Vec::new() },
            below_profile,
            pin: u64::from(pin == 0),
            ..stored(chunk, u32::from(chunk) * 100_000, counter, begun)
        },
    )
}

fn instances() -> impl Strategy<Value = Vec<StoredChunk>> {
    proptest::collection::vec(instance(), 1..5)
}

fn write(counter: u64) -> Option<WriteId> {
    Some(WriteId { node: 1, boot: 1, counter })
}

fn size(chunks: &[StoredChunk]) -> u64 {
    chunks.iter().map(|stored| u64::from(stored.length)).sum()
}

fn put(name: u64, size: u64, from: new_content::From) -> command::What {
    tree(tree_command::What::PutFile(put_of(&format!("/f{name}"), Bytes::new(), Bytes::new(), size, from)))
}

/// A command on contents. Uploads are contents 1 to 8.
fn step() -> impl Strategy<Value = command::What> {
    use content_command::What;
    let chunk = || (1..5_u8, 0..6_u64, 0..16_u32, 0..16_u32);
    prop_oneof![
        4 => (0..4_u64, instances()).prop_map(|(name, chunks)| put(name, size(&chunks), new_content::From::Chunks(ChunkList { chunks }))),
        2 => (1..40_u64).prop_map(|lease_seconds| content(What::OpenUpload(OpenUpload { begun: 1, lease_seconds, job: Bytes::new() }))),
        4 => (1..9_u64, 0..3_u64, instances())
            .prop_map(|(upload, part, chunks)| content(What::AppendUpload(AppendUpload { upload, part, chunks, lease_seconds: 9 }))),
        2 => (0..4_u64, 1..9_u64, instances()).prop_map(|(name, upload, chunks)| put(name, size(&chunks), new_content::From::Upload(upload))),
        1 => (1..9_u64).prop_map(|upload| content(What::AbortUpload(AbortUpload { upload }))),
        1 => Just(content(What::ExpireUploads(ExpireUploads { limit: 2 }))),
        1 => (900..1_100_u64).prop_map(|collection| content(What::AdvanceHorizon(AdvanceHorizon { collection }))),
        2 => chunk().prop_map(|(chunk, counter, missing_was, missing)| {
            let chunk = vec![chunk; 32].into();
            content(What::ShardRepaired(ShardRepaired { chunk, write: write(counter), missing_was, missing, devices: Vec::new(), epoch: 1 }))
        }),
        1 => chunk().prop_map(|(chunk, counter, missing, _)| {
            content(What::ReportDamage(ReportDamage { chunk: vec![chunk; 32].into(), write: write(counter), missing }))
        }),
        2 => (1..6_u64, instance()).prop_map(|(replaces, instance)| {
            let instance = StoredChunk { missing: 0, pin: 0, ..instance };
            content(What::Reencoded(Reencoded { chunk: instance.chunk.clone(), replaces: write(replaces), instance: Some(instance) }))
        }),
        1 => (0..4_u64, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(|(name, value, searchable, own)| {
            let json = if value == 0 { String::new() } else { value.to_string() };
            let user = if own { id(7) } else { Bytes::new() };
            let namespace = "usermeta-tags".to_owned();
            tree(tree_command::What::SetMeta(SetMeta { path: path(&format!("/f{name}")), namespace, json, user, searchable }))
        }),
        1 => (1..3_u32).prop_map(|data| {
            let profile = Some(Code { data: 2 * data, parity: 2 });
            content(What::QueueRepairs(QueueRepairs { after: Bytes::new(), limit: 3, profile, epoch_floor: 0 }))
        }),
    ]
}

/// The command with ids of its own where it needs some.
fn numbered(what: command::What, number: u64) -> command::What {
    match what {
        command::What::Tree(TreeCommand { what: Some(tree_command::What::PutFile(put)) }) => {
            tree(tree_command::What::PutFile(PutFile { entry: id(number * 2), version: id(number * 2 + 1), ..put }))
        }
        // A write id is drawn once: no re-encoding comes under one that was in force before.
        command::What::Content(ContentCommand {
            what: Some(content_command::What::Reencoded(Reencoded { chunk, replaces, instance: Some(instance) })),
        }) => {
            let instance = Some(StoredChunk { write: write(100 + number), ..instance });
            content(content_command::What::Reencoded(Reencoded { chunk, replaces, instance }))
        }
        other => other,
    }
}

fn alone(what: command::What) -> Proposal {
    Proposal { command: Some(Command { what: Some(what), ..Command::default() }), ..Proposal::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn contents_keep_their_invariants(steps in proptest::collection::vec((step(), 0..5_u64), 1..60)) {
        let mut group = Group::datasource();
        for (number, (step, seconds)) in (1_u64..).zip(steps) {
            group.clock += seconds * 1_000_000;
            let outcome = group.propose(numbered(step, number));
            let found = invariants::violations(&*group.store.snapshot()).unwrap();
            prop_assert!(found.is_empty(), "{:?} {:?}", outcome, found);
        }
    }

    #[test]
    fn damaged_commands_never_panic(steps in proptest::collection::vec(step(), 1..20), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..20)) {
        let mut group = Group::datasource();
        let proposals: Vec<Proposal> = (1_u64..).zip(steps).map(|(number, step)| alone(numbered(step, number))).collect();
        group.batch(proposals.clone());
        damaged(&group, &Batch { clock: 2_000_000, proposals }, &flips)?;
    }

    #[test]
    fn damaged_commands_of_the_system_never_panic(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let made = command::What::Cluster(ClusterCommand { what: Some(cluster_command::What::Init(system::init())) });
        damaged(&Group::system(), &Batch { clock: 2_000_000, proposals: vec![alone(made)] }, &flips)?;
    }
}

/// Applies a batch with some bytes changed, as far as it still is one.
fn damaged(group: &Group, batch: &Batch, flips: &[(usize, u8)]) -> Result<(), TestCaseError> {
    let good = batch.encode_to_vec();
    for flip in flips.iter().map(Some).chain([None]) {
        let mut bytes = good.clone();
        let chosen = flip.map_or(flips, std::slice::from_ref);
        for (place, value) in chosen {
            let place = place % bytes.len();
            bytes[place] ^= value;
        }
        let Ok(batch) = Batch::decode(bytes.as_slice()) else { continue };
        let snapshot = group.store.snapshot();
        let (changes, outcomes) = apply_batch(&*snapshot, group.kind, Position { index: 1_000, term: 1 }, &batch).unwrap();
        prop_assert_eq!(outcomes.outcomes.len(), batch.proposals.len());
        if group.kind != GroupKind::System {
            let store = MemoryStore::new();
            let mut before = Changes::new();
            group.rows().into_iter().for_each(|(family, key, value)| before.put(family, key.into(), value.into()));
            store.commit(before).unwrap();
            store.commit(changes).unwrap();
            let found = invariants::violations(&*store.snapshot()).unwrap();
            prop_assert!(found.is_empty(), "{:?}", found);
        }
    }
    Ok(())
}

#[test]
fn paths_of_every_kind_of_nonsense_are_answered() {
    let mut group = Group::datasource();
    for text in ["/a\0b", "/..", "/."] {
        assert!(group.mkdir(text).is_err());
        let asked = skep_raft::wire::meta::v1::StatQuery { path: path(text), with_meta: true, ..Default::default() };
        group.query(skep_raft::wire::meta::v1::query::What::Stat(asked));
    }
}
