//! The REST face as `cec` and others use it.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::harness::{Node, PASSWORD};

fn paths(answer: &Value) -> Vec<String> {
    answer["Nodes"].as_array().expect("nodes").iter().map(|node| node["Path"].as_str().expect("a path").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_and_files_are_made_listed_in_pages_and_deleted() {
    let node = Node::start().await;
    let token = node.token().await;
    let root = node.rest(&token, ("POST", "/a/meta/bulk/get"), &json!({"NodePaths": ["", "/*"]})).await;
    assert_eq!(root.status, 200, "{}", root.text());
    assert_eq!(paths(&root.json()), ["", "common-files", "personal-files"]);
    assert_eq!(root.json()["Nodes"][1]["MetaStore"]["ws_scope"], "\"ADMIN\"");

    let wanted: Vec<Value> = (0..5).map(|number| json!({"Path": format!("common-files/d{number}"), "Type": "COLLECTION"})).collect();
    let made = node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": wanted})).await;
    assert_eq!((made.status.as_u16(), made.json()["Children"].as_array().map(Vec::len)), (200, Some(5)), "{}", made.text());
    let again = node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": [wanted[0]]})).await;
    assert_eq!((again.status.as_u16(), again.json()["Meta"]["code"].as_str()), (409, Some("already-exists")));
    let file = json!({"Nodes": [{"Path": "common-files/d0/n.txt", "Type": "LEAF", "MetaStore": {"Contents": "\"hello\""}}]});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/create"), &file).await.json()["Children"][0]["Size"], "5");

    let page = |offset: u64| json!({"NodePaths": ["common-files/*"], "Limit": 2, "Offset": offset});
    let first = node.rest(&token, ("POST", "/a/tree/stats"), &page(0)).await.json();
    assert_eq!(paths(&first), ["common-files/d0", "common-files/d1"]);
    assert_eq!(
        (&first["Pagination"]["Total"], &first["Pagination"]["NextOffset"], &first["Pagination"]["TotalPages"]),
        (&json!(5), &json!(2), &json!(3))
    );
    let second = node.rest(&token, ("POST", "/a/tree/stats"), &page(2)).await.json();
    assert_eq!(paths(&second), ["common-files/d2", "common-files/d3"]);
    // A name that came between makes the next page begin elsewhere.
    let between = json!({"Nodes": [{"Path": "common-files/d00", "Type": "COLLECTION"}]});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/create"), &between).await.status, 200);
    let moved = node.rest(&token, ("POST", "/a/tree/stats"), &page(2)).await.json();
    assert_eq!(
        (paths(&moved), &moved["Pagination"]["Total"]),
        (vec!["common-files/d1".to_owned(), "common-files/d2".to_owned()], &json!(6))
    );
    let files = json!({"NodePaths": ["common-files/*"], "Limit": 2, "Filters": {"type": "LEAF"}});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/stats"), &files).await.json()["Pagination"]["Total"], 0);
    let gone = json!({"Nodes": [{"Path": "common-files/d00"}], "RemovePermanently": true});
    assert_eq!(node.rest(&token, ("POST", "/a/tree/delete"), &gone).await.status, 200);
    let again = node.rest(&token, ("POST", "/a/tree/stats"), &page(2)).await.json();
    assert_eq!(
        (paths(&again), &again["Pagination"]["Total"]),
        (vec!["common-files/d2".to_owned(), "common-files/d3".to_owned()], &json!(5))
    );
    let end = node.rest(&token, ("POST", "/a/tree/stats"), &page(5)).await;
    assert_eq!((end.status.as_u16(), paths(&end.json()).len(), &end.json()["Pagination"]["Total"]), (200, 0, &json!(5)));
    let all = node.rest(&token, ("POST", "/a/meta/bulk/get"), &json!({"NodePaths": ["common-files", "common-files/*"]})).await.json();
    assert_eq!(paths(&all).len(), 6);
    let sorted = json!({"NodePaths": ["common-files/*"], "SortField": "name", "SortDirDesc": true, "Limit": 1});
    assert_eq!(paths(&node.rest(&token, ("POST", "/a/tree/stats"), &sorted).await.json()), ["common-files/d4"]);

    for path in ["/a/tree/stat/common-files%2Fd0%2Fn.txt", "/a/tree/stat/common-files/d0/n.txt", "/a/tree/stat/common-files/d0/n.txt/"] {
        let stat = node.rest(&token, ("GET", path), &Value::Null).await;
        assert_eq!((stat.status.as_u16(), &stat.json()["Node"]["Type"]), (200, &json!("LEAF")), "{path}: {}", stat.text());
    }
    let none = node.rest(&token, ("GET", "/a/tree/stat/common-files/none"), &Value::Null).await;
    assert_eq!((none.status.as_u16(), none.header("content-type"), &none.json()["Code"]), (404, "application/json", &json!("404")));

    let delete = json!({"Nodes": [{"Path": "common-files/d0"}], "RemovePermanently": true});
    let deleted = node.rest(&token, ("POST", "/a/tree/delete"), &delete).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert!(deleted.json()["DeleteJobs"][0]["Uuid"].as_str().is_some_and(|id| id.starts_with("delete-")), "{}", deleted.text());
    assert_eq!(node.rest(&token, ("GET", "/a/tree/stat/common-files/d0"), &Value::Null).await.status, 404);
    assert_eq!(node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": [wanted[0]]})).await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_folder_is_listed_whole_and_versions_are_shown() {
    let node = Node::start().await;
    let token = node.token().await;
    for batch in 0..3 {
        let nodes: Vec<Value> =
            (0..500).map(|number| json!({"Path": format!("common-files/big/{batch}-{number:03}"), "Type": "COLLECTION"})).collect();
        let made = node.rest(&token, ("POST", "/a/tree/create"), &json!({"Nodes": nodes, "Recursive": true})).await;
        assert_eq!(made.status, 200, "{}", made.text());
    }
    let all = node.rest(&token, ("POST", "/a/tree/stats"), &json!({"NodePaths": ["common-files/big/*"]})).await.json();
    assert_eq!((paths(&all).len(), &all["Pagination"]["Total"]), (1_500, &json!(1_500)));
    for text in ["one", "two!"] {
        assert!(node.dav("PUT", "/dav/common-files/v.txt", &[], text).await.status.is_success());
    }
    let versions =
        node.rest(&token, ("POST", "/a/tree/stats"), &json!({"NodePaths": ["common-files/v.txt"], "Versions": true})).await.json();
    assert_eq!((&versions["Nodes"][0]["Size"], &versions["Nodes"][1]["Size"]), (&json!("4"), &json!("3")));
    assert!(versions["Nodes"][0]["MetaStore"]["versionId"].is_string());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_tokens_and_rights_begin_and_end() {
    let node = Node::start().await;
    let token = node.token().await;
    let wrong = json!({"AuthInfo": {"type": "credentials", "login": "admin", "password": "wrong"}});
    let refused = node.rest("none", ("POST", "/a/frontend/session"), &wrong).await;
    assert_eq!((refused.status.as_u16(), refused.json()["Meta"]["code"].as_str()), (401, Some("unauthorized")));
    let malformed = json!({"AuthInfo": {"type": 7}});
    let named = node.rest("none", ("POST", "/a/frontend/session"), &malformed).await;
    assert_eq!(named.status, 400);
    assert!(named.json()["Detail"].as_str().is_some_and(|detail| detail.contains("AuthInfo.type")), "{}", named.text());

    let bob = json!({"Password": PASSWORD, "Attributes": {"displayName": "Bob"}});
    assert_eq!(node.rest(&token, ("PUT", "/a/user/bob"), &bob).await.json()["Login"], "bob");
    let session = json!({"AuthInfo": {"type": "credentials", "login": "bob", "password": PASSWORD}});
    let bobs = node.rest("none", ("POST", "/a/frontend/session"), &session).await.json()["JWT"].as_str().expect("a token").to_owned();
    assert_eq!(node.rest(&bobs, ("GET", "/a/skep/status"), &Value::Null).await.status, 403);
    assert_eq!(node.rest(&bobs, ("GET", "/a/user/admin"), &Value::Null).await.status, 404);
    assert_eq!(node.rest(&token, ("GET", "/a/skep/status"), &Value::Null).await.json()["nodes"][0]["name"], "n1");
    let state = node.rest(&bobs, ("GET", "/a/frontend/state"), &Value::Null).await;
    assert!(state.text().contains("<user id=\"bob\""), "{}", state.text());

    let personal = node.rest(&bobs, ("POST", "/a/auth/token/personal"), &json!({"Label": "laptop"})).await.json();
    let pat = personal["AccessToken"].as_str().expect("a token").to_owned();
    assert_eq!(node.rest(&pat, ("GET", "/a/user/bob"), &Value::Null).await.status, 200);
    let tokens = node.rest(&bobs, ("POST", "/a/auth/tokens"), &json!({})).await.json();
    assert_eq!(tokens["Tokens"][0]["Label"], "laptop");
    let id = tokens["Tokens"][0]["Uuid"].as_str().expect("an id").to_owned();
    assert_eq!(node.rest(&bobs, ("DELETE", &format!("/a/auth/tokens/{id}")), &Value::Null).await.status, 200);
    assert_eq!(node.rest(&pat, ("GET", "/a/user/bob"), &Value::Null).await.status, 401);

    let locked = json!({"Attributes": {"locks": "[\"logout\"]"}});
    assert_eq!(node.rest(&token, ("PUT", "/a/user/bob"), &locked).await.status, 200);
    assert_eq!(node.rest(&bobs, ("GET", "/a/user/bob"), &Value::Null).await.status, 401, "a disabled account is out at once");
    assert_eq!(node.rest(&token, ("POST", "/a/frontend/session"), &json!({"Logout": true})).await.status, 200);
    assert_eq!(node.rest(&token, ("GET", "/a/user/admin"), &Value::Null).await.status, 401);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_documents_and_unknown_paths_answer() {
    let node = Node::start().await;
    let get = async |path: &str| node.send(Request::builder().uri(path).body(Body::empty()).expect("a request")).await;
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/readyz").await.status, 200);
    assert!(get("/metrics").await.text().contains("# HELP"));
    assert!(get("/openapi.json").await.json()["paths"]["/a/tree/stats"].is_object());
    assert!(get("/a/config/discovery").await.json()["Endpoints"]["rest"].as_str().is_some_and(|url| url.ends_with("/a")));
    let unknown = get("/a/no/such/call").await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["Code"]), (404, &json!("404")));
    let method = get("/a/tree/stats").await;
    assert_eq!((method.status.as_u16(), &method.json()["Code"]), (405, &json!("405")));
    assert!(!get("/a/frontend/state").await.text().contains("<user"), "nobody is signed in");
    node.stop().await;
}
