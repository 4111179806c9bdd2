//! Locks over WebDAV, and what the If header says.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};
use skep_api::service::jobs::worker::Worker;
use skep_placement::ids::{GroupId, NodeId};
use skep_raft::system_view::JobFilter;
use skep_raft::wire::meta::v1::{Actor, Command, EntryPath, JobState, LockKind, SetLock, TreeCommand, command, tree_command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, Node, PASSWORD};

const EXCLUSIVE: &str = "<?xml version=\"1.0\"?><D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
     <D:locktype><D:write/></D:locktype><D:owner><D:href>mailto:admin@example.org</D:href></D:owner></D:lockinfo>";
const SHARED: &str = "<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>";

/// A second user, who may write to the common files.
struct Bob<'a> {
    node: &'a Node,
}

impl<'a> Bob<'a> {
    async fn new(node: &'a Node) -> Self {
        let token = node.token().await;
        let bob = json!({"Password": PASSWORD, "Attributes": {"displayName": "Bob"}});
        assert_eq!(node.rest(&token, ("PUT", "/a/user/bob"), &bob).await.status, 200, "bob is made");
        let grant = json!({"Login": "bob", "Workspace": "common-files", "Permission": "rw"});
        let granted = node.rest(&token, ("PUT", "/a/skep/grant"), &grant).await;
        assert_eq!(granted.status, 200, "{}", granted.text());
        Self { node }
    }

    async fn dav(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let basic = STANDARD.encode(format!("bob:{PASSWORD}"));
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Basic {basic}")).header("host", "here");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.node.send(request.body(body.into()).expect("a request")).await
    }
}

/// The token of a lock that was taken, in its brackets.
fn token(answer: &Answer) -> String {
    assert!(answer.status.is_success(), "{}: {}", answer.status, answer.text());
    let token = answer.header("lock-token").to_owned();
    assert!(token.starts_with("<opaquelocktoken:") && answer.text().contains(token.trim_matches(['<', '>'])), "{token}: {}", answer.text());
    token
}

async fn put(node: &Node, path: &str, text: &'static str) -> String {
    let answer = node.dav("PUT", path, &[], text).await;
    assert!(answer.status.is_success(), "{}: {}", answer.status, answer.text());
    answer.header("etag").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_closes_a_file_to_all_but_its_holder() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    let path = "/dav/common-files/plan.txt";
    put(&node, path, "one").await;
    let locked = node.dav("LOCK", path, &[("depth", "0"), ("timeout", "Second-300")], EXCLUSIVE).await;
    assert_eq!((locked.status.as_u16(), locked.header("content-type")), (200, "application/xml; charset=utf-8"), "{}", locked.text());
    assert!(
        locked.text().contains("<D:timeout>Second-300</D:timeout>") && locked.text().contains("mailto:admin@example.org"),
        "{}",
        locked.text()
    );
    assert!(locked.header("x-skep-fence").parse::<u64>().is_ok_and(|fence| fence > 0), "{:?}", locked.headers);
    let token = token(&locked);
    let own = format!("({token})");

    let refused = bob.dav("PUT", path, &[], "bob's").await;
    assert_eq!(refused.status, 423, "{}", refused.text());
    assert!(refused.text().contains("admin holds an exclusive lock"), "{}", refused.text());
    assert_eq!(node.dav("PUT", path, &[], "x").await.status, 423, "another program of the holder knows no token");
    assert_eq!(bob.dav("PUT", path, &[("if", &own)], "x").await.status, 423, "a token that was overheard");
    assert_eq!(bob.dav("DELETE", path, &[], Body::empty()).await.status, 423);
    assert_eq!(bob.dav("LOCK", path, &[], EXCLUSIVE).await.status, 423);
    let patch = "<propertyupdate xmlns=\"DAV:\"><set><prop><x xmlns=\"urn:x\">1</x></prop></set></propertyupdate>";
    assert_eq!(bob.dav("PROPPATCH", path, &[], patch).await.status, 423);
    assert_eq!(node.dav("PROPPATCH", path, &[("if", &own)], patch).await.status, 207);
    assert_eq!(node.dav("PUT", path, &[("if", &own)], "two").await.status, 204);
    assert_eq!(node.dav("PUT", path, &[("x-skep-lock-token", token.as_str())], "three").await.status, 204);
    assert_eq!(bob.dav("GET", path, &[], Body::empty()).await.text(), "three", "everybody reads");

    let refreshed = node.dav("LOCK", path, &[("if", &own), ("timeout", "Second-60")], Body::empty()).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert!(refreshed.text().contains("Second-60") && refreshed.header("x-skep-fence") == locked.header("x-skep-fence"));
    assert_eq!(bob.dav("LOCK", path, &[("if", &own)], Body::empty()).await.status, 412, "another's lock is not refreshed");
    assert_eq!(node.dav("LOCK", path, &[], Body::empty()).await.status, 400, "without a body and a token");
    assert_eq!(node.dav("LOCK", path, &[("if", "(<a")], Body::empty()).await.status, 400, "a malformed header ends no server");

    assert_eq!(bob.dav("UNLOCK", path, &[("lock-token", &token)], Body::empty()).await.status, 403, "of another");
    assert_eq!(node.dav("UNLOCK", path, &[], Body::empty()).await.status, 400);
    assert_eq!(node.dav("UNLOCK", path, &[("lock-token", &token)], Body::empty()).await.status, 204);
    assert_eq!(node.dav("UNLOCK", path, &[("lock-token", &token)], Body::empty()).await.status, 409, "it is given back already");
    assert_eq!(bob.dav("PUT", path, &[], "bob's").await.status, 204);
    assert_eq!(node.dav("PUT", path, &[("if", &own)], "late").await.status, 412, "who relied on it is refused");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_a_free_name_makes_a_file_and_conditions_are_kept() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    let path = "/dav/common-files/new.txt";
    let locked = node.dav("LOCK", path, &[("if-none-match", "*")], EXCLUSIVE).await;
    assert_eq!(locked.status, 201, "{}", locked.text());
    let own = format!("({})", token(&locked));
    assert_eq!(bob.dav("GET", path, &[], Body::empty()).await.text(), "");
    assert_eq!(bob.dav("PUT", path, &[], "x").await.status, 423);
    assert_eq!(node.dav("PUT", path, &[("if", &own)], "mine").await.status, 204);
    for (name, value) in [("if-none-match", "*"), ("if-match", "\"other\"")] {
        let other = node.dav("LOCK", "/dav/common-files/plan.txt", &[(name, value)], EXCLUSIVE).await;
        let expected = if name == "if-match" { 412 } else { 201 };
        assert_eq!(other.status, expected, "{name}: {}", other.text());
        let _given_back =
            node.dav("UNLOCK", "/dav/common-files/plan.txt", &[("lock-token", other.header("lock-token"))], Body::empty()).await;
    }
    assert_eq!(node.dav("LOCK", "/dav/common-files/none/new.txt", &[], EXCLUSIVE).await.status, 409);
    assert_eq!(node.dav("LOCK", "/dav/common-files/folder/", &[], EXCLUSIVE).await.status, 404, "no folder comes of a lock");
    assert_eq!(node.dav("LOCK", "/dav/common-files", &[], EXCLUSIVE).await.status, 403, "a workspace");
    assert_eq!(node.dav("LOCK", path, &[("depth", "1")], EXCLUSIVE).await.status, 400);
    assert_eq!(node.dav("LOCK", path, &[], "<lockinfo/>").await.status, 400);
    let options = node.dav("OPTIONS", path, &[], Body::empty()).await;
    assert_eq!((options.header("dav"), options.header("allow").contains("UNLOCK")), ("1, 2, 3", true));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_and_deep_locks_are_what_they_say_and_are_shown() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    for folder in ["dir", "dir/sub", "open"] {
        assert_eq!(node.dav("MKCOL", &format!("/dav/common-files/{folder}"), &[], Body::empty()).await.status, 201);
    }
    put(&node, "/dav/common-files/dir/f.txt", "f").await;
    put(&node, "/dav/common-files/open/g.txt", "g").await;
    let deep = node.dav("LOCK", "/dav/common-files/dir", &[], EXCLUSIVE).await;
    assert!(deep.text().contains("<D:depth>Infinity</D:depth>"), "{}", deep.text());
    let own = token(&deep);
    for new in ["/dav/common-files/dir/new.txt", "/dav/common-files/dir/sub/new.txt"] {
        assert_eq!(bob.dav("PUT", new, &[], "x").await.status, 423, "{new}");
        let tagged = format!("</dav/common-files/dir> ({own})");
        assert_eq!(node.dav("PUT", new, &[("if", &tagged)], "x").await.status, 201, "{new}");
    }
    assert_eq!(bob.dav("MKCOL", "/dav/common-files/dir/folder", &[], Body::empty()).await.status, 423);
    assert_eq!(node.dav("MKCOL", "/dav/common-files/dir/folder", &[("if", &format!("({own})"))], Body::empty()).await.status, 201);
    let within = node.dav("LOCK", "/dav/common-files/dir/f.txt", &[("if", &format!("({own})"))], Body::empty()).await;
    assert!(
        within.text().contains("<D:href>/dav/common-files/dir/</D:href>")
            || within.text().contains("<D:href>/dav/common-files/dir</D:href>")
    );

    let path = "/dav/common-files/open/g.txt";
    let mine = token(&node.dav("LOCK", path, &[], SHARED).await);
    let bobs = token(&bob.dav("LOCK", path, &[], SHARED).await);
    assert_eq!(bob.dav("LOCK", path, &[], EXCLUSIVE).await.status, 423);
    assert_eq!(node.dav("PUT", path, &[("if", &format!("({mine})"))], "1").await.status, 204);
    assert_eq!(bob.dav("PUT", path, &[("if", &format!("({bobs})"))], "2").await.status, 204);
    assert_eq!(bob.dav("PUT", path, &[], "3").await.status, 423);

    let listed = node.dav("PROPFIND", "/dav/common-files/open", &[("depth", "1")], Body::empty()).await;
    assert_eq!(listed.text().matches("<D:activelock>").count(), 2, "{}", listed.text());
    assert!(
        listed.text().contains(mine.trim_matches(['<', '>'])) && !listed.text().contains(bobs.trim_matches(['<', '>'])),
        "only one's own tokens"
    );
    assert!(listed.text().contains("DAV:no-lock") && listed.text().contains("<D:supportedlock>"), "{}", listed.text());
    let wanted = "<propfind xmlns=\"DAV:\"><prop><lockdiscovery/></prop></propfind>";
    let members = bob.dav("PROPFIND", "/dav/common-files/dir", &[("depth", "1")], wanted).await;
    // The folder itself and each of its four members.
    assert_eq!(members.text().matches("mailto:admin@example.org").count(), 5, "{}", members.text());
    let above = bob.dav("PROPFIND", "/dav/common-files", &[("depth", "1")], wanted).await;
    assert_eq!(above.text().matches("<D:activelock>").count(), 1, "{}", above.text());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_if_header_is_decided_with_the_change() {
    let node = Node::start().await;
    let path = "/dav/common-files/f.txt";
    let first = put(&node, path, "one").await;
    let second = put(&node, path, "two").await;
    let put_if = async |value: String| node.dav("PUT", path, &[("if", value.as_str())], "x").await.status.as_u16();
    assert_eq!(put_if(format!("([{first}])")).await, 412, "a stale entity tag");
    assert_eq!(put_if(format!("(Not [{second}])")).await, 412);
    assert_eq!(put_if(format!("([W/{second}])")).await, 412, "a weak one never matches");
    assert_eq!(put_if(format!("([{first}]) ([{second}] Not <DAV:no-lock>)")).await, 204, "one list is enough");
    assert_eq!(put_if("(<opaquelocktoken:01234567-89ab-cdef-0123-456789abcdef>)".to_owned()).await, 412);
    assert_eq!(put_if("<http://elsewhere/dav/common-files/f.txt> ([\"x\"])".to_owned()).await, 412);
    assert_eq!(put_if("([\"x\"".to_owned()).await, 400);
    let stale = format!("([{first}])");
    for method in ["GET", "HEAD", "PROPFIND", "DELETE", "PROPPATCH"] {
        let answer =
            node.dav(method, path, &[("if", &stale), ("depth", if method == "PROPFIND" { "0" } else { "infinity" })], Body::empty()).await;
        assert_eq!(answer.status, 412, "{method}: {}", answer.text());
    }
    assert_eq!(node.dav("MKCOL", "/dav/common-files/new", &[("if", "(<DAV:no-lock>)")], Body::empty()).await.status, 412);
    assert_eq!(node.dav("GET", path, &[("if", "(Not <DAV:no-lock>)")], Body::empty()).await.status, 200);
    assert_eq!(node.dav("PROPFIND", "/dav", &[("if", &stale), ("depth", "0")], Body::empty()).await.status, 412);
    let moved = [("destination", "/dav/common-files/g.txt"), ("if", stale.as_str())];
    assert_eq!(node.dav("MOVE", path, &moved, Body::empty()).await.status, 412);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_tree_goes_only_with_its_tokens_and_its_locks_stay_behind() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    assert_eq!(node.dav("MKCOL", "/dav/common-files/dir", &[], Body::empty()).await.status, 201);
    put(&node, "/dav/common-files/dir/f.txt", "f").await;
    let own = token(&node.dav("LOCK", "/dav/common-files/dir/f.txt", &[], EXCLUSIVE).await);
    let to = ("destination", "/dav/common-files/moved");
    assert_eq!(bob.dav("MOVE", "/dav/common-files/dir", &[to], Body::empty()).await.status, 423);
    assert_eq!(bob.dav("COPY", "/dav/common-files/dir", &[to], Body::empty()).await.status, 201, "what is locked may be copied");
    assert_eq!(bob.dav("DELETE", "/dav/common-files/dir", &[], Body::empty()).await.status, 423);
    let onto = ("destination", "/dav/common-files/dir/f.txt");
    assert_eq!(bob.dav("COPY", "/dav/common-files/moved/f.txt", &[onto], Body::empty()).await.status, 423);
    let tagged = format!("</dav/common-files/dir/f.txt> ({own})");
    assert_eq!(node.dav("MOVE", "/dav/common-files/dir", &[to, ("if", &tagged)], Body::empty()).await.status, 204);
    assert_eq!(bob.dav("PUT", "/dav/common-files/moved/f.txt", &[], "bob's").await.status, 204, "a lock does not move");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_is_told_and_a_late_writer_is_refused() {
    let node = Node::start().await;
    let path = "/dav/common-files/f.txt";
    put(&node, path, "one").await;
    let locked = node.dav("LOCK", path, &[("timeout", "Second-1")], EXCLUSIVE).await;
    let (token, fence) = (token(&locked), locked.header("x-skep-fence").to_owned());
    let fenced = [("x-skep-lock-token", token.as_str()), ("x-skep-fence", fence.as_str())];
    assert_eq!(node.dav("PUT", path, &fenced, "in time").await.status, 204);
    assert_eq!(node.dav("GET", path, &fenced, Body::empty()).await.status, 200, "reading rests on no fence");
    // Whoever waits for the end learns of it by the refusal.
    let mut late = node.dav("PUT", path, &fenced, "still in time").await;
    for _ in 0..200 {
        if !late.status.is_success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        late = node.dav("PUT", path, &fenced, "still in time").await;
    }
    assert_eq!(late.status, 412, "nobody took the lock, and still: {}", late.text());
    assert!(late.text().contains("Lock lost"), "{}", late.text());
    assert_eq!(node.dav("PUT", path, &[("x-skep-fence", "none")], "x").await.status, 400);
    assert_eq!(node.dav("PUT", path, &[], "free").await.status, 204);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_lock_is_met_by_webdav_and_locks_are_listed_and_broken() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    let path = "/dav/common-files/f.txt";
    put(&node, path, "one").await;
    let view = node.metadata.system(Instant::now() + Duration::from_secs(4)).await.expect("a view");
    let id = view.user_by_login("bob").expect("readable").expect("bob is there").id;
    let lock = SetLock {
        path: Some(EntryPath { base: vec![0; 16].into(), names: vec!["f.txt".to_owned()] }),
        token: vec![9; 16].into(),
        lifetime_seconds: 600,
        kind: LockKind::Content.into(),
        ..SetLock::default()
    };
    let what = command::What::Tree(TreeCommand { what: Some(tree_command::What::SetLock(lock)) });
    let command = Command { actor: Some(Actor { user: id, login: "bob".to_owned() }), what: Some(what), ..Command::default() };
    node.metadata.propose(GroupId(1), command, Instant::now() + Duration::from_secs(4)).await.expect("the lock is taken");
    assert_eq!(node.dav("PUT", path, &[], "x").await.status, 423);
    assert_eq!(bob.dav("PUT", path, &[], "bob's").await.status, 204, "its holder passes without a token");

    let token = node.token().await;
    put(&node, "/dav/common-files/free.txt", "x").await;
    let listed = node.rest(&token, ("GET", "/a/skep/locks/common-files?below=true"), &Value::Null).await.json();
    let lock = &listed["Locks"][0];
    assert_eq!(
        (&lock["Owner"], &lock["Kind"], &lock["Path"]),
        (&json!("bob"), &json!("content"), &json!("common-files/f.txt")),
        "{listed}"
    );
    assert!(lock.get("Token").is_none(), "{listed}");
    let none = node.rest(&token, ("GET", "/a/skep/locks/common-files"), &Value::Null).await.json();
    assert_eq!(none["Locks"], json!([]));
    let bobs = json!({"AuthInfo": {"type": "credentials", "login": "bob", "password": PASSWORD}});
    let bobs = node.rest("none", ("POST", "/a/frontend/session"), &bobs).await.json()["JWT"].as_str().expect("a token").to_owned();
    assert_eq!(node.rest(&bobs, ("DELETE", "/a/skep/locks/common-files/f.txt"), &Value::Null).await.status, 403);
    let broken = node.rest(&token, ("DELETE", "/a/skep/locks/common-files/f.txt"), &Value::Null).await;
    assert_eq!((broken.status.as_u16(), &broken.json()["Broken"]), (200, &json!("1")));
    assert_eq!(node.dav("PUT", path, &[], "x").await.status, 204);
    node.stop().await;
}

/// Waits until a job is queued.
async fn queued(node: &Node) {
    let filter = JobFilter { states: vec![JobState::Queued], ..JobFilter::default() };
    node.eventually("a queued job", async || !node.metadata.system_stale().jobs(&filter).expect("the jobs are read").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_the_last_command_of_a_job_is_what_its_request_is_answered() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    let (own, common) = ("/dav/personal-files/f.txt", "/dav/common-files/f.txt");
    put(&node, own, "new").await;
    let onto = [("destination", common)];
    // All holds when the job is queued; then somebody locks or changes the target, before the job puts anything there.
    for method in ["COPY", "MOVE"] {
        put(&node, common, "old").await;
        let between = async {
            queued(&node).await;
            (token(&bob.dav("LOCK", common, &[], EXCLUSIVE).await), node.work())
        };
        let (refused, (lock, worker)) = tokio::join!(node.dav(method, own, &onto, Body::empty()), between);
        assert_eq!(refused.status, 423, "{method}: {}", refused.text());
        worker.stop().await;
        assert_eq!(bob.dav("UNLOCK", common, &[("lock-token", &lock)], Body::empty()).await.status, 204);
        assert_eq!(node.dav("GET", common, &[], Body::empty()).await.text(), "old", "nothing gave way");

        let list = format!("<{common}> ([{}])", put(&node, common, "older").await);
        let between = async {
            queued(&node).await;
            put(&node, common, "changed").await;
            node.work()
        };
        let only_if = [("destination", common), ("if", list.as_str())];
        let (refused, worker) = tokio::join!(node.dav(method, own, &only_if, Body::empty()), between);
        assert_eq!(refused.status, 412, "{method}: {}", refused.text());
        worker.stop().await;
        assert_eq!(node.dav("GET", common, &[], Body::empty()).await.text(), "changed", "nothing gave way");
        assert_eq!(node.dav("GET", own, &[], Body::empty()).await.text(), "new", "and nothing left");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_or_move_by_a_job_meets_locks_and_conditions_and_replaces_at_once() {
    let node = Node::start().await;
    let bob = Bob::new(&node).await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(node.app.service().clone(), NodeId(1)).run(stop.clone()));
    let (own, common) = ("/dav/personal-files/f.txt", "/dav/common-files/f.txt");
    let etag = put(&node, own, "new").await;
    let old = put(&node, common, "old").await;
    let onto = ("destination", common);
    let stale = [onto, ("if-match", "\"other\"")];
    assert_eq!(node.dav("COPY", own, &stale, Body::empty()).await.status, 412);
    assert_eq!(node.dav("COPY", own, &[onto, ("overwrite", "F")], Body::empty()).await.status, 412);
    let bobs = token(&bob.dav("LOCK", common, &[], EXCLUSIVE).await);
    for method in ["COPY", "MOVE"] {
        let refused = node.dav(method, own, &[onto], Body::empty()).await;
        assert_eq!(refused.status, 423, "{method}: {}", refused.text());
    }
    assert_eq!(node.dav("GET", common, &[], Body::empty()).await.text(), "old", "nothing gave way");
    assert_eq!(bob.dav("UNLOCK", common, &[("lock-token", &bobs)], Body::empty()).await.status, 204);

    let mine = token(&node.dav("LOCK", common, &[], EXCLUSIVE).await);
    assert_eq!(node.dav("COPY", own, &[onto], Body::empty()).await.status, 423);
    let fenced = [onto, ("x-skep-lock-token", mine.as_str()), ("x-skep-fence", "1")];
    assert_eq!(node.dav("COPY", own, &fenced, Body::empty()).await.status, 400, "a fence is of one datasource");
    let wrong = format!("<{common}> ({mine} [\"other\"])");
    assert_eq!(node.dav("COPY", own, &[onto, ("if", &wrong)], Body::empty()).await.status, 412);
    let right = format!("<{common}> ({mine} [{old}])");
    let copied = node.dav("COPY", own, &[onto, ("if", &right), ("if-match", &etag)], Body::empty()).await;
    assert_eq!(copied.status, 204, "{}", copied.text());
    assert_eq!(node.dav("GET", common, &[], Body::empty()).await.text(), "new");
    assert_eq!(node.dav("GET", "/dav/common-files/recycle_bin/f.txt", &[], Body::empty()).await.text(), "old", "what gave way");

    // A lock on what leaves: without its token it stays, with it goes.
    let leaving = token(&node.dav("LOCK", own, &[], EXCLUSIVE).await);
    let to = ("destination", "/dav/common-files/moved.txt");
    assert_eq!(node.dav("MOVE", own, &[to], Body::empty()).await.status, 423);
    let moved = node.dav("MOVE", own, &[to, ("if", &format!("({leaving})"))], Body::empty()).await;
    assert_eq!(moved.status, 201, "{}", moved.text());
    assert_eq!(node.dav("GET", own, &[], Body::empty()).await.status, 404);
    assert_eq!(node.dav("GET", "/dav/common-files/moved.txt", &[], Body::empty()).await.text(), "new");
    stop.cancel();
    worker.await.expect("the worker ends");
    node.stop().await;
}
