//! The table of calls in `/openapi.json` and the routes that serve them are the same.
//!
//! The routes are read from the source of the REST face, where each stands in a `.route(path, methods)`: a router does not tell what it serves.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::harness::Node;

/// Other names of calls that are described under their first one: method, path, and whose they are.
const ALIASES: [(&str, &str, &str); 2] = [
    ("get", "/a/tree/stat", "of /a/tree/stat/, as clients leave the slash out"),
    ("post", "/a/jobs/user/{}", "of PUT, as some clients post jobs"),
];
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];
/// The REST face is nested under these.
const PREFIXES: [&str; 2] = ["/a", "/n"];

/// A path with every parameter as `{}`.
fn plain(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') && part.ends_with('}') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// What stands between a parenthesis that was opened before `text` and the one that closes it.
fn inside(text: &str) -> &str {
    let mut depth = 1;
    for (place, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _other => {}
        }
        if depth == 0 {
            return &text[..place];
        }
    }
    text
}

/// The methods that a `.route` names: words before a parenthesis.
fn methods(handlers: &str) -> Vec<&'static str> {
    let begins_word = |at: usize| !handlers[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    let named = |method: &&'static str| {
        let call = format!("{method}(");
        handlers.match_indices(&call).any(|(at, _)| begins_word(at))
    };
    METHODS.into_iter().filter(named).collect()
}

/// Every (method, path) in a source.
fn routes_of(source: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for route in source.split(".route(").skip(1) {
        let route = inside(route);
        let Some((_before, path)) = route.split_once('"') else { panic!("a route whose path is no literal: {route}") };
        let Some((path, handlers)) = path.split_once('"') else { panic!("a path without an end: {route}") };
        let methods = methods(handlers);
        assert!(!methods.is_empty(), "{path}: a route without a method that is known: {handlers}");
        found.extend(methods.into_iter().map(|method| (method, plain(path))));
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

fn served() -> BTreeSet<(&'static str, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = vec![std::fs::read_to_string(source.join("rest.rs")).expect("the REST face is there")];
    sources(&source.join("rest"), &mut texts);
    texts.iter().flat_map(|text| routes_of(text)).collect()
}

fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").keys().filter(|method| METHODS.contains(&method.as_str()));
        methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

async fn document(node: &Node) -> Value {
    node.send(Request::builder().uri("/openapi.json").body(Body::empty()).expect("a request")).await.json()
}

#[test]
fn routes_are_read_from_sources() {
    let source = r#"Router::new().route("/a/{x}", axum::routing::delete(delete).patch(y::describe))
        .route(
            "/b/{*path}",
            get(get_it).post(y::post),
        )"#;
    let found = routes_of(source);
    assert_eq!(found, [("delete", "/a/{}"), ("patch", "/a/{}"), ("get", "/b/{}"), ("post", "/b/{}")].map(|(m, p)| (m, p.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described() {
    let node = Node::start().await;
    let described: BTreeSet<(String, String)> =
        described(&document(&node).await).into_iter().map(|(method, path)| (method, plain(&path))).collect();
    let served = served();
    assert!(served.len() > 20, "the test looks at something: {served:?}");
    let is_described = |method: &str, path: &str| {
        let is_alias = ALIASES.iter().any(|(aliased, alias, _)| (*aliased, *alias) == (method, path));
        is_alias || described.contains(&(method.to_owned(), path.to_owned()))
    };
    let is_missing = |(method, path): &&(&str, String)| !PREFIXES.iter().any(|prefix| is_described(method, &format!("{prefix}{path}")));
    let missing: Vec<_> = served.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "name these in api/src/openapi.rs: {missing:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_is_described_is_served() {
    let node = Node::start().await;
    let token = node.token().await;
    let calls = described(&document(&node).await);
    assert!(calls.len() > 20, "the test looks at something: {calls:?}");
    for (method, path) in calls {
        let address = plain(&path).replace("{}", "x");
        let body = if method == "get" || method == "head" { Value::Null } else { json!({}) };
        let verb = method.to_uppercase();
        let asked = node.rest(&token, (&verb, &address), &body);
        // What goes on answering is served.
        let Ok(answer) = tokio::time::timeout(Duration::from_secs(10), asked).await else { continue };
        assert_ne!(answer.status, 405, "{method} {path}: {}", answer.text());
        assert!(!answer.text().contains("no such call"), "{method} {path}: {}", answer.text());
    }
    node.stop().await;
}
