//! What people note at nodes: who sees it, who finds it, who may change it.

use axum::body::Body;
use serde_json::{Value, json};

use crate::harness::Node;

async fn uuid(node: &Node, token: &str, path: &str) -> String {
    node.stat(token, path).await["Uuid"].as_str().expect("an id").to_owned()
}

/// Notes values, or takes them away.
async fn update(node: &Node, token: &str, operation: &str, values: &[(&str, &str, &str)]) -> (u16, Value) {
    let values: Vec<Value> =
        values.iter().map(|(uuid, namespace, json)| json!({"NodeUuid": uuid, "Namespace": namespace, "JsonValue": json})).collect();
    let answer = node.rest(token, ("PUT", "/a/user-meta/update"), &json!({"MetaDatas": values, "Operation": operation})).await;
    (answer.status.as_u16(), answer.json())
}

/// The paths of what a search finds.
async fn found(node: &Node, token: &str, asked: Value) -> Vec<String> {
    let answer = node.rest(token, ("POST", "/a/user-meta/search"), &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let path = |meta: &Value| meta["ResolvedNode"]["Path"].as_str().expect("a path").to_owned();
    answer.json()["Metadatas"].as_array().expect("values").iter().map(path).collect()
}

async fn bookmarks(node: &Node, token: &str) -> Vec<String> {
    let answer = node.rest(token, ("POST", "/a/user-meta/bookmarks"), &json!({"All": true})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let nodes = body["Nodes"].as_array().expect("nodes");
    assert_eq!(body["Pagination"]["Total"].as_u64(), u64::try_from(nodes.len()).ok(), "{body}");
    nodes.iter().map(|node| node["Path"].as_str().expect("a path").to_owned()).collect()
}

async fn define(node: &Node, token: &str, namespace: Value) -> (u16, Value) {
    let answer = node.rest(token, ("PUT", "/a/user-meta/namespace"), &json!({"Namespaces": [namespace], "Operation": "PUT"})).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_found_by_its_exact_value_by_who_may_read_the_node() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    node.write("common-files/shared.txt", "x").await;
    node.write("common-files/other.txt", "x").await;
    node.write("personal-files/mine.txt", "x").await;
    let (shared, mine) = (uuid(&node, &token, "common-files/shared.txt").await, uuid(&node, &token, "personal-files/mine.txt").await);
    let other = uuid(&node, &token, "common-files/other.txt").await;
    let (status, done) =
        update(&node, &token, "PUT", &[(&shared, "usermeta-tags", "\"blue,red\""), (&other, "usermeta-tags", "\"blue\"")]).await;
    assert_eq!((status, &done["MetaDatas"][0]["JsonValue"]), (200, &json!("\"blue,red\"")), "{done}");
    assert_eq!(update(&node, &token, "PUT", &[(&mine, "usermeta-tags", "\"blue,red\"")]).await.0, 200);

    let exact = || json!({"Namespace": "usermeta-tags", "JsonValue": "\"blue,red\""});
    assert_eq!(found(&node, &token, exact()).await, ["common-files/shared.txt", "personal-files/mine.txt"]);
    assert_eq!(found(&node, &bobs, exact()).await, ["common-files/shared.txt"], "not what bob may not read");
    assert!(found(&node, &bobs, json!({"Namespace": "usermeta-tags", "JsonValue": "\"red\""})).await.is_empty(), "the exact value");
    assert_eq!(found(&node, &bobs, json!({"Namespace": "usermeta-tags"})).await.len(), 2);
    assert_eq!(found(&node, &bobs, json!({"NodeUuids": [shared], "Namespace": "usermeta-tags"})).await, ["common-files/shared.txt"]);
    assert_eq!(found(&node, &bobs, json!({"MetaUuids": [done["MetaDatas"][0]["Uuid"]]})).await, ["common-files/shared.txt"]);
    let hidden = node.rest(&bobs, ("POST", "/a/user-meta/search"), &json!({"NodeUuids": [mine]})).await;
    assert_eq!(hidden.status, 404, "{}", hidden.text());
    assert_eq!(update(&node, &bobs, "PUT", &[(&mine, "usermeta-tags", "\"x\"")]).await.0, 404);
    let searched = node.rest(&bobs, ("POST", "/a/user-meta/search"), &json!({"Namespace": "content_lock"})).await;
    assert_eq!(searched.status, 400, "what is not searchable is not silently empty: {}", searched.text());

    let bulk = json!({"NodePaths": ["common-files/*"], "AllMetaProviders": true});
    let listed = node.rest(&bobs, ("POST", "/a/meta/bulk/get"), &bulk).await.json();
    assert_eq!(listed["Nodes"][1]["MetaStore"]["usermeta-tags"], "\"blue,red\"", "{listed}");
    assert_eq!(update(&node, &bobs, "PUT", &[(&shared, "usermeta-tags", "")]).await.0, 200, "an empty value clears");
    assert_eq!(found(&node, &token, exact()).await, ["personal-files/mine.txt"]);
    assert_eq!(update(&node, &token, "DELETE", &[(&mine, "usermeta-tags", "")]).await.0, 200);
    assert!(found(&node, &token, exact()).await.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_noted_before_its_namespace_was_indexable_is_found_once_it_is() {
    let node = Node::start().await;
    let token = node.token().await;
    let everybody = json!([{"Subject": "*", "Action": "READ", "Effect": "allow"}, {"Subject": "*", "Action": "WRITE", "Effect": "allow"}]);
    let colour = |indexable| json!({"Namespace": "usermeta-colour", "Label": "Colour", "Indexable": indexable, "Policies": everybody});
    assert_eq!(define(&node, &token, colour(false)).await.0, 200);
    node.write("common-files/f", "x").await;
    let id = uuid(&node, &token, "common-files/f").await;
    assert_eq!(update(&node, &token, "PUT", &[(&id, "usermeta-colour", "\"blue\"")]).await.0, 200);
    let blue = || json!({"Namespace": "usermeta-colour", "JsonValue": "\"blue\""});
    let refused = node.rest(&token, ("POST", "/a/user-meta/search"), &blue()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(define(&node, &token, colour(true)).await.0, 200);
    node.eventually("the note to be indexed", async || found(&node, &token, blue()).await == ["common-files/f"]).await;
    assert_eq!(update(&node, &token, "PUT", &[(&id, "usermeta-colour", "\"red\"")]).await.0, 200);
    assert!(found(&node, &token, blue()).await.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_values_are_noted_all_or_none() {
    let node = Node::start().await;
    let token = node.token().await;
    node.write("common-files/a", "x").await;
    node.write("common-files/b", "x").await;
    node.write("personal-files/c", "x").await;
    let ids = [
        uuid(&node, &token, "common-files/a").await,
        uuid(&node, &token, "common-files/b").await,
        uuid(&node, &token, "personal-files/c").await,
    ];
    let stars = json!({"Namespace": "usermeta-stars", "Label": "Stars", "JsonDefinition": "{\"type\":\"stars_rate\"}"});
    assert_eq!(define(&node, &token, stars).await.0, 200);
    let (status, refused) = update(&node, &token, "PUT", &[(&ids[0], "usermeta-stars", "3"), (&ids[1], "usermeta-stars", "9")]).await;
    assert_eq!(status, 400, "{refused}");
    assert!(refused["Detail"].as_str().is_some_and(|why| why.contains("step 2") && why.contains("stars")), "{refused}");
    let across = update(&node, &token, "PUT", &[(&ids[0], "usermeta-stars", "3"), (&ids[2], "usermeta-stars", "3")]).await;
    assert_eq!((across.0, &across.1["Meta"]["code"]), (400, &json!("across-datasources")), "{across:?}");
    assert!(node.stat(&token, "common-files/a").await["MetaStore"].get("usermeta-stars").is_none(), "nothing was noted");
    assert_eq!(update(&node, &token, "PUT", &[(&ids[0], "usermeta-stars", "3"), (&ids[1], "usermeta-stars", "5")]).await.0, 200);
    assert_eq!(node.stat(&token, "common-files/b").await["MetaStore"]["usermeta-stars"], "5");
    assert_eq!(update(&node, &token, "PUT", &[(&ids[0], "usermeta-none", "1")]).await.0, 404, "a namespace that nobody defined");
    assert_eq!(update(&node, &token, "ADD", &[(&ids[0], "usermeta-stars", "1")]).await.0, 400);
    assert_eq!(update(&node, &token, "PUT", &[("no-id", "usermeta-stars", "1")]).await.0, 400);
    assert_eq!(update(&node, &token, "PUT", &[]).await.0, 400);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookmarks_are_their_users_and_end_with_the_node() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    node.write("common-files/a", "x").await;
    node.write("common-files/b", "x").await;
    let (a, b) = (uuid(&node, &token, "common-files/a").await, uuid(&node, &token, "common-files/b").await);
    assert_eq!(update(&node, &bobs, "PUT", &[(&a, "bookmark", "true"), (&b, "bookmark", "true")]).await.0, 200);
    assert_eq!(update(&node, &token, "PUT", &[(&b, "bookmark", "true")]).await.0, 200);
    assert_eq!((bookmarks(&node, &bobs).await.len(), bookmarks(&node, &token).await), (2, vec!["common-files/b".to_owned()]));
    assert_eq!(node.stat(&bobs, "common-files/a").await["MetaStore"]["bookmark"], "true");
    assert!(node.stat(&token, "common-files/a").await["MetaStore"].get("bookmark").is_none(), "nobody else sees it");
    let bulk = json!({"NodePaths": ["common-files/*"], "AllMetaProviders": true});
    let listed = node.rest(&bobs, ("POST", "/a/meta/bulk/get"), &bulk).await.json();
    assert_eq!(
        (&listed["Nodes"][0]["MetaStore"]["bookmark"], &listed["Nodes"][1]["MetaStore"]["bookmark"]),
        (&json!("true"), &json!("true"))
    );

    assert_eq!(update(&node, &bobs, "DELETE", &[(&a, "bookmark", "")]).await.0, 200);
    assert_eq!(bookmarks(&node, &bobs).await, ["common-files/b"]);
    assert_eq!(node.dav("DELETE", "/dav/common-files/b", &[], Body::empty()).await.status, 204);
    assert!(bookmarks(&node, &bobs).await.is_empty(), "what lies in the bin is not shown");
    let back = node.rest(&token, ("POST", "/a/tree/restore"), &json!({"Nodes": [{"Path": "common-files/recycle_bin/b"}]})).await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(bookmarks(&node, &bobs).await, ["common-files/b"]);
    let for_good = json!({"Nodes": [{"Path": "common-files/b"}], "RemovePermanently": true});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/delete"), &for_good).await.status, 200);
    assert!(bookmarks(&node, &bobs).await.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_of_a_namespace_decide_who_sees_and_who_changes() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    node.write("common-files/f", "x").await;
    let file = uuid(&node, &token, "common-files/f").await;
    let policy = |action: &str, subject: &str| json!({"Action": action, "Subject": subject, "Effect": "allow"});
    let shown = json!({
        "Namespace": "usermeta-state", "Label": "State", "Indexable": true,
        "JsonDefinition": "{\"type\":\"choice\",\"data\":{\"items\":[{\"key\":\"open\",\"value\":\"Open\"}]}}",
        "Policies": [policy("READ", "*"), policy("WRITE", "profile:admin")],
    });
    let secret =
        json!({"Namespace": "usermeta-secret", "Label": "Secret", "Indexable": true, "Policies": [policy("OWNER", "profile:admin")]});
    assert_eq!(define(&node, &bobs, shown.clone()).await.0, 403, "only administrators define");
    assert_eq!((define(&node, &token, shown).await.0, define(&node, &token, secret).await.0), (200, 200));
    for (namespace, json) in [("usermeta-state", "\"open\""), ("usermeta-secret", "{\"a\":1}")] {
        assert_eq!(update(&node, &token, "PUT", &[(&file, namespace, json)]).await.0, 200, "{namespace}");
    }
    assert_eq!(update(&node, &token, "PUT", &[(&file, "usermeta-state", "\"shut\"")]).await.0, 400, "none of the choices");

    let names = async |token: &str| -> Vec<String> {
        let listed = node.rest(token, ("GET", "/a/user-meta/namespace"), &Value::Null).await.json();
        listed["Namespaces"]
            .as_array()
            .expect("namespaces")
            .iter()
            .map(|one| one["Namespace"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert!(names(&token).await.contains(&"usermeta-secret".to_owned()) && names(&bobs).await.contains(&"usermeta-state".to_owned()));
    assert!(!names(&bobs).await.contains(&"usermeta-secret".to_owned()));
    let seen = node.stat(&bobs, "common-files/f").await["MetaStore"].clone();
    assert_eq!((&seen["usermeta-state"], seen.get("usermeta-secret")), (&json!("\"open\""), None));
    let listed =
        node.rest(&bobs, ("POST", "/a/meta/bulk/get"), &json!({"NodePaths": ["common-files/*"], "AllMetaProviders": true})).await.json();
    assert!(listed["Nodes"][0]["MetaStore"].get("usermeta-secret").is_none(), "{listed}");
    assert_eq!(found(&node, &bobs, json!({"NodeUuids": [file]})).await.len(), 1);
    let (status, refused) = update(&node, &bobs, "PUT", &[(&file, "usermeta-state", "\"open\"")]).await;
    assert_eq!((status, &refused["Meta"]["code"]), (403, &json!("forbidden")), "{refused}");
    assert_eq!(update(&node, &bobs, "PUT", &[(&file, "usermeta-secret", "1")]).await.0, 404, "as if it were not there");
    let searched = node.rest(&bobs, ("POST", "/a/user-meta/search"), &json!({"Namespace": "usermeta-secret"})).await;
    assert_eq!(searched.status, 404, "{}", searched.text());

    let drop = json!({"Namespaces": [{"Namespace": "usermeta-state"}], "Operation": "DELETE"});
    assert_eq!(node.rest(&token, ("PUT", "/a/user-meta/namespace"), &drop).await.status, 200);
    assert!(node.stat(&token, "common-files/f").await["MetaStore"].get("usermeta-state").is_none(), "what nothing defines is not shown");
    for bad in [json!({"Namespace": "bookmark"}), json!({"Namespace": "colour"}), json!({"Namespace": "usermeta-x", "JsonDefinition": "{"})]
    {
        let refused = define(&node, &token, bad.clone()).await;
        assert!(matches!(refused.0, 400 | 403), "{bad}: {refused:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_lock_taken_as_metadata_stops_others() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    node.write("common-files/f", "x").await;
    let file = uuid(&node, &token, "common-files/f").await;
    assert_eq!(update(&node, &bobs, "PUT", &[(&file, "content_lock", "\"bob\"")]).await.0, 200);
    assert_eq!(node.stat(&token, "common-files/f").await["MetaStore"]["content_lock"], "\"bob\"");
    assert_eq!(node.dav("PUT", "/dav/common-files/f", &[], "mine").await.status, 423);
    assert_eq!(update(&node, &token, "PUT", &[(&file, "usermeta-tags", "\"a\"")]).await.0, 423, "nor is it tagged");
    assert_eq!(update(&node, &token, "PUT", &[(&file, "content_lock", "\"admin\"")]).await.0, 423);
    assert_eq!(update(&node, &token, "DELETE", &[(&file, "content_lock", "")]).await.0, 423, "nobody else gives it back");
    assert_eq!(update(&node, &bobs, "PUT", &[(&file, "usermeta-tags", "\"b\"")]).await.0, 200, "its owner goes on");
    assert_eq!(update(&node, &bobs, "DELETE", &[(&file, "content_lock", "")]).await.0, 200);
    assert_eq!(node.dav("PUT", "/dav/common-files/f", &[], "mine").await.status, 204);
    assert!(node.stat(&token, "common-files/f").await["MetaStore"].get("content_lock").is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_tags_are_listed_added_and_forgotten() {
    let node = Node::start().await;
    let (token, bobs) = (node.token().await, node.session_of("bob").await);
    let tags = async || node.rest(&bobs, ("GET", "/a/user-meta/tags/usermeta-tags"), &Value::Null).await.json()["Tags"].clone();
    for tag in ["red", "blue", "two words"] {
        let added = node.rest(&bobs, ("POST", "/a/user-meta/tags/usermeta-tags"), &json!({"Tag": tag})).await;
        assert_eq!((added.status.as_u16(), &added.json()["Success"]), (200, &json!(true)), "{}", added.text());
    }
    assert_eq!(tags().await, json!(["blue", "red", "two words"]));
    for bad in ["", "a,b"] {
        assert_eq!(node.rest(&bobs, ("POST", "/a/user-meta/tags/usermeta-tags"), &json!({"Tag": bad})).await.status, 400, "{bad:?}");
    }
    assert_eq!(node.rest(&bobs, ("DELETE", "/a/user-meta/tags/usermeta-tags/red"), &Value::Null).await.status, 403);
    assert_eq!(node.rest(&token, ("DELETE", "/a/user-meta/tags/usermeta-tags/two%20words"), &Value::Null).await.status, 200);
    assert_eq!(tags().await, json!(["blue", "red"]));
    assert_eq!(node.rest(&token, ("DELETE", "/a/user-meta/tags/usermeta-tags/*"), &Value::Null).await.status, 200);
    assert_eq!(tags().await, json!([]));
    assert_eq!(node.rest(&bobs, ("GET", "/a/user-meta/tags/bookmark"), &Value::Null).await.status, 400, "no namespace of tags");
    assert_eq!(node.rest(&bobs, ("GET", "/a/user-meta/tags/usermeta-none"), &Value::Null).await.status, 404);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_note_what_they_like_but_not_under_the_servers_own_names() {
    let node = Node::start().await;
    let token = node.token().await;
    node.write("common-files/f", "x").await;
    let set = async |values: Value| node.rest(&token, ("POST", "/a/meta/set/common-files/f"), &json!({"Metadatas": values})).await;
    let done = set(json!([{"Namespace": "own", "JsonMeta": "{\"a\":[1]}"}, {"Namespace": "more", "JsonMeta": "true"}])).await;
    assert_eq!((done.status.as_u16(), &done.json()["MetaStore"]["own"]), (200, &json!("{\"a\":[1]}")), "{}", done.text());
    for reserved in ["pydio:recycle_restore", "skep:blake3", "name", "repository_id", "ws_root"] {
        let refused = set(json!([{"Namespace": "own", "JsonMeta": "1"}, {"Namespace": reserved, "JsonMeta": "\"x\""}])).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["Meta"]["code"]),
            (403, &json!("forbidden")),
            "{reserved}: {}",
            refused.text()
        );
    }
    assert_eq!(set(json!([{"Namespace": "own", "JsonMeta": "no json"}])).await.status, 400);
    let some = node.rest(&token, ("POST", "/a/meta/get/common-files/f"), &json!({"Namespace": ["own"]})).await.json();
    assert_eq!(
        (&some["MetaStore"]["own"], some["MetaStore"].get("more")),
        (&json!("{\"a\":[1]}"), None),
        "as it was before what was refused"
    );
    let gone = node.rest(&token, ("POST", "/a/meta/delete/common-files/f"), &json!({"Namespace": ["own"]})).await;
    assert_eq!((gone.status.as_u16(), gone.json()["MetaStore"].get("own")), (200, None), "{}", gone.text());
    assert_eq!(gone.json()["MetaStore"]["more"], "true");
    assert_eq!(node.rest(&token, ("POST", "/a/meta/get/common-files/none"), &json!({})).await.status, 404);
    node.stop().await;
}
