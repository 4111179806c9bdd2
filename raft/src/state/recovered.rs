//! What a state is changed into before a group goes on from it after a lost quorum. Pure.
//!
//! Entries that only lost replicas had may have given out ids, and indexes, that this state knows nothing of. Invariant: **what was given out by an entry
//! that is lost is never given out again**: every counter of ids, and the log itself, go on so far ahead that no lost entry can have come there.

use skep_placement::ids::{Generation, GroupId, NodeId, RaftId};

use crate::keys::{AppliedIndexKey, ClusterKey, Counter, CounterKey, GroupKey, StateKey};
use crate::state::{GroupKind, read};
use crate::store::{Changes, ReadState, StateError};
use crate::wire::meta::v1::{GroupMember, GroupRecord, GroupRecovery, MemberRole};
use bytes::Bytes;
use prost::Message;

/// More entries, sessions, contents than a group makes while a replica lags behind: at a thousand a second, thirty years.
pub(crate) const LOST_ENTRIES_MAX: u64 = 1_000_000_000_000;

/// More placements than are given out meanwhile.
pub(crate) const LOST_PLACEMENTS_MAX: u64 = 1_000_000;

/// More nodes, devices, datasources and pools than are made meanwhile.
const LOST_RECORDS_MAX: u64 = 1_000;

/// How a group goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GoingOn {
    /// The replica it goes on from.
    pub(crate) from: RaftId,
    /// The placement that goes on.
    pub(crate) to: RaftId,
    /// Where both are.
    pub(crate) node: NodeId,
    /// The index that the state counts as from now on.
    pub(crate) index: u64,
    /// The generation, which only the system group's state holds.
    pub(crate) generation: Generation,
}

/// What is changed in the state of either kind.
pub(crate) fn changes(state: &dyn ReadState, kind: GroupKind, going: GoingOn) -> Result<Changes, StateError> {
    let mut changes = Changes::new();
    for which in [Counter::Content, Counter::Session, Counter::Fence] {
        let key = CounterKey { which };
        if let Some(last) = read::get(state, &key)? {
            put(&mut changes, &key, &last.saturating_add(LOST_ENTRIES_MAX));
        }
    }
    put(&mut changes, &AppliedIndexKey {}, &going.index);
    if kind == GroupKind::System {
        let mut cluster = read::expect(state, &ClusterKey {})?;
        for counter in [&mut cluster.next_node, &mut cluster.next_device, &mut cluster.next_datasource, &mut cluster.next_pool] {
            *counter = counter.saturating_add(LOST_RECORDS_MAX);
        }
        cluster.next_raft_id = cluster.next_raft_id.saturating_add(LOST_PLACEMENTS_MAX).max(going.to.0.saturating_add(1));
        put(&mut changes, &ClusterKey {}, &cluster);
        let key = GroupKey { group: GroupId::SYSTEM };
        let member = GroupMember { raft_id: going.to.0, node: going.node.0, role: MemberRole::Voter.into() };
        let record = GroupRecord {
            generation: going.generation.0,
            members: vec![member],
            recovery: Some(GroupRecovery { from: going.from.0, to: going.to.0 }),
            ..read::expect(state, &key)?
        };
        put(&mut changes, &key, &record);
    }
    Ok(changes)
}

fn put<K: StateKey>(changes: &mut Changes, key: &K, record: &K::Record) {
    changes.put(K::FAMILY, key.to_bytes(), Bytes::from(record.encode_to_vec()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, StateStore};
    use crate::wire::meta::v1::ClusterRecord;
    use skep_placement::ids::DatasourceId;

    const GOING: GoingOn =
        GoingOn { from: RaftId(3), to: RaftId(77), node: NodeId(4), index: LOST_ENTRIES_MAX + 9, generation: Generation(55) };

    #[test]
    fn a_datasource_goes_on_with_ids_that_were_never_given() {
        let store = MemoryStore::new();
        let mut given = Changes::new();
        put(&mut given, &CounterKey { which: Counter::Content }, &5);
        put(&mut given, &CounterKey { which: Counter::Administrators }, &1);
        put(&mut given, &CounterKey { which: Counter::Fence }, &7);
        store.commit(given).expect("memory does not fail");
        let kind = GroupKind::Datasource(DatasourceId(1));
        store.commit(changes(store.snapshot().as_ref(), kind, GOING).expect("it can be read")).expect("memory does not fail");
        let count = |which| read::get(store.snapshot().as_ref(), &CounterKey { which }).expect("it can be read");
        assert_eq!(count(Counter::Content), Some(LOST_ENTRIES_MAX + 5), "contents go on far ahead");
        assert_eq!(count(Counter::Fence), Some(LOST_ENTRIES_MAX + 7), "no fence of a lost lock is given to another");
        assert_eq!(count(Counter::Session), None, "what was never counted begins at the beginning");
        assert_eq!(count(Counter::Administrators), Some(1), "what is no id stays");
        let index = read::get(store.snapshot().as_ref(), &AppliedIndexKey {}).expect("it can be read");
        assert_eq!(index, Some(GOING.index), "what was decided at a lost index is older");
    }

    #[test]
    fn the_system_group_knows_its_only_member() {
        let store = MemoryStore::new();
        let mut given = Changes::new();
        let cluster = ClusterRecord { next_node: 4, next_raft_id: 9, ..ClusterRecord::default() };
        put(&mut given, &ClusterKey {}, &cluster);
        let key = GroupKey { group: GroupId::SYSTEM };
        put(&mut given, &key, &GroupRecord { generation: 1, bootstrap: 1, ..GroupRecord::default() });
        store.commit(given).expect("memory does not fail");
        let changed = changes(store.snapshot().as_ref(), GroupKind::System, GOING).expect("it can be read");
        store.commit(changed).expect("memory does not fail");
        let state = store.snapshot();
        let cluster = read::expect(state.as_ref(), &ClusterKey {}).expect("it is there");
        assert_eq!(cluster.next_node, 4 + LOST_RECORDS_MAX, "nodes that joined by a lost entry keep their ids");
        assert!(cluster.next_raft_id > GOING.to.0.max(LOST_PLACEMENTS_MAX), "Raft ids too");
        let record = read::expect(state.as_ref(), &key).expect("it is there");
        assert_eq!((record.generation, record.bootstrap, record.members.len()), (55, 1, 1), "one member of a new generation");
        assert_eq!(record.recovery, Some(GroupRecovery { from: 3, to: 77 }), "until it has grown");
    }
}
