//! The change feed: pages and streams, positions that hold and those that do not.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::Request;
use serde_json::{Value, json};
use skep_api::server::{Drained, ServerOptions, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, Node};

const LIMIT: Duration = Duration::from_secs(30);

async fn changes(node: &Node, token: &str, more: &str) -> Answer {
    node.rest(token, ("GET", &format!("/a/changes?workspace=common-files{more}")), &Value::Null).await
}

async fn position(node: &Node, token: &str) -> String {
    let told = changes(node, token, "").await;
    assert_eq!((told.status.as_u16(), told.json().get("Changes")), (200, None), "{}", told.text());
    told.json()["Position"].as_str().expect("a position").to_owned()
}

/// Type, where it was, where it is.
fn kinds(answer: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes = answer["Changes"].as_array().expect("changes");
    changes.iter().map(|change| (text(&change["Type"]), text(&change["Source"]["Path"]), text(&change["Target"]["Path"]))).collect()
}

async fn change_some(node: &Node) {
    for (method, path, headers, body) in [
        ("MKCOL", "/dav/common-files/d", vec![], ""),
        ("PUT", "/dav/common-files/d/f", vec![], "one"),
        ("PUT", "/dav/common-files/d/f", vec![], "two!"),
        ("MOVE", "/dav/common-files/d/f", vec![("destination", "/dav/common-files/g")], ""),
    ] {
        let done = node.dav(method, path, &headers, body).await;
        assert!(done.status.is_success(), "{method} {path}: {}", done.text());
    }
    let token = node.token().await;
    let delete = json!({"Nodes": [{"Path": "common-files/g"}], "RemovePermanently": true});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/delete"), &delete).await.status, 200, "the file goes for good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_once_in_order_in_pages_of_any_length() {
    let node = Node::start().await;
    let token = node.token().await;
    let begin = position(&node, &token).await;
    change_some(&node).await;
    let told = changes(&node, &token, &format!("&position={begin}")).await;
    let all = told.json();
    let expected = [
        ("CREATE", "", "common-files/d"),
        ("CREATE", "", "common-files/d/f"),
        ("UPDATE_CONTENT", "", "common-files/d/f"),
        ("UPDATE_PATH", "common-files/d/f", "common-files/g"),
        ("DELETE", "common-files/g", ""),
    ];
    assert_eq!(kinds(&all), expected.map(|(kind, from, to)| (kind.to_owned(), from.to_owned(), to.to_owned())), "{all}");
    assert_eq!(told.text().matches("\"Uuid\"").count(), expected.len(), "one id for each change: {all}");
    let file = &all["Changes"][2];
    assert_eq!((&file["Target"]["Size"], &file["Target"]["Type"]), (&json!("4"), &json!("LEAF")), "{file}");
    assert_eq!(file["Metadata"]["skep:login"], "admin");

    let (mut at, mut joined, mut pages) = (begin.clone(), Vec::new(), 0);
    loop {
        let page = changes(&node, &token, &format!("&position={at}&limit=2")).await.json();
        joined.extend(page["Changes"].as_array().expect("changes").clone());
        at = page["Position"].as_str().expect("a position").to_owned();
        pages += 1;
        if page["More"] == false {
            break;
        }
    }
    assert_eq!((pages, &Value::from(joined)), (3, &all["Changes"]), "nothing is missing and nothing comes twice");
    let end = changes(&node, &token, &format!("&position={at}")).await.json();
    assert_eq!((end["Changes"].as_array().map(Vec::len), end["Position"].as_str()), (Some(0), Some(at.as_str())));
    // A position of one change is as good as that of a page.
    let third = all["Changes"][2]["Position"].as_str().expect("a position");
    assert_eq!(kinds(&changes(&node, &token, &format!("&position={third}")).await.json()).len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_that_do_not_hold_are_refused_each_with_its_reason() {
    let node = Node::start().await;
    let token = node.token().await;
    let now = position(&node, &token).await;
    let (generation, rest) = now.split_once('.').expect("parts");
    let index: u64 = rest.split('.').next().and_then(|index| index.parse().ok()).expect("an index");
    for (bad, status) in [
        ("&position=x".to_owned(), 400),
        (format!("&position={generation}.{}.1", index + 1_000), 400),
        ("&position=99.1.1".to_owned(), 400),
        (format!("&position={now}&limit=1001"), 400),
        (format!("&position={now}&wait=61"), 400),
        (format!("&position={now}&wait=-1"), 400),
    ] {
        let refused = changes(&node, &token, &bad).await;
        assert_eq!(refused.status, status, "{bad}: {}", refused.text());
    }
    let gone = changes(&node, &token, "&position=0.5.1").await;
    assert_eq!((gone.status.as_u16(), gone.json()["Meta"]["code"].as_str()), (410, Some("outside-retention")), "{}", gone.text());
    let anew = gone.json()["Meta"]["position"].as_str().expect("a position").to_owned();
    assert_eq!(changes(&node, &token, &format!("&position={anew}")).await.status, 200);
    for (workspace, status) in [("none", 404), ("", 400), ("common-files/d", 400), ("common-files@2020-01-01T00:00:00Z", 400)] {
        let refused = node.rest(&token, ("GET", &format!("/a/changes?workspace={workspace}")), &Value::Null).await;
        assert_eq!(refused.status, status, "{workspace}: {}", refused.text());
    }
    assert_eq!(node.rest("none", ("GET", "/a/changes?workspace=common-files"), &Value::Null).await.status, 401);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_request_is_answered_by_the_next_change() {
    let node = Node::start().await;
    let token = node.token().await;
    let begin = position(&node, &token).await;
    let asked = format!("&position={begin}&wait=1");
    let nothing = changes(&node, &token, &asked).await.json();
    assert_eq!(nothing["Changes"].as_array().map(Vec::len), Some(0), "nothing happened: {nothing}");
    let at = nothing["Position"].as_str().expect("a position").to_owned();
    let begun = Instant::now();
    let asked = format!("&position={at}&wait=60");
    let (told, made) = tokio::join!(changes(&node, &token, &asked), node.dav("PUT", "/dav/common-files/new", &[], "x"));
    assert!(made.status.is_success());
    assert_eq!(kinds(&told.json()), [("CREATE".to_owned(), String::new(), "common-files/new".to_owned())]);
    assert!(begun.elapsed() < LIMIT, "it did not wait for its end");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_are_told_to_who_may_read_them() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    node.write("common-files/f", "x").await;
    let begin = position(&node, &token).await;
    let policy = json!({"Subject": "profile:admin", "Action": "OWNER", "Effect": "allow"});
    let secret = json!({"Namespace": "usermeta-secret", "Label": "Secret", "Policies": [policy]});
    let defined = json!({"Namespaces": [secret], "Operation": "PUT"});
    let defined = node.rest(&token, ("PUT", "/a/user-meta/namespace"), &defined).await;
    assert_eq!(defined.status, 200, "{}", defined.text());
    let entry = node.stat(&token, "common-files/f").await["Uuid"].clone();
    for (namespace, value) in [("usermeta-secret", "\"x\""), ("usermeta-tags", "\"blue\"")] {
        let note = json!({"MetaDatas": [{"NodeUuid": entry, "Namespace": namespace, "JsonValue": value}], "Operation": "PUT"});
        let noted = node.rest(&token, ("PUT", "/a/user-meta/update"), &note).await;
        assert_eq!(noted.status, 200, "{}", noted.text());
    }
    for (token, seen) in [(&token, vec!["usermeta-secret", "usermeta-tags"]), (&bobs, vec!["usermeta-tags"])] {
        let told = changes(&node, token, &format!("&position={begin}")).await.json();
        let noted = told["Changes"].as_array().expect("changes").iter().filter(|change| change["Type"] == "UPDATE_USER_META");
        let namespaces: Vec<&str> = noted.map(|change| change["Metadata"]["skep:namespace"].as_str().unwrap_or_default()).collect();
        assert_eq!(namespaces, seen, "{told}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookmarks_are_told_to_their_owner_and_changes_of_a_workspaces_root_to_who_follows_it() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    node.mkdir("common-files/d").await;
    let entry = node.stat(&token, "common-files/d").await["Uuid"].clone();
    node.workspace_of("team", entry.as_str().expect("an id")).await;
    let begin = position(&node, &token).await;
    let etag = node.stat(&token, "common-files/d").await["Etag"].clone();
    for operation in ["PUT", "DELETE"] {
        let mark = json!({"MetaDatas": [{"NodeUuid": entry, "Namespace": "bookmark", "JsonValue": "true"}], "Operation": operation});
        let marked = node.rest(&bobs, ("PUT", "/a/user-meta/update"), &mark).await;
        assert_eq!(marked.status, 200, "{}", marked.text());
    }
    assert_eq!(node.stat(&token, "common-files/d").await["Etag"], etag, "for others nothing has changed");
    let noted = json!({"Metadatas": [{"Namespace": "usermeta-tags", "JsonMeta": "\"blue\""}]});
    assert_eq!(node.rest(&token, ("POST", "/a/meta/set/common-files/d"), &noted).await.status, 200);
    for (token, seen) in [(&token, vec!["usermeta-tags"]), (&bobs, vec!["bookmark", "bookmark", "usermeta-tags"])] {
        let told = changes(&node, token, &format!("&position={begin}")).await.json();
        let all = told["Changes"].as_array().expect("changes");
        let namespaces: Vec<&str> = all.iter().map(|change| change["Metadata"]["skep:namespace"].as_str().unwrap_or_default()).collect();
        assert_eq!(namespaces, seen, "{told}");
        assert!(all.iter().all(|change| change["Type"] == "UPDATE_USER_META"), "{told}");
    }
    let told = node.rest(&token, ("GET", &format!("/a/changes?workspace=team&position={begin}")), &Value::Null).await.json();
    assert_eq!(kinds(&told), [("UPDATE_USER_META".to_owned(), String::new(), "team".to_owned())], "{told}");
    assert_eq!(told["Changes"][0]["Target"]["Type"], "COLLECTION", "{told}");
    node.stop().await;
}

/// Events of a stream: name, id, data.
struct Events {
    body: BodyDataStream,
    read: String,
}

impl Events {
    async fn open(node: &Node, token: &str, (query, last): (&str, Option<&str>)) -> Self {
        let request = Request::builder().uri(format!("/a/changes?workspace=common-files{query}")).header("accept", "text/event-stream");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = if let Some(last) = last { request.header("last-event-id", last) } else { request };
        let response = node.open(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "it is what was asked for");
        Self { body: response.into_body().into_data_stream(), read: String::new() }
    }

    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let rest = self.read.split_off(end + 2);
                let event = std::mem::replace(&mut self.read, rest);
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                    line.trim_start_matches(": ").to_owned()
                };
                let data = serde_json::from_str(&field("data")).unwrap_or_else(|error| panic!("{error}: {event}"));
                return (field("event"), field("id"), data);
            }
            let piece = timeout(LIMIT, self.body.next()).await.expect("an event in time").expect("the stream goes on").expect("bytes");
            self.read += std::str::from_utf8(&piece).expect("events are UTF-8");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_where_its_client_was() {
    let node = Node::start().await;
    let token = node.token().await;
    let mut events = Events::open(&node, &token, ("", None)).await;
    let (kind, begin, _) = events.next().await;
    assert_eq!(kind, "position");
    change_some(&node).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(events.next().await);
    }
    drop(events);
    let mut events = Events::open(&node, &token, ("&position=x", Some(&told[2].1))).await;
    assert_eq!(events.next().await.1, told[2].1, "it stands where its client was, whatever the address says");
    for _ in 0..2 {
        told.push(events.next().await);
    }
    let page = changes(&node, &token, &format!("&position={begin}")).await.json();
    let streamed: Vec<Value> = told.iter().map(|(_, _, data)| data.clone()).collect();
    assert_eq!(Value::from(streamed), page["Changes"]);
    assert!(told.iter().all(|(kind, id, data)| kind == "change" && data["Position"] == id.as_str()), "{told:?}");
    let mut events = Events::open(&node, &token, ("&position=0.1.1", None)).await;
    assert_eq!(events.next().await.0, "position");
    assert_eq!(events.next().await.0, "anew");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_do_not_hold_up_a_stop() {
    let node = Node::start().await;
    let token = node.token().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let stop = CancellationToken::new();
    let options = ServerOptions { drain_wait: Duration::from_secs(60), ..ServerOptions::default() };
    let server = tokio::spawn(serve(options, listener, None, node.app.clone(), stop.clone()));
    let begin = position(&node, &token).await;
    let mut clients = Vec::new();
    for (query, accept, sign) in [("", "text/event-stream", "event: position"), (&format!("&position={begin}&wait=60"), "*/*", "")] {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let head = format!(
            "GET /a/changes?workspace=common-files{query} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {token}\r\naccept: {accept}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.expect("sent");
        let mut got = String::new();
        while !got.contains(sign) {
            let mut piece = [0; 1_024];
            let length = timeout(LIMIT, client.read(&mut piece)).await.expect("in time").expect("read");
            got += std::str::from_utf8(&piece[..length]).expect("text");
        }
        clients.push(client);
    }
    let begun = Instant::now();
    stop.cancel();
    assert_eq!(server.await.expect("the server ends"), Drained::All);
    assert!(begun.elapsed() < LIMIT, "it waited for clients that wait");
    let mut rest = String::new();
    clients[0].read_to_string(&mut rest).await.expect("the stream is ended, not cut");
    node.stop().await;
}
