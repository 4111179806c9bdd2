//! What keys look like on disk, frozen; and that each reads back and sorts as its parts.

use proptest::prelude::*;
use skep_placement::ids::{
    BootNumber, ChunkId, ContentId, DatasourceId, DeviceId, EntryId, GroupId, InstanceId, NodeId, PoolId, RecordId, Stamp, VersionId,
    WriteId,
};

use super::*;

fn hex<K: StateKey>(key: &K) -> String {
    key.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

const ENTRY: EntryId = EntryId([0xab; 16]);
const RECORD: RecordId = RecordId([0xcd; 16]);
const CHUNK: ChunkId = ChunkId([0xef; 32]);
const INSTANCE: InstanceId = InstanceId { chunk: CHUNK, write: WriteId { node: NodeId(1), boot: BootNumber(2), counter: 3 } };

#[test]
fn keys_of_groups_are_frozen() {
    let (ab, ef) = ("ab".repeat(16), "ef".repeat(32));
    let name = || NameRest("né".to_owned());
    let vectors = [
        (hex(&AppliedIndexKey {}), "02".to_owned()),
        (hex(&StampKey {}), "03".to_owned()),
        (hex(&TotalsKey {}), "04".to_owned()),
        (hex(&HorizonKey {}), "05".to_owned()),
        (hex(&CounterKey { which: Counter::Session }), "0602".to_owned()),
        (hex(&RightsIndexKey {}), "07".to_owned()),
        (hex(&SessionKey { session: 258 }), "080000000000000102".to_owned()),
        (hex(&AnswerKey { session: 1, number: 2 }), "0900000000000000010000000000000002".to_owned()),
        (hex(&FormatKey {}), "0a".to_owned()),
        (hex(&CurrentKey::new(ENTRY, "né")), format!("10{ab}6ec3a9")),
        (hex(&HistoryKey { parent: ENTRY, name: NameThen("n".to_owned()), until: Descending(1) }), format!("11{ab}6e00fffffffffffffffe")),
        (hex(&GoneKey::new(ENTRY, "n")), format!("12{ab}6e")),
        (hex(&ByIdKey { entry: ENTRY }), format!("13{ab}")),
        (hex(&SumsKey { folder: ENTRY }), format!("14{ab}")),
        (hex(&EntryMetaKey { entry: ENTRY, namespace: name() }), format!("15{ab}6ec3a9")),
        (hex(&VersionKey { entry: ENTRY, number: Descending(2) }), format!("20{ab}fffffffffffffffd")),
        (hex(&VersionByIdKey { entry: ENTRY, version: VersionId([1; 16]) }), format!("21{ab}{}", "01".repeat(16))),
        (hex(&ContentKey { content: ContentId(7) }), "220000000000000007".to_owned()),
        (hex(&ManifestKey { content: ContentId(7), part: 1 }), "2300000000000000070000000000000001".to_owned()),
        (hex(&ChunkKey { chunk: CHUNK }), format!("24{ef}")),
        (hex(&RepairKey { chunk: CHUNK }), format!("25{ef}")),
        (
            hex(&DeleteKey { since: Stamp(9), instance: INSTANCE }),
            format!("260000000000000009{ef}000000000000000100000000000000020000000000000003"),
        ),
        (hex(&CondemnedKey { since: Stamp(9), chunk: CHUNK }), format!("270000000000000009{ef}")),
        (hex(&UploadExpiryKey { expires_at: Stamp(9), content: ContentId(7) }), "2800000000000000090000000000000007".to_owned()),
        (hex(&PruneDueKey { due: Stamp(9), entry: ENTRY }), format!("290000000000000009{ab}")),
        (hex(&IdempotentKey { key: [1; 32], step: [2; 32] }), format!("0b{}{}", "01".repeat(32), "02".repeat(32))),
        (hex(&IdempotentExpiryKey { since: Stamp(9), key: [1; 32] }), format!("0c0000000000000009{}", "01".repeat(32))),
        (hex(&HistoryHorizonKey {}), "0d".to_owned()),
        (hex(&LimitsKey {}), "0e".to_owned()),
        (hex(&AuditKey { index: 7, sub: 2 }), "0f000000000000000700000002".to_owned()),
        (hex(&ChangeKey { index: 7, sub: 2 }), "16000000000000000700000002".to_owned()),
        (hex(&LockKey { entry: ENTRY, token: [1; 16] }), format!("17{ab}{}", "01".repeat(16))),
        (hex(&LockExpiryKey { expires_at: Stamp(9), entry: ENTRY, token: [1; 16] }), format!("180000000000000009{ab}{}", "01".repeat(16))),
        (
            hex(&LockBelowKey { folder: EntryId([0xcd; 16]), entry: ENTRY, token: [1; 16] }),
            format!("1e{}{ab}{}", "cd".repeat(16), "01".repeat(16)),
        ),
        (hex(&CounterKey { which: Counter::Fence }), "0604".to_owned()),
        (hex(&ReapKey { since: Stamp(9), entry: ENTRY }), format!("190000000000000009{ab}")),
        (hex(&MetaValueKey { namespace: NameThen("n".to_owned()), hash: [3; 16], entry: ENTRY }), format!("1a6e00{}{ab}", "03".repeat(16))),
        (hex(&UserNoteKey { user: RECORD, namespace: NameThen("n".to_owned()), entry: ENTRY }), format!("1b{}6e00{ab}", "cd".repeat(16))),
        (hex(&FeedBeginKey {}), "1c".to_owned()),
        (hex(&RecycledKey { since: Stamp(9), entry: ENTRY }), format!("1d0000000000000009{ab}")),
        (hex(&NoteIndexKey { namespace: name() }), "2a6ec3a9".to_owned()),
        (hex(&NoteUserKey { entry: ENTRY, user: RECORD, namespace: name() }), format!("1f{ab}{}6ec3a9", "cd".repeat(16))),
    ];
    for (found, frozen) in vectors {
        assert_eq!(found, frozen);
    }
    assert_eq!(applied().as_ref(), [1]);
    assert_eq!(inline(ContentId(7)).as_ref(), [0x30, 0, 0, 0, 0, 0, 0, 0, 7]);
}

#[test]
fn keys_of_the_system_are_frozen() {
    let (cd, eight) = ("cd".repeat(16), |number: u64| format!("{number:016x}"));
    let name = || NameRest("n".to_owned());
    let vectors = [
        (hex(&ClusterKey {}), "40".to_owned()),
        (hex(&NodeKey { node: NodeId(1) }), format!("41{}", eight(1))),
        (hex(&DeviceKey { device: DeviceId(1) }), format!("42{}", eight(1))),
        (hex(&DeviceNonceKey { nonce: [1; 16] }), format!("43{}", "01".repeat(16))),
        (hex(&GroupKey { group: GroupId(1) }), format!("44{}", eight(1))),
        (hex(&PoolKey { pool: PoolId(1) }), format!("45{}", eight(1))),
        (hex(&PgKey { pool: PoolId(1), index: 1023 }), format!("46{}000003ff", eight(1))),
        (hex(&DatasourceKey { datasource: DatasourceId(1) }), format!("47{}", eight(1))),
        (hex(&DatasourceByNameKey { name: name() }), "486e".to_owned()),
        (hex(&UserKey { user: RECORD }), format!("49{cd}")),
        (hex(&UserByLoginKey { login: name() }), "4a6e".to_owned()),
        (hex(&GrantKey { user: RECORD, workspace: RECORD }), format!("4b{cd}{cd}")),
        (hex(&GrantByWorkspaceKey { workspace: RECORD, user: RECORD }), format!("4c{cd}{cd}")),
        (hex(&TokenKey { hash: [2; 32] }), format!("4d{}", "02".repeat(32))),
        (hex(&TokenByIdKey { token: RECORD }), format!("4e{cd}")),
        (hex(&TokenByUserKey { user: RECORD, token: RECORD }), format!("4f{cd}{cd}")),
        (hex(&TokenExpiryKey { expires_at: Stamp(5), hash: [2; 32] }), format!("50{}{}", eight(5), "02".repeat(32))),
        (hex(&JoinTokenKey { hash: [2; 32] }), format!("51{}", "02".repeat(32))),
        (hex(&WorkspaceKey { workspace: RECORD }), format!("52{cd}")),
        (hex(&WorkspaceBySlugKey { slug: name() }), "536e".to_owned()),
        (hex(&JobKey { job: RECORD }), format!("54{cd}")),
        (hex(&JobByStateKey { state: 2, since: Stamp(5), job: RECORD }), format!("5502{}{cd}", eight(5))),
        (hex(&PolicyKey { policy: RECORD }), format!("56{cd}")),
        (hex(&NamespaceKey { name: name() }), "576e".to_owned()),
    ];
    for (found, frozen) in vectors {
        assert_eq!(found, frozen);
    }
}

#[test]
fn strange_bytes_are_refused() {
    assert!(CurrentKey::from_bytes(&[]).is_err());
    assert!(CurrentKey::from_bytes(&GoneKey::new(ENTRY, "n").to_bytes()).is_err(), "another kind");
    assert!(ByIdKey::from_bytes(&[0x13; 16]).is_err(), "too short");
    assert!(ByIdKey::from_bytes(&[0x13; 18]).is_err(), "too long");
    assert!(CounterKey::from_bytes(&[6, 99]).is_err(), "an unknown counter");
    assert_eq!(after_prefix(&[1, 255, 255]).as_ref(), [2]);
}

/// Two keys of a kind read back and sort as their parts do.
fn holds<K: StateKey + Ord + Clone + std::fmt::Debug>(a: &K, b: &K) {
    assert_eq!(K::from_bytes(&a.to_bytes()).as_ref(), Ok(a));
    assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(b), "{a:?} {b:?}");
}

fn name() -> impl Strategy<Value = String> {
    "[\u{1}-~é語]{0,6}"
}

/// Few different parents, so that names decide.
fn id() -> impl Strategy<Value = [u8; 16]> {
    prop_oneof![Just([0; 16]), Just([7; 16]), any::<[u8; 16]>()]
}

proptest! {
    #[test]
    fn keys_with_names_read_back_and_sort(a in (id(), name(), any::<u64>()), b in (id(), name(), any::<u64>())) {
        let keys = [a, b].map(|(parent, name, stamp)| (EntryId(parent), name, stamp));
        let [current, other] = keys.clone().map(|(parent, name, _)| CurrentKey::new(parent, &name));
        holds(&current, &other);
        let [gone, other] = keys.clone().map(|(parent, name, _)| GoneKey::new(parent, &name));
        holds(&gone, &other);
        let [note, other] = keys.clone().map(|(entry, name, _)| EntryMetaKey { entry, namespace: NameRest(name) });
        holds(&note, &other);
        let [history, other] = keys.map(|(parent, name, stamp)| HistoryKey { parent, name: NameThen(name), until: Descending(stamp) });
        holds(&history, &other);
    }

    #[test]
    fn keys_with_numbers_read_back_and_sort(a in (id(), any::<u64>(), any::<u32>()), b in (id(), any::<u64>(), any::<u32>())) {
        let keys = [a, b];
        let [version, other] = keys.map(|(entry, number, _)| VersionKey { entry: EntryId(entry), number: Descending(number) });
        holds(&version, &other);
        let [manifest, other] = keys.map(|(_, part, content)| ManifestKey { content: ContentId(u64::from(content)), part });
        holds(&manifest, &other);
        let [pg, other] = keys.map(|(_, pool, index)| PgKey { pool: PoolId(pool), index });
        holds(&pg, &other);
        let [answer, other] = keys.map(|(_, number, session)| AnswerKey { session: u64::from(session), number });
        holds(&answer, &other);
        let [delete, other] = keys.map(|(id, since, counter)| {
            let mut chunk = [0; 32];
            chunk[..16].copy_from_slice(&id);
            let write = WriteId { node: NodeId(1), boot: BootNumber(since), counter: u64::from(counter) };
            DeleteKey { since: Stamp(since), instance: InstanceId { chunk: ChunkId(chunk), write } }
        });
        holds(&delete, &other);
        let [job, other] = keys.map(|(job, since, state)| JobByStateKey { state: state.to_be_bytes()[0], since: Stamp(since), job: RecordId(job) });
        holds(&job, &other);
        let [grant, other] = keys.map(|(user, workspace, _)| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&workspace.to_be_bytes());
            GrantKey { user: RecordId(user), workspace: RecordId(id) }
        });
        holds(&grant, &other);
    }
}
