//! Golden scripts of the system group: `> command` lines with what they print. `UPDATE_GOLDEN=1` writes what is printed now.

use super::group::{Group, id};
use super::script::{Words, outcome, replay};
use super::system::{automatic, made};
use skep_placement::ids::{GroupId, PgId, PoolId, RecordId};
use skep_raft::system_view::JobFilter;
use skep_raft::wire::meta::v1::{
    AddDevice, AddNode, CancelJob, ChangeDatasource, ClaimJob, ClusterCommand, CreateDatasource, CreateJob, DeletePolicy, DeleteToken,
    DeleteUser, DeleteWorkspace, DeviceRecord, DeviceState, Done, DropMember, ExpireTokens, IdentityCommand, JobCommand, JobRecord,
    JobState, MemberRole, NodeRecord, Permission, PgChange, PlaceMember, PruneJobs, PutGrant, PutJoinToken, PutPolicy, PutToken, PutUser,
    PutWorkspace, RegisterBoot, Rejection, ReportJob, SetDeviceState, SetMemberRole, SetPassword, SetPlacement, TokenKind, TokenRecord,
    UseJoinToken, UserRecord, VersioningPolicyRecord, WorkspaceCommand, WorkspaceRecord, WorkspaceRoot, WorkspaceScope, cluster_command,
    command, identity_command, job_command, workspace_command,
};

#[test]
fn system_scripts_print_what_they_printed() {
    replay("system", made, run);
}

fn run(group: &mut Group, line: &str) -> String {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap();
    let words = Words::of(words);
    if verb == "clock" {
        group.clock = words.number(0);
        return String::new();
    }
    if let Some(shown) = show(group, verb, &words) {
        return shown;
    }
    let what = cluster(verb, &words).or_else(|| identity(verb, &words)).or_else(|| workspace(verb, &words)).or_else(|| job(verb, &words));
    printed(group.run(what.unwrap_or_else(|| panic!("no command {verb:?}"))))
}

/// An outcome with the numbers that it gives out.
fn printed(result: Result<Done, Rejection>) -> String {
    let numbers = match &result {
        Ok(done) if done.number > 0 || !done.numbers.is_empty() => format!(" number={} {:?}", done.number, done.numbers),
        _ => String::new(),
    };
    format!("{}{numbers}\n", outcome(result).trim_end())
}

fn hash(number: u64) -> bytes::Bytes {
    vec![u8::try_from(number).unwrap(); 32].into()
}

/// An id of a user, token or workspace: what the first command makes has one digit all over.
fn record(number: u64) -> bytes::Bytes {
    if number < 10 { vec![u8::try_from(number).unwrap(); 16].into() } else { id(number) }
}

fn cluster(verb: &str, words: &Words<'_>) -> Option<command::What> {
    use cluster_command::What;
    let number = |place| words.number(place);
    let what = match verb {
        "join-token" => What::PutJoinToken(PutJoinToken { hash: hash(number(0)), lifetime_seconds: number(1) }),
        "withdraw-join-token" => What::UseJoinToken(UseJoinToken { hash: hash(number(0)) }),
        "join" => {
            let node = NodeRecord { name: words.word(1).to_owned(), rpc_address: "127.0.0.1:2".to_owned(), ..NodeRecord::default() };
            What::AddNode(AddNode { node: Some(node), join_token_hash: hash(number(0)) })
        }
        "boot" => What::RegisterBoot(RegisterBoot { node: number(0), boot: number(1), ..RegisterBoot::default() }),
        "device" => {
            let device = DeviceRecord { node: number(0), weight: 10, ..DeviceRecord::default() };
            What::AddDevice(AddDevice { device: Some(device), nonce: id(number(1)) })
        }
        "set-device" => {
            let state = DeviceState::from_str_name(&format!("DEVICE_STATE_{}", words.word(1))).unwrap();
            What::SetDeviceState(SetDeviceState { device: number(0), state: state.into() })
        }
        "datasource" => What::CreateDatasource(CreateDatasource {
            name: words.word(0).to_owned(),
            profile: automatic(),
            chunk_key_sealed: hash(7),
            bootstrap_node: 1,
            quota_bytes: words.valued("quota"),
            ..CreateDatasource::default()
        }),
        "change-datasource" => What::ChangeDatasource(ChangeDatasource {
            datasource: number(0),
            policy: words.value("policy").map_or_else(bytes::Bytes::new, |policy| id(policy.parse().unwrap())),
            set_quota: words.value("quota").is_some(),
            quota_bytes: words.valued("quota"),
            history_seconds: words.valued("history"),
            set_recycle: words.value("recycle").is_some(),
            recycle_seconds: words.valued("recycle"),
            ..ChangeDatasource::default()
        }),
        "policy" => {
            let (id, name) = (id(number(0)), words.word(1).to_owned());
            let policy = VersioningPolicyRecord { id, uuid: name.clone(), name, keep_all_seconds: 60, ..VersioningPolicyRecord::default() };
            What::PutPolicy(PutPolicy { policy: Some(policy) })
        }
        "delete-policy" => What::DeletePolicy(DeletePolicy { policy: id(number(0)) }),
        "place-member" => What::PlaceMember(PlaceMember { group: number(0), node: number(1), role: MemberRole::Learner.into() }),
        "set-member" => {
            let role = MemberRole::from_str_name(&format!("MEMBER_ROLE_{}", words.word(2))).unwrap();
            What::SetMemberRole(SetMemberRole { group: number(0), raft_id: number(1), role: role.into() })
        }
        "drop-member" => What::DropMember(DropMember { group: number(0), raft_id: number(1) }),
        "set-pg" => {
            let acting = words.value("acting").unwrap_or("").split(',').filter(|device| !device.is_empty());
            let acting = acting.map(|device| device.parse().unwrap()).collect();
            let index = u32::try_from(number(0)).unwrap();
            let changes = vec![PgChange { index, epoch_was: number(1), acting }];
            What::SetPlacement(SetPlacement { pool: 1, profile: None, changes })
        }
        _ => return None,
    };
    Some(command::What::Cluster(ClusterCommand { what: Some(what) }))
}

fn permission(word: &str) -> Permission {
    match word {
        "read" => Permission::Read,
        "write" => Permission::ReadWrite,
        "none" => Permission::Unspecified,
        other => panic!("no permission {other:?}"),
    }
}

fn identity(verb: &str, words: &Words<'_>) -> Option<command::What> {
    use identity_command::What;
    let number = |place| words.number(place);
    let what = match verb {
        "user" => {
            let user = UserRecord {
                id: record(number(0)),
                login: words.word(1).to_owned(),
                admin: words.has("admin"),
                disabled: words.has("disabled"),
                ..UserRecord::default()
            };
            What::PutUser(PutUser { user: Some(user), must_be_new: words.has("new") })
        }
        "delete-user" => What::DeleteUser(DeleteUser { user: record(number(0)) }),
        "password" => What::SetPassword(SetPassword { user: record(number(0)), password_phc: "phc".to_owned() }),
        "grant" => {
            What::PutGrant(PutGrant { user: record(number(0)), workspace: record(number(1)), permission: permission(words.word(2)).into() })
        }
        "token" => {
            let kind = if words.has("session") { TokenKind::Session } else { TokenKind::Personal };
            let token = TokenRecord {
                id: record(number(0)),
                user: record(number(1)),
                hash: hash(number(0)),
                kind: kind.into(),
                ..TokenRecord::default()
            };
            What::PutToken(PutToken { token: Some(token), lifetime_seconds: words.valued("seconds") })
        }
        "delete-token" => {
            let user = words.value("of").map_or_else(bytes::Bytes::new, |user| id(user.parse().unwrap()));
            What::DeleteToken(DeleteToken { id: record(number(0)), user })
        }
        "expire-tokens" => What::ExpireTokens(ExpireTokens { limit: u32::try_from(number(0)).unwrap() }),
        _ => return None,
    };
    Some(command::What::Identity(IdentityCommand { what: Some(what) }))
}

fn workspace(verb: &str, words: &Words<'_>) -> Option<command::What> {
    use workspace_command::What;
    let what = match verb {
        "workspace" => {
            let workspace = WorkspaceRecord {
                id: record(words.number(0)),
                slug: words.word(1).to_owned(),
                scope: WorkspaceScope::Admin.into(),
                roots: vec![WorkspaceRoot { datasource: 1, entry: id(700), folder_per_user: false }],
                ..WorkspaceRecord::default()
            };
            What::PutWorkspace(PutWorkspace { workspace: Some(workspace), must_be_new: words.has("new") })
        }
        "delete-workspace" => What::DeleteWorkspace(DeleteWorkspace { workspace: record(words.number(0)) }),
        _ => return None,
    };
    Some(command::What::Workspace(WorkspaceCommand { what: Some(what) }))
}

fn job(verb: &str, words: &Words<'_>) -> Option<command::What> {
    use job_command::What;
    let number = |place| words.number(place);
    let what = match verb {
        "job" => {
            What::Create(CreateJob { job: Some(JobRecord { id: id(number(0)), name: words.word(1).to_owned(), ..JobRecord::default() }) })
        }
        "claim" => What::Claim(ClaimJob { job: id(number(0)), node: number(1), lease_seconds: number(2) }),
        "report" => {
            let state = JobState::from_str_name(&format!("JOB_STATE_{}", words.word(3))).unwrap();
            What::Report(ReportJob {
                job: id(number(0)),
                node: number(1),
                lease_number: number(2),
                lease_seconds: 60,
                state: state.into(),
                progress_permille: words.valued("progress"),
                ..ReportJob::default()
            })
        }
        "cancel" => What::Cancel(CancelJob { job: id(number(0)) }),
        "prune-jobs" => What::Prune(PruneJobs { retention_seconds: number(0), limit: 10 }),
        _ => return None,
    };
    Some(command::What::Job(JobCommand { what: Some(what) }))
}

fn last(bytes: &[u8]) -> u8 {
    bytes.last().copied().unwrap_or(0)
}

/// What a command shows that changes nothing.
fn show(group: &Group, verb: &str, words: &Words<'_>) -> Option<String> {
    let view = group.view();
    let named = |place: usize| RecordId::try_from(record(words.number(place)).as_ref()).unwrap();
    let lines: Vec<String> = match verb {
        "users" => {
            let users = view.users("", 100).unwrap().into_iter();
            users
                .map(|user| format!("{:?} revision {} admin {} disabled {}", user.login, user.revision, user.admin, user.disabled))
                .collect()
        }
        "grants" => {
            let grants = view.grants_of(named(0)).unwrap().into_iter();
            grants.map(|grant| format!("workspace {} {:?}", last(&grant.workspace), grant.permission())).collect()
        }
        "tokens" => {
            let tokens = view.tokens_of(named(0)).unwrap().into_iter();
            tokens.map(|token| format!("token {} revision {} ends {}", last(&token.id), token.user_revision, token.expires_at)).collect()
        }
        "jobs" => {
            let jobs = view.jobs(&JobFilter::default()).unwrap().into_iter();
            let shown = jobs.map(|job| {
                let (state, lease, until) = (job.state(), job.lease_number, job.lease_until);
                format!(
                    "job {} {state:?} of node {} lease {lease} until {until} at {}",
                    last(&job.id),
                    job.owner_node,
                    job.progress_permille
                )
            });
            shown.collect()
        }
        "datasources" => {
            let all = view.datasources().unwrap().into_iter();
            let shown = all.map(|one| {
                let (policy, quota, history, recycle) = (last(&one.policy), one.quota_bytes, one.history_seconds, one.recycle_seconds);
                format!("{} {:?} pool {} policy {policy} quota {quota} history {history} recycle {recycle}", one.id, one.name, one.pool)
            });
            shown.collect()
        }
        "members" => {
            let group = view.group(GroupId(words.number(0))).unwrap().unwrap();
            group.members.iter().map(|member| format!("raft id {} on node {} {:?}", member.raft_id, member.node, member.role())).collect()
        }
        "pg" => {
            let pg = PgId { pool: PoolId(1), index: u32::try_from(words.number(0)).unwrap() };
            let record = view.pg(pg).unwrap().unwrap();
            let past: Vec<_> = record.past.iter().map(|set| (set.epoch, set.devices.clone())).collect();
            vec![format!("epoch {} acting {:?} past {past:?}", record.epoch, record.acting)]
        }
        _ => return None,
    };
    Some(lines.into_iter().map(|line| format!("  {line}\n")).collect())
}
