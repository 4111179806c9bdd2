//! The audit: whatever is refused leaves one line, wherever it was decided; who, from where, what, on what.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use skep_placement::ids::GroupId;
use skep_raft::wire::meta::v1::{Actor, AuditRecord, Command, EntryPath, LockKind, SetLock, TreeCommand, command, tree_command};

use crate::harness::Node;

/// The group of `common-files`.
const FILES: GroupId = GroupId(1);

/// Lines of refusals in all groups: who, action, subject, outcome.
async fn refusals(node: &Node) -> Vec<AuditRecord> {
    let mut lines = node.audit(GroupId::SYSTEM).await;
    lines.extend(node.audit(FILES).await);
    lines.retain(|line| line.outcome != "done");
    lines
}

/// The one refusal that has come since.
async fn one_more(node: &Node, before: &mut usize) -> AuditRecord {
    let mut lines = refusals(node).await;
    assert_eq!(lines.len(), *before + 1, "one line for one refusal: {lines:#?}");
    *before += 1;
    lines.sort_by_key(|line| line.stamp);
    lines.pop().expect("there is one")
}

fn login(line: &AuditRecord) -> &str {
    line.actor.as_ref().map_or("", |actor| actor.login.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_refuses_leaves_one_line() {
    let node = Node::start().await;
    let bob = node.session_of("bob").await;
    let mut count = refusals(&node).await.len();

    assert_eq!(node.rest(&bob, ("GET", "/a/skep/status?x=secret"), &Value::Null).await.status, 403);
    let line = one_more(&node, &mut count).await;
    assert_eq!((login(&line), line.action.as_str(), line.outcome.as_str()), ("bob", "request", "FORBIDDEN"));
    assert_eq!((line.subject.as_str(), line.from.as_str()), ("GET /a/skep/status", "0.0.0.0"), "without what may be secret");
    assert!(line.stamp > 0 && !line.request_id.is_empty() && !line.detail.is_empty(), "{line:?}");
    assert_eq!(line.actor.map(|actor| actor.user.len()), Some(16), "the user is known, not only the name");

    let wrong = json!({"AuthInfo": {"type": "credentials", "login": "bob", "password": "wrong"}});
    assert_eq!(node.rest("none", ("POST", "/a/frontend/session"), &wrong).await.status, 401);
    let line = one_more(&node, &mut count).await;
    assert_eq!((login(&line), line.action.as_str(), line.outcome.as_str()), ("bob", "sign-in", "UNAUTHORIZED"));
    assert!(line.actor.as_ref().is_some_and(|actor| actor.user.is_empty()), "nobody has signed in: {line:?}");
    assert_eq!(node.rest("bad-token", ("GET", "/a/user/bob"), &Value::Null).await.status, 401);
    assert_eq!(one_more(&node, &mut count).await.subject, "GET /a/user/bob");

    // A client's first request comes without credentials, to be told how; what is not there was not refused.
    let anonymous = Request::builder().uri("/a/user/bob").body(Body::empty()).expect("a request");
    assert_eq!(node.send(anonymous).await.status, 401);
    assert_eq!(node.rest(&bob, ("GET", "/a/tree/stat/common-files/none"), &Value::Null).await.status, 404);
    assert_eq!(refusals(&node).await.len(), count);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_leaves_one_line_whoever_decided_it() {
    let node = Node::start().await;
    assert!(node.dav("PUT", "/dav/common-files/f", &[], "one").await.status.is_success());
    let mut count = refusals(&node).await.len();
    let small = node.dav("PUT", "/dav/common-files/f", &[("if-match", "\"other\"")], "two").await;
    assert_eq!(small.status, 412, "{}", small.text());
    let line = one_more(&node, &mut count).await;
    assert_eq!((login(&line), line.action.as_str(), line.subject.as_str()), ("admin", "write-file", "f"), "the group decided");
    assert_eq!((line.outcome.as_str(), line.entry.len()), ("PRECONDITION_FAILED", 16));

    let large = node.dav("PUT", "/dav/common-files/f", &[("if-none-match", "*"), ("content-length", "5000")], vec![0; 5_000]).await;
    assert_eq!(large.status, 412, "{}", large.text());
    let line = one_more(&node, &mut count).await;
    assert_eq!((line.action.as_str(), line.subject.as_str()), ("request", "PUT /dav/common-files/f"), "the gateway saw it before");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_leaves_one_line() {
    let node = Node::start().await;
    assert!(node.dav("PUT", "/dav/common-files/f", &[], "one").await.status.is_success());
    let lock = SetLock {
        path: Some(EntryPath { base: vec![0; 16].into(), names: vec!["f".to_owned()] }),
        token: vec![9; 16].into(),
        lifetime_seconds: 600,
        kind: LockKind::Webdav.into(),
        ..SetLock::default()
    };
    let what = Some(command::What::Tree(TreeCommand { what: Some(tree_command::What::SetLock(lock)) }));
    let bob = Some(Actor { user: vec![8; 16].into(), login: "bob".to_owned() });
    node.propose(FILES, Command { actor: bob, from: "192.0.2.8".to_owned(), what, ..Command::default() }).await;
    let mut count = refusals(&node).await.len();
    let refused = node.dav("PUT", "/dav/common-files/f", &[], "two").await;
    assert_eq!(refused.status, 423, "{}", refused.text());
    let line = one_more(&node, &mut count).await;
    assert_eq!((login(&line), line.action.as_str(), line.outcome.as_str()), ("admin", "write-file", "LOCKED"));
    assert!(line.detail.contains("bob"), "it says whose lock it is: {line:?}");
    let taken: Vec<AuditRecord> = node.audit(FILES).await.into_iter().filter(|line| line.action == "lock").collect();
    assert_eq!((taken.len(), taken[0].from.as_str(), login(&taken[0])), (1, "192.0.2.8", "bob"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_request_with_many_has_its_line() {
    let node = Node::start().await;
    let token = node.token().await;
    let nodes: Vec<Value> = (0..3).map(|number| json!({"Path": format!("common-files/d{number}"), "Type": "COLLECTION"})).collect();
    assert_eq!(node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": nodes})).await.status, 200);
    let delete = json!({"Nodes": [{"Path": "common-files/d1"}], "RemovePermanently": true});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/delete"), &delete).await.status, 200);
    let lines = node.audit(FILES).await;
    let made: Vec<&str> = lines.iter().filter(|line| line.action == "create-folder").map(|line| line.subject.as_str()).collect();
    assert_eq!(made, ["d0", "d1", "d2"]);
    let of = |action: &str| lines.iter().find(|line| line.action == action && line.subject == "d1").map(|line| line.entry.clone());
    assert_eq!((of("delete"), of("delete").map(|entry| entry.len())), (of("create-folder"), Some(16)), "the entry that was made is gone");
    node.stop().await;
}
