//! Users, grants, tokens, workspaces, jobs, and the decision about rights.

use super::group::{Group, code, id};
use super::system::made;
use skep_placement::ids::{EntryId, RecordId};
use skep_raft::state::rights::{Action, Decision, Denial, Identity, Resource, decide};
use skep_raft::system_view::JobFilter;
use skep_raft::wire::meta::v1::{
    CancelJob, ClaimJob, CreateJob, DeleteToken, DeleteUser, DeleteWorkspace, Done, ExpireTokens, IdentityCommand, JobCommand, JobRecord,
    JobState, Permission, PruneJobs, PutGrant, PutToken, PutUser, PutWorkspace, Rejection, RejectionCode, ReportJob, SetPassword,
    TokenKind, TokenRecord, UserRecord, WorkspaceCommand, WorkspaceRecord, WorkspaceRoot, WorkspaceScope, command, identity_command,
    job_command, workspace_command,
};

const ADMIN: RecordId = RecordId([1; 16]);
const COMMON: RecordId = RecordId([3; 16]);

fn identity(group: &mut Group, what: identity_command::What) -> Result<Done, Rejection> {
    group.run(command::What::Identity(IdentityCommand { what: Some(what) }))
}

fn job(group: &mut Group, what: job_command::What) -> Result<Done, Rejection> {
    group.run(command::What::Job(JobCommand { what: Some(what) }))
}

fn workspace(group: &mut Group, what: workspace_command::What) -> Result<Done, Rejection> {
    group.run(command::What::Workspace(WorkspaceCommand { what: Some(what) }))
}

fn record_id(number: u64) -> RecordId {
    RecordId::try_from(id(number).as_ref()).unwrap()
}

fn user(number: u64, login: &str) -> UserRecord {
    UserRecord { id: id(number), login: login.to_owned(), password_phc: "phc".to_owned(), ..UserRecord::default() }
}

fn put_user(group: &mut Group, user: UserRecord) -> Result<Done, Rejection> {
    identity(group, identity_command::What::PutUser(PutUser { user: Some(user), must_be_new: false }))
}

fn closed_workspace(number: u64, slug: &str) -> WorkspaceRecord {
    WorkspaceRecord {
        id: id(number),
        slug: slug.to_owned(),
        scope: WorkspaceScope::Admin.into(),
        roots: vec![WorkspaceRoot { datasource: 1, entry: id(700), folder_per_user: false }],
        ..WorkspaceRecord::default()
    }
}

fn put_workspace(group: &mut Group, record: WorkspaceRecord) -> Result<Done, Rejection> {
    workspace(group, workspace_command::What::PutWorkspace(PutWorkspace { workspace: Some(record), must_be_new: false }))
}

fn grant(group: &mut Group, user: u64, workspace: u64, permission: Permission) {
    let grant = PutGrant { user: id(user), workspace: id(workspace), permission: permission.into() };
    identity(group, identity_command::What::PutGrant(grant)).unwrap();
}

fn token(number: u64, user: u64, kind: TokenKind) -> TokenRecord {
    let mut hash = vec![0; 24];
    hash.extend(number.to_be_bytes());
    TokenRecord { id: id(number), user: id(user), hash: hash.into(), kind: kind.into(), ..TokenRecord::default() }
}

fn put_token(group: &mut Group, token: TokenRecord, lifetime_seconds: u64) -> Result<Done, Rejection> {
    identity(group, identity_command::What::PutToken(PutToken { token: Some(token), lifetime_seconds }))
}

#[test]
fn users_have_unique_logins_and_revisions_that_grow() {
    let mut group = made();
    assert!(put_user(&mut group, user(20, "ann")).unwrap().created);
    assert_eq!(code(put_user(&mut group, user(21, "ann"))), RejectionCode::AlreadyExists);
    for login in ["", "a/b", "..", "a\nb"] {
        assert_eq!(code(put_user(&mut group, user(22, login))), RejectionCode::NameInvalid, "{login:?}");
    }
    let again = identity(&mut group, identity_command::What::PutUser(PutUser { user: Some(user(20, "ann")), must_be_new: true }));
    assert_eq!(code(again), RejectionCode::AlreadyExists);
    let renamed = UserRecord { password_phc: "ignored".to_owned(), revision: 99, display_name: "Ann".to_owned(), ..user(20, "anna") };
    put_user(&mut group, renamed).unwrap();
    let view = group.view();
    assert_eq!(view.user_by_login("ann").unwrap(), None);
    let anna = view.user_by_login("anna").unwrap().unwrap();
    assert_eq!((anna.password_phc.as_str(), anna.revision, anna.display_name.as_str()), ("phc", 1, "Ann"));
    let set = SetPassword { user: id(20), password_phc: "other".to_owned() };
    assert_eq!(identity(&mut group, identity_command::What::SetPassword(set)).unwrap().number, 2);
    put_user(&mut group, UserRecord { disabled: true, ..user(20, "anna") }).unwrap();
    assert_eq!(group.view().user(record_id(20)).unwrap().unwrap().revision, 3);
    put_user(&mut group, user(23, "bob")).unwrap();
    let logins = |after: &str, limit| group.view().users(after, limit).unwrap().into_iter().map(|user| user.login).collect::<Vec<_>>();
    assert_eq!(logins("", 2), ["admin", "anna"]);
    assert_eq!(logins("anna", 2), ["bob"]);
}

#[test]
fn one_administrator_stays() {
    let mut group = made();
    let admin = group.view().user(ADMIN).unwrap().unwrap();
    let forbidden = RejectionCode::Forbidden;
    assert_eq!(code(put_user(&mut group, UserRecord { admin: false, ..admin.clone() })), forbidden);
    assert_eq!(code(put_user(&mut group, UserRecord { disabled: true, ..admin.clone() })), forbidden);
    let delete = identity_command::What::DeleteUser(DeleteUser { user: admin.id });
    assert_eq!(code(identity(&mut group, delete.clone())), forbidden);
    put_user(&mut group, UserRecord { admin: true, ..user(20, "ann") }).unwrap();
    identity(&mut group, delete).unwrap();
}

#[test]
fn a_user_goes_with_grants_and_tokens() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    put_workspace(&mut group, closed_workspace(30, "team")).unwrap();
    grant(&mut group, 20, 30, Permission::Read);
    put_token(&mut group, token(40, 20, TokenKind::Personal), 60).unwrap();
    assert_eq!(group.view().grants_on(record_id(30)).unwrap().len(), 1);
    let rows = group.rows().len();
    identity(&mut group, identity_command::What::DeleteUser(DeleteUser { user: id(20) })).unwrap();
    let view = group.view();
    assert!(view.grants_on(record_id(30)).unwrap().is_empty() && view.grants_of(record_id(20)).unwrap().is_empty());
    assert!(view.tokens_of(record_id(20)).unwrap().is_empty());
    assert_eq!(group.rows().len(), rows - 2 - 2 - 4, "user and login, grant twice, token four times");
}

#[test]
fn workspaces_have_unique_slugs_and_go_with_their_grants() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    put_workspace(&mut group, closed_workspace(30, "team")).unwrap();
    assert_eq!(code(put_workspace(&mut group, closed_workspace(31, "team"))), RejectionCode::AlreadyExists);
    assert_eq!(code(put_workspace(&mut group, closed_workspace(31, "a/b"))), RejectionCode::NameInvalid);
    let roots = vec![WorkspaceRoot { datasource: 99, entry: id(1), folder_per_user: false }];
    assert_eq!(code(put_workspace(&mut group, WorkspaceRecord { roots, ..closed_workspace(31, "x") })), RejectionCode::NotFound);
    put_workspace(&mut group, closed_workspace(30, "crew")).unwrap();
    assert_eq!(group.view().workspace_by_slug("team").unwrap(), None);
    grant(&mut group, 20, 30, Permission::Read);
    workspace(&mut group, workspace_command::What::DeleteWorkspace(DeleteWorkspace { workspace: id(30) })).unwrap();
    assert!(group.view().grants_of(record_id(20)).unwrap().is_empty());
    assert_eq!(group.view().workspace_by_slug("crew").unwrap(), None);
}

#[test]
fn tokens_are_found_renewed_and_expire() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    let first = token(40, 20, TokenKind::Session);
    let end = put_token(&mut group, first.clone(), 60).unwrap().number;
    assert_eq!(end, group.clock.max(group.view().stamp().unwrap()) + 60_000_000);
    group.clock += 30_000_000;
    assert!(!put_token(&mut group, first.clone(), 60).unwrap().created, "the same again renews it");
    let thief = TokenRecord { id: id(41), ..first.clone() };
    assert_eq!(code(put_token(&mut group, thief, 60)), RejectionCode::AlreadyExists);
    put_token(&mut group, token(42, 20, TokenKind::Personal), 0).unwrap();
    assert_eq!(group.view().token_by_hash(&first.hash).unwrap().unwrap().user_revision, 1);
    let expire = identity_command::What::ExpireTokens(ExpireTokens { limit: 10 });
    group.clock += 59_000_000;
    assert_eq!(identity(&mut group, expire.clone()).unwrap().count, 0);
    group.clock += 2_000_000;
    assert_eq!(identity(&mut group, expire).unwrap().count, 1);
    assert_eq!(group.view().tokens_of(record_id(20)).unwrap().len(), 1);
    let delete = |user| identity_command::What::DeleteToken(DeleteToken { id: id(42), user });
    assert_eq!(code(identity(&mut group, delete(id(21)))), RejectionCode::NotFound, "of somebody else");
    identity(&mut group, delete(id(20))).unwrap();
    assert_eq!(code(identity(&mut group, delete(bytes::Bytes::new()))), RejectionCode::NotFound);
}

#[test]
fn a_job_has_one_owner_at_a_time() {
    let mut group = made();
    let new = JobRecord { id: id(50), name: "copy".to_owned(), user: id(20), state: JobState::Finished.into(), ..JobRecord::default() };
    let create = job_command::What::Create(CreateJob { job: Some(new) });
    assert_eq!(job(&mut group, create.clone()).unwrap().job.unwrap().state, i32::from(JobState::Queued));
    assert_eq!(code(job(&mut group, create)), RejectionCode::AlreadyExists);
    let claim = |node| job_command::What::Claim(ClaimJob { job: id(50), node, lease_seconds: 30 });
    let report = |node, lease_number, state: JobState| {
        let report = ReportJob { job: id(50), node, lease_number, lease_seconds: 30, state: state.into(), ..ReportJob::default() };
        job_command::What::Report(ReportJob { progress_permille: 5_000, message: "on the way".to_owned(), ..report })
    };
    assert_eq!(job(&mut group, claim(1)).unwrap().number, 1);
    assert_eq!(code(job(&mut group, claim(2))), RejectionCode::Stale);
    assert_eq!(job(&mut group, report(1, 1, JobState::Running)).unwrap().job.unwrap().progress_permille, 1_000);
    group.clock += 31_000_000;
    assert_eq!(job(&mut group, claim(2)).unwrap().number, 2, "the lease of the first owner has ended");
    assert_eq!(code(job(&mut group, report(1, 1, JobState::Finished))), RejectionCode::LeaseLost);
    job(&mut group, report(2, 2, JobState::Finished)).unwrap();
    assert_eq!(code(job(&mut group, report(2, 2, JobState::Running))), RejectionCode::LeaseLost);
    let ended = job(&mut group, job_command::What::Cancel(CancelJob { job: id(50) })).unwrap().job.unwrap();
    assert_eq!(ended.state, i32::from(JobState::Finished), "what has ended is not cancelled");
}

#[test]
fn jobs_are_listed_by_state_and_pruned_when_old() {
    let mut group = made();
    for number in 50..56 {
        let new = JobRecord { id: id(number), name: "copy".to_owned(), user: id(20 + number % 2), ..JobRecord::default() };
        job(&mut group, job_command::What::Create(CreateJob { job: Some(new) })).unwrap();
    }
    for number in 50..53 {
        job(&mut group, job_command::What::Cancel(CancelJob { job: id(number) })).unwrap();
    }
    let ids = |filter: JobFilter| group.view().jobs(&filter).unwrap().iter().map(|job| u64::from(job.id[15])).collect::<Vec<u64>>();
    assert_eq!(ids(JobFilter::default()), [55, 54, 53, 52, 51, 50]);
    assert_eq!(ids(JobFilter { states: vec![JobState::Cancelled], ..JobFilter::default() }), [52, 51, 50]);
    assert_eq!(ids(JobFilter { user: Some(record_id(20)), limit: 2, ..JobFilter::default() }), [54, 52]);
    let prune = |retention_seconds| job_command::What::Prune(PruneJobs { retention_seconds, limit: 2 });
    assert_eq!(job(&mut group, prune(60)).unwrap().count, 0);
    group.clock += 61_000_000;
    assert_eq!(job(&mut group, prune(60)).unwrap().count, 2);
    assert_eq!(job(&mut group, prune(60)).unwrap().count, 1);
    assert_eq!(group.view().jobs(&JobFilter::default()).unwrap().len(), 3);
}

fn as_user(number: u64) -> Identity {
    Identity { user: record_id(number), login: "u".to_owned(), admin: false, revision: 0, scopes: Vec::new() }
}

/// The decision in a word.
fn word(group: &Group, identity: &Identity, action: Action, resource: Resource) -> String {
    match decide(&group.view(), identity, action, &resource).unwrap() {
        Decision::Allowed => "allowed".to_owned(),
        Decision::Denied { reason } => format!("{reason:?}"),
    }
}

#[test]
fn workspaces_are_open_by_grant_or_default_and_else_closed() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    put_workspace(&mut group, closed_workspace(30, "team")).unwrap();
    let team = || Resource::Workspace(record_id(30));
    let ann = as_user(20);
    assert_eq!(word(&group, &ann, Action::WriteContent, Resource::Workspace(COMMON)), "allowed", "open to everybody");
    assert_eq!(word(&group, &ann, Action::SeeWorkspace, team()), "NotGranted");
    let admin = Identity { user: ADMIN, admin: true, ..as_user(0) };
    assert_eq!(word(&group, &admin, Action::ReadContent, team()), "NotGranted", "administering opens no files");
    grant(&mut group, 20, 30, Permission::Read);
    assert_eq!(word(&group, &ann, Action::ReadContent, team()), "allowed");
    assert_eq!(word(&group, &ann, Action::WriteTree, team()), "NotGranted");
    grant(&mut group, 20, 30, Permission::ReadWrite);
    assert_eq!(word(&group, &ann, Action::WriteTree, team()), "allowed");
    grant(&mut group, 20, 30, Permission::Unspecified);
    assert_eq!(word(&group, &ann, Action::ReadTree, team()), "NotGranted");
    put_workspace(&mut group, WorkspaceRecord { owner: id(20), ..closed_workspace(30, "team") }).unwrap();
    assert_eq!(word(&group, &ann, Action::WriteTree, team()), "allowed", "a cell is its owner's");
    assert_eq!(word(&group, &ann, Action::ReadTree, Resource::Workspace(record_id(99))), "NoResource");
    assert_eq!(word(&group, &ann, Action::Administer, team()), "Meaningless");
}

#[test]
fn users_that_are_gone_disabled_or_changed_may_do_nothing() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    let open = || Resource::Workspace(COMMON);
    assert_eq!(word(&group, &as_user(21), Action::ReadTree, open()), "NoUser");
    let bound = Identity { revision: 1, ..as_user(20) };
    assert_eq!(word(&group, &bound, Action::ReadTree, open()), "allowed");
    identity(&mut group, identity_command::What::SetPassword(SetPassword { user: id(20), password_phc: "new".to_owned() })).unwrap();
    assert_eq!(word(&group, &bound, Action::ReadTree, open()), "Revised");
    put_user(&mut group, UserRecord { disabled: true, ..user(20, "ann") }).unwrap();
    assert_eq!(word(&group, &as_user(20), Action::ReadTree, open()), "Disabled");
}

#[test]
fn scopes_narrow_and_never_widen() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    put_workspace(&mut group, closed_workspace(30, "team")).unwrap();
    grant(&mut group, 20, 30, Permission::Read);
    let scoped = |scope: String| Identity { scopes: vec![scope], ..as_user(20) };
    let team = || Resource::Workspace(record_id(30));
    let below = |entry: u64| Resource::Entry { workspace: record_id(30), chain: vec![EntryId(record_id(entry).0), EntryId::ROOT] };
    let by_workspace = scoped(format!("node:{}:rw", record_id(30)));
    assert_eq!(word(&group, &by_workspace, Action::ReadContent, team()), "allowed");
    assert_eq!(word(&group, &by_workspace, Action::WriteContent, team()), "NotGranted", "the user may only read");
    assert_eq!(word(&group, &by_workspace, Action::ReadTree, Resource::Workspace(COMMON)), "Scope");
    let by_root = scoped(format!("node:{}:r", record_id(700)));
    assert_eq!(word(&group, &by_root, Action::ReadContent, team()), "allowed");
    let by_entry = scoped(format!("node:{}:r", record_id(701)));
    assert_eq!(word(&group, &by_entry, Action::ReadContent, below(701)), "allowed");
    assert_eq!(word(&group, &by_entry, Action::ReadContent, below(702)), "Scope");
    for scope in ["", "node:x:r", "node::rw", &format!("node:{}:w", record_id(30)), &format!("node:{}:r", EntryId::ROOT)] {
        assert_eq!(word(&group, &scoped(scope.to_owned()), Action::ReadContent, below(702)), "Scope", "{scope:?}");
    }
    let own = Resource::Account(record_id(20));
    assert_eq!(word(&group, &by_workspace, Action::ChangeAccount, own), "Scope");
}

#[test]
fn accounts_jobs_and_the_cluster_have_their_own_rules() {
    let mut group = made();
    put_user(&mut group, user(20, "ann")).unwrap();
    let new = JobRecord { id: id(50), name: "copy".to_owned(), user: id(20), ..JobRecord::default() };
    job(&mut group, job_command::What::Create(CreateJob { job: Some(new) })).unwrap();
    put_user(&mut group, user(21, "bob")).unwrap();
    let (ann, bob, admin) = (as_user(20), as_user(21), Identity { user: ADMIN, ..as_user(0) });
    let allowed = |identity: &Identity, action, resource| word(&group, identity, action, resource) == "allowed";
    let (account, mine) = (|| Resource::Account(record_id(20)), || Resource::Job(record_id(50)));
    assert!(allowed(&ann, Action::ChangeAccount, account()) && allowed(&admin, Action::ReadAccount, account()));
    assert!(!allowed(&bob, Action::ReadAccount, account()));
    assert!(
        allowed(&ann, Action::ChangeJob, mine()) && allowed(&admin, Action::ReadJob, mine()) && !allowed(&bob, Action::ReadJob, mine())
    );
    assert!(allowed(&admin, Action::Administer, Resource::Cluster) && !allowed(&ann, Action::Administer, Resource::Cluster));
    let pretender = Identity { admin: true, ..ann };
    assert_eq!(word(&group, &pretender, Action::Administer, Resource::Cluster), format!("{:?}", Denial::NotAdmin));
}
