//! The system group: the cluster's first command, nodes, devices, members, placement, datasources.

use super::group::{Group, code};
use skep_placement::ids::{DatasourceId, DeviceId, GroupId, NodeId, PgId, PoolId};
use skep_raft::wire::meta::v1::cluster_command::What;
use skep_raft::wire::meta::v1::{
    AddDevice, AddNode, ChangeDatasource, ClusterCommand, ClusterRecord, CreateDatasource, DeviceRecord, DeviceState, DomainKind, Done,
    DropMember, FinishRecovery, GroupRecovery, InitCluster, MemberRole, NodeRecord, Permission, PgChange, PlaceMember, Profile,
    PutJoinToken, RecoverGroup, RegisterBoot, Rejection, RejectionCode, ResizePool, SetDeviceState, SetMemberRole, SetPlacement,
    UseJoinToken, UserRecord, command,
};

pub(crate) fn cluster(group: &mut Group, what: What) -> Result<Done, Rejection> {
    group.run(command::What::Cluster(ClusterCommand { what: Some(what) }))
}

pub(crate) fn automatic() -> Option<Profile> {
    Some(Profile { automatic: true, ..Profile::default() })
}

pub(crate) fn init() -> InitCluster {
    let device = DeviceRecord { weight: 100, label: "/data".to_owned(), ..DeviceRecord::default() };
    InitCluster {
        cluster: Some(ClusterRecord { cluster: vec![9; 16].into(), ..ClusterRecord::default() }),
        node: Some(NodeRecord { name: "one".to_owned(), rpc_address: "127.0.0.1:1".to_owned(), boot: 1, ..NodeRecord::default() }),
        devices: vec![device.clone(), device],
        admin: Some(UserRecord { id: vec![1; 16].into(), login: "admin".to_owned(), ..UserRecord::default() }),
        default_profile: automatic(),
        chunk_key_sealed: vec![1; 40].into(),
        chunk_key_sealed_personal: vec![2; 40].into(),
        common_workspace: vec![3; 16].into(),
        personal_workspace: vec![4; 16].into(),
        device_nonces: vec![vec![1; 16].into(), vec![2; 16].into()],
    }
}

pub(crate) fn made() -> Group {
    let mut group = Group::system();
    cluster(&mut group, What::Init(init())).unwrap();
    group
}

fn join(group: &mut Group, token: u8) -> Result<u64, Rejection> {
    let node = NodeRecord { name: "more".to_owned(), rpc_address: "127.0.0.1:2".to_owned(), ..NodeRecord::default() };
    cluster(group, What::AddNode(AddNode { node: Some(node), join_token_hash: vec![token; 32].into() })).map(|done| done.number)
}

fn add_node(group: &mut Group, token: u8) -> u64 {
    let put = PutJoinToken { hash: vec![token; 32].into(), lifetime_seconds: 60 };
    cluster(group, What::PutJoinToken(put)).unwrap();
    join(group, token).unwrap()
}

fn add_device(group: &mut Group, node: u64, nonce: u8) -> Result<u64, Rejection> {
    let device = DeviceRecord { node, weight: 10, ..DeviceRecord::default() };
    cluster(group, What::AddDevice(AddDevice { device: Some(device), nonce: vec![nonce; 16].into() })).map(|done| done.number)
}

#[test]
fn the_first_command_makes_the_cluster_once() {
    let mut group = Group::system();
    let bare = InitCluster { devices: Vec::new(), device_nonces: Vec::new(), ..init() };
    assert_eq!(code(cluster(&mut group, What::Init(bare))), RejectionCode::Invalid);
    let done = cluster(&mut group, What::Init(init())).unwrap();
    assert_eq!((done.number, done.numbers), (1, vec![1, 2]));
    assert_eq!(code(cluster(&mut group, What::Init(init()))), RejectionCode::AlreadyExists);
    let view = group.view();
    let record = view.cluster().unwrap().unwrap();
    assert_eq!((record.next_node, record.next_device, record.next_datasource, record.next_raft_id, record.next_pool), (2, 3, 3, 4, 2));
    let groups: Vec<(u64, u64, u64)> =
        view.groups().unwrap().iter().map(|group| (group.id, group.bootstrap, group.members[0].node)).collect();
    assert_eq!(groups, [(0, 1, 1), (1, 2, 1), (2, 3, 1)]);
    assert_eq!(view.datasource_by_name("pydiods1").unwrap().unwrap().id, 1);
    assert_eq!(view.datasource_by_name("personal").unwrap().unwrap().id, 2);
    assert_eq!(view.pgs(PoolId(1)).unwrap().len(), 1_024);
    assert!(view.pgs(PoolId(1)).unwrap().iter().all(|pg| pg.epoch == 1 && pg.acting.len() == 1 && pg.past.is_empty()));
    let profile = view.pool(PoolId(1)).unwrap().unwrap().profile.unwrap();
    assert_eq!((profile.code.unwrap().data, profile.domain), (1, i32::from(DomainKind::Device)));
    let common = view.workspace_by_slug("common-files").unwrap().unwrap();
    assert_eq!((common.default_permission, common.roots[0].folder_per_user), (i32::from(Permission::ReadWrite), false));
    assert!(view.workspace_by_slug("personal-files").unwrap().unwrap().roots[0].folder_per_user);
    assert!(view.user_by_login("admin").unwrap().unwrap().admin);
    assert_eq!(view.index().unwrap(), 2 + 1, "of the last entry with commands");
}

#[test]
fn a_join_token_lets_one_node_join_once() {
    let mut group = made();
    assert_eq!(code(join(&mut group, 5)), RejectionCode::NotFound);
    assert_eq!(add_node(&mut group, 5), 2);
    assert_eq!(code(join(&mut group, 5)), RejectionCode::TokenUsed);
    let put = |hash: u8| What::PutJoinToken(PutJoinToken { hash: vec![hash; 32].into(), lifetime_seconds: 60 });
    cluster(&mut group, put(6)).unwrap();
    group.clock += 61_000_000;
    assert_eq!(code(join(&mut group, 6)), RejectionCode::TokenExpired);
    cluster(&mut group, put(7)).unwrap();
    cluster(&mut group, What::UseJoinToken(UseJoinToken { hash: vec![7; 32].into() })).unwrap();
    assert_eq!(code(join(&mut group, 7)), RejectionCode::TokenUsed);
    assert_eq!(add_node(&mut group, 8), 3, "a refused join gives out no id");
}

#[test]
fn older_boots_are_refused() {
    let mut group = made();
    let boot =
        |boot| What::RegisterBoot(RegisterBoot { node: 1, boot, rpc_address: format!("127.0.0.1:{boot}"), ..RegisterBoot::default() });
    cluster(&mut group, boot(5)).unwrap();
    cluster(&mut group, boot(5)).unwrap();
    assert_eq!(code(cluster(&mut group, boot(4))), RejectionCode::Stale);
    let node = group.view().node(NodeId(1)).unwrap().unwrap();
    assert_eq!((node.boot, node.rpc_address.as_str()), (5, "127.0.0.1:5"));
    let unknown = What::RegisterBoot(RegisterBoot { node: 9, boot: 1, ..RegisterBoot::default() });
    assert_eq!(code(cluster(&mut group, unknown)), RejectionCode::NotFound);
}

#[test]
fn a_device_folder_keeps_its_id_and_a_lost_one_never_returns() {
    let mut group = made();
    assert_eq!(add_device(&mut group, 1, 2), Ok(2), "known from the first command");
    assert_eq!(add_device(&mut group, 1, 9), Ok(3));
    assert_eq!(add_device(&mut group, 1, 9), Ok(3));
    let other = add_node(&mut group, 5);
    assert_eq!(code(add_device(&mut group, other, 9)), RejectionCode::Forbidden);
    let set = |device, state: DeviceState| What::SetDeviceState(SetDeviceState { device, state: state.into() });
    cluster(&mut group, set(3, DeviceState::Draining)).unwrap();
    cluster(&mut group, set(3, DeviceState::Active)).unwrap();
    cluster(&mut group, set(3, DeviceState::Lost)).unwrap();
    assert_eq!(code(cluster(&mut group, set(3, DeviceState::Active))), RejectionCode::Stale);
    assert_eq!(group.view().device(DeviceId(3)).unwrap().unwrap().state, i32::from(DeviceState::Lost));
}

#[test]
fn raft_ids_are_never_used_again() {
    let mut group = made();
    let node = add_node(&mut group, 5);
    let place = |group: &mut Group| {
        let place = PlaceMember { group: 1, node, role: MemberRole::Learner.into() };
        cluster(group, What::PlaceMember(place)).map(|done| done.number)
    };
    let role = |raft_id, role: MemberRole| What::SetMemberRole(SetMemberRole { group: 1, raft_id, role: role.into() });
    let drop_member = |raft_id| What::DropMember(DropMember { group: 1, raft_id });
    assert_eq!(place(&mut group), Ok(4));
    assert_eq!(place(&mut group), Ok(4), "asked again it is the same place");
    cluster(&mut group, role(4, MemberRole::Voter)).unwrap();
    assert_eq!(code(cluster(&mut group, drop_member(4))), RejectionCode::Invalid);
    cluster(&mut group, role(4, MemberRole::Leaving)).unwrap();
    assert_eq!(code(cluster(&mut group, role(4, MemberRole::Voter))), RejectionCode::Stale);
    assert_eq!(code(place(&mut group)), RejectionCode::Stale, "the old placement must be gone first");
    cluster(&mut group, drop_member(4)).unwrap();
    cluster(&mut group, drop_member(4)).unwrap();
    assert_eq!(place(&mut group), Ok(5));
    assert_eq!(code(cluster(&mut group, role(2, MemberRole::Leaving))), RejectionCode::Invalid, "the last voter stays");
    assert_eq!(group.view().group(GroupId(1)).unwrap().unwrap().members.len(), 2);
}

#[test]
fn placement_compares_epochs_and_remembers_old_sets() {
    let mut group = made();
    let set = |epoch_was, acting: &[u64]| {
        let changes = vec![PgChange { index: 7, epoch_was, acting: acting.to_vec() }];
        What::SetPlacement(SetPlacement { pool: 1, profile: None, changes })
    };
    let pg = PgId { pool: PoolId(1), index: 7 };
    let old = group.view().pg(pg).unwrap().unwrap().acting[0];
    let new = 3 - old;
    assert_eq!(code(cluster(&mut group, set(2, &[new]))), RejectionCode::Stale);
    for acting in [&[][..], &[1, 1], &[99]] {
        assert_eq!(code(cluster(&mut group, set(1, acting))), RejectionCode::Invalid);
    }
    assert_eq!(cluster(&mut group, set(1, &[new])).unwrap().count, 1);
    assert_eq!(code(cluster(&mut group, set(1, &[old]))), RejectionCode::Stale);
    let record = group.view().pg(pg).unwrap().unwrap();
    assert_eq!((record.epoch, record.acting, record.past[0].epoch, record.past[0].devices.clone()), (2, vec![new], 1, vec![old]));
    let resize = |count| What::ResizePool(ResizePool { pool: 1, placement_groups: count });
    assert_eq!(code(cluster(&mut group, resize(4_096))), RejectionCode::Stale);
    cluster(&mut group, resize(2_048)).unwrap();
    cluster(&mut group, resize(2_048)).unwrap();
    let pgs = group.view().pgs(PoolId(1)).unwrap();
    assert_eq!((pgs.len(), pgs[14].epoch, pgs[15].epoch, pgs[13].epoch), (2_048, 2, 2, 1));
}

#[test]
fn datasources_of_one_profile_share_a_pool_and_are_limited() {
    let mut group = made();
    let new = |name: &str, profile| CreateDatasource {
        name: name.to_owned(),
        profile,
        chunk_key_sealed: vec![7; 40].into(),
        bootstrap_node: 1,
        ..CreateDatasource::default()
    };
    let done = cluster(&mut group, What::CreateDatasource(new("archive", automatic()))).unwrap();
    assert_eq!((done.number, done.numbers), (3, vec![1, 4]));
    let fixed =
        Profile { automatic: false, code: Some(skep_raft::wire::meta::v1::Code { data: 1, parity: 1 }), domain: DomainKind::Device.into() };
    let done = cluster(&mut group, What::CreateDatasource(new("mirror", Some(fixed)))).unwrap();
    assert_eq!((done.number, done.numbers[0]), (4, 2));
    let pgs = group.view().pgs(PoolId(2)).unwrap();
    assert!(pgs.len() == 1_024 && pgs.iter().all(|pg| pg.acting.len() == 2));
    assert_eq!(code(cluster(&mut group, What::CreateDatasource(new("mirror", automatic())))), RejectionCode::AlreadyExists);
    for name in ["", "Big", "a b", "a/b", &"x".repeat(64)] {
        assert_eq!(code(cluster(&mut group, What::CreateDatasource(new(name, automatic())))), RejectionCode::NameInvalid, "{name:?}");
    }
    for number in 5..64 {
        cluster(&mut group, What::CreateDatasource(new(&format!("ds{number}"), automatic()))).unwrap();
    }
    assert_eq!(code(cluster(&mut group, What::CreateDatasource(new("last", automatic())))), RejectionCode::LimitReached);
    assert!(group.view().datasource(DatasourceId(63)).unwrap().is_some());
}

#[test]
fn degraded_writes_are_set_and_stay_as_they_are_unless_named() {
    let mut group = made();
    let new = |name: &str, degraded_writes_device| CreateDatasource {
        name: name.to_owned(),
        profile: automatic(),
        chunk_key_sealed: vec![7; 40].into(),
        bootstrap_node: 1,
        degraded_writes_device,
        ..CreateDatasource::default()
    };
    let strict = cluster(&mut group, What::CreateDatasource(new("strict", false))).unwrap().number;
    let inbox = cluster(&mut group, What::CreateDatasource(new("inbox", true))).unwrap().number;
    let is_set = |group: &Group, id: u64| group.view().datasource(DatasourceId(id)).unwrap().unwrap().degraded_writes_device;
    assert_eq!((is_set(&group, 1), is_set(&group, strict), is_set(&group, inbox)), (false, false, true));
    let history = ChangeDatasource { datasource: inbox, history_seconds: 60, ..ChangeDatasource::default() };
    cluster(&mut group, What::ChangeDatasource(history)).unwrap();
    assert!(is_set(&group, inbox), "another change leaves it as it is");
    for (datasource, wanted) in [(inbox, false), (strict, true)] {
        let change =
            ChangeDatasource { datasource, set_degraded_writes: true, degraded_writes_device: wanted, ..ChangeDatasource::default() };
        cluster(&mut group, What::ChangeDatasource(change)).unwrap();
        assert_eq!(is_set(&group, datasource), wanted, "changed by name");
    }
}

#[test]
fn commands_for_the_other_kind_of_group_are_refused() {
    assert_eq!(code(made().mkdir("/a")), RejectionCode::WrongGroup);
    assert_eq!(code(cluster(&mut Group::datasource(), What::Init(init()))), RejectionCode::WrongGroup);
}

#[test]
fn a_group_is_recovered_once_from_what_it_is() {
    let mut group = made();
    group.clock = 1_700_000_000_000_000;
    let recover = |group, generation, node, raft_id| What::RecoverGroup(RecoverGroup { group, generation, node, raft_id });
    assert_eq!(code(cluster(&mut group, recover(0, 1, 1, 1))), RejectionCode::Invalid, "the system group cannot say so of itself");
    assert_eq!(code(cluster(&mut group, recover(1, 2, 1, 2))), RejectionCode::Stale, "of another generation");
    assert_eq!(code(cluster(&mut group, recover(1, 1, 9, 2))), RejectionCode::NotFound, "of a node that is not there");
    assert_eq!(code(cluster(&mut group, recover(1, 1, 1, 0))), RejectionCode::Invalid, "of no replica");
    let done = cluster(&mut group, recover(1, 1, 1, 2)).unwrap();
    let record = group.view().group(GroupId(1)).unwrap().unwrap();
    assert_eq!((done.number, done.numbers), (4, vec![record.generation]), "a Raft id that was never given");
    assert!(record.generation >= group.clock, "a generation that no lost command can have given");
    assert_eq!((record.members.len(), record.members[0].raft_id, record.members[0].node), (1, 4, 1), "the only member");
    assert_eq!((record.bootstrap, record.recovery), (2, Some(GroupRecovery { from: 2, to: 4 })), "nobody may begin it from nothing");
    assert_eq!(code(cluster(&mut group, recover(1, 1, 1, 2))), RejectionCode::Stale, "the second of two operators is late");
    let finish = |generation| What::FinishRecovery(FinishRecovery { group: 1, generation });
    assert_eq!(code(cluster(&mut group, finish(1))), RejectionCode::Stale, "of an older generation");
    for _ in 0..2 {
        cluster(&mut group, finish(record.generation)).unwrap();
        assert_eq!(group.view().group(GroupId(1)).unwrap().unwrap().recovery, None, "it may be ended twice");
    }
}
