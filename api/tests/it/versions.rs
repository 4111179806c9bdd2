//! The versions of a file by its id: listed, used again, described and deleted; and what is said of those that are not there.

use axum::body::Body;
use serde_json::{Value, json};

use crate::asking::now;
use crate::harness::Node;

/// A file with three versions; its id and theirs, newest first.
async fn three(node: &Node, token: &str) -> (String, Vec<String>) {
    for text in ["one", "two two", "three"] {
        node.write("common-files/v.txt", text).await;
    }
    let uuid = node.stat(token, "common-files/v.txt").await["Uuid"].as_str().expect("an id").to_owned();
    (uuid.clone(), ids(&list(node, token, &uuid).await))
}

async fn list(node: &Node, token: &str, uuid: &str) -> Value {
    let listed = node.rest(token, ("POST", &format!("/n/node/{uuid}/versions")), &json!({})).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["Versions"].clone()
}

fn ids(versions: &Value) -> Vec<String> {
    versions.as_array().expect("versions").iter().map(|version| version["VersionId"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_listed_used_described_and_deleted() {
    let node = Node::start().await;
    let token = node.token().await;
    let (uuid, versions) = three(&node, &token).await;
    let all = list(&node, &token, &uuid).await;
    assert_eq!(
        (&all[0]["Number"], &all[0]["IsHead"], &all[2]["Number"], &all[2]["Size"]),
        (&json!("3"), &json!(true), &json!("1"), &json!("3"))
    );
    assert_eq!((&all[0]["OwnerName"], all[0]["Blake3"].as_str().map(str::len)), (&json!("admin"), Some(64)));
    let paged = node.rest(&token, ("POST", &format!("/n/node/{uuid}/versions")), &json!({"Offset": 1, "Limit": 1})).await.json();
    assert_eq!(ids(&paged["Versions"]), versions[1..2]);
    let old = &versions[2];
    assert_eq!(node.read(&format!("common-files/v.txt?versionId={old}")).await, Ok("one".to_owned()));

    let of = |version: &str, more: &str| format!("/n/node/{uuid}/versions/{version}{more}");
    let described = node.rest(&token, ("PATCH", &of(old, "")), &json!({"Description": "the first"})).await;
    assert_eq!(
        (described.status.as_u16(), &described.json()["Version"]["Description"]),
        (200, &json!("the first")),
        "{}",
        described.text()
    );
    let promoted = node.rest(&token, ("POST", &of(old, "/promote")), &Value::Null).await;
    assert_eq!((promoted.status.as_u16(), &promoted.json()["Version"]["Number"]), (200, &json!("4")), "{}", promoted.text());
    assert_eq!(node.read("common-files/v.txt").await, Ok("one".to_owned()));
    let head = promoted.json()["Version"]["VersionId"].as_str().expect("an id").to_owned();
    assert_eq!(node.rest(&token, ("DELETE", &of(&head, "")), &Value::Null).await.status, 409, "the current one stays");
    assert_eq!(node.rest(&token, ("DELETE", &of(&versions[1], "")), &Value::Null).await.status, 200);
    assert_eq!(ids(&list(&node, &token, &uuid).await), [&head, &versions[0], old].map(String::clone));

    let stale = node.stat(&token, "common-files/v.txt").await["Etag"].as_str().expect("an ETag").to_owned();
    node.write("common-files/v.txt", "five").await;
    let condition = http::Request::builder()
        .method("POST")
        .uri(of(old, "/promote"))
        .header("authorization", format!("Bearer {token}"))
        .header("if-match", format!("\"{stale}\""))
        .body(Body::empty())
        .expect("a request");
    assert_eq!(node.send(condition).await.status, 412);
    assert_eq!(node.read("common-files/v.txt").await, Ok("five".to_owned()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_kept_is_told_from_what_never_was() {
    let node = Node::start().await;
    let token = node.token().await;
    let (uuid, versions) = three(&node, &token).await;
    let unknown = "01234567-89ab-cdef-0123-456789abcdef";
    let of = |version: &str| format!("/n/node/{uuid}/versions/{version}/promote");
    assert_eq!(node.read(&format!("common-files/v.txt?versionId={unknown}")).await, Err(404));
    assert_eq!(node.rest(&token, ("POST", &of(unknown)), &Value::Null).await.status, 404);
    assert_eq!(node.rest(&token, ("POST", &of("soon")), &Value::Null).await.status, 400);

    let then = now();
    node.write("common-files/v.txt", "four").await;
    let deleted = node.rest(&token, ("DELETE", &format!("/n/node/{uuid}/versions/{}", versions[0])), &Value::Null).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    for way in [format!("common-files/v.txt?versionId={}", versions[0]), format!("common-files@{then}/v.txt")] {
        let gone = node.dav("GET", &format!("/dav/{way}"), &[], Body::empty()).await;
        assert_eq!(gone.status, 410, "{way}: {}", gone.text());
        assert!(gone.text().contains("Keep all"), "the policy is named: {}", gone.text());
    }
    let promoted = node.rest(&token, ("POST", &of(&versions[0])), &Value::Null).await;
    assert_eq!(promoted.status, 410, "{}", promoted.text());
    assert!(promoted.json()["Detail"].as_str().is_some_and(|why| why.contains("Keep all")), "{}", promoted.text());
    let revert = json!({"Operations": [{"Type": "REVERT", "Path": "common-files/v.txt", "VersionId": versions[0]}]});
    let batch = node.rest(&token, ("POST", "/a/tree/batch"), &revert).await;
    assert_eq!(batch.status, 410, "{}", batch.text());
    assert!(batch.json()["Detail"].as_str().is_some_and(|why| why.contains("Keep all")), "{}", batch.text());

    let bobs = node.session_of("bob").await;
    node.write("personal-files/mine.txt", "x").await;
    let mine = node.stat(&token, "personal-files/mine.txt").await["Uuid"].as_str().expect("an id").to_owned();
    assert_eq!(node.rest(&bobs, ("POST", &format!("/n/node/{mine}/versions")), &json!({})).await.status, 404, "as if it were not there");
    node.stop().await;
}

/// A request with a key that makes it repeatable.
async fn repeatable(node: &Node, token: &str, (path, key): (&str, &str), body: &Value) -> (u16, Value) {
    let request = http::Request::builder()
        .method("POST")
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .expect("a request");
    let answer = node.send(request).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_done_once_and_answered_alike() {
    let node = Node::start().await;
    let token = node.token().await;
    let (uuid, versions) = three(&node, &token).await;
    let promote = format!("/n/node/{uuid}/versions/{}/promote", versions[2]);
    let (first, second) =
        (repeatable(&node, &token, (&promote, "k1"), &json!({})).await, repeatable(&node, &token, (&promote, "k1"), &json!({})).await);
    assert_eq!((first.0, &first.1["Version"]["VersionId"]), (second.0, &second.1["Version"]["VersionId"]), "{first:?}");
    assert_eq!((first.0, list(&node, &token, &uuid).await.as_array().map(Vec::len)), (200, Some(4)), "once");

    let folder = json!({"Nodes": [{"Path": "common-files/once", "Type": "COLLECTION"}]});
    let (made, again) = (
        repeatable(&node, &token, ("/a/tree/create", "k2"), &folder).await,
        repeatable(&node, &token, ("/a/tree/create", "k2"), &folder).await,
    );
    assert_eq!((made.0, &made.1["Children"][0]["Uuid"]), (again.0, &again.1["Children"][0]["Uuid"]), "{again:?}");
    assert_eq!(made.0, 200);
    let other = json!({"Nodes": [{"Path": "common-files/once", "Type": "COLLECTION", "MTime": "5"}]});
    let reused = repeatable(&node, &token, ("/a/tree/create", "k2"), &other).await;
    assert_eq!((reused.0, &reused.1["Meta"]["code"]), (422, &json!("idempotency-key-reused")), "{reused:?}");
    let new_key = repeatable(&node, &token, ("/a/tree/create", "k3"), &folder).await;
    assert_eq!(new_key.0, 409, "another request meets what is there");
    node.stop().await;
}
