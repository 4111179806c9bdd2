//! WebDAV from PROPFIND to MOVE, with the errors that clients decide on.

use std::sync::atomic::Ordering;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use md5::{Digest, Md5};

use crate::harness::Node;

fn large() -> Vec<u8> {
    (0..200_000_u32).map(|number| u8::try_from(number % 251).expect("below 256")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_written_read_in_parts_and_replaced() {
    let node = Node::start().await;
    let put = node.dav("PUT", "/dav/common-files/a%20b.bin", &[("x-oc-mtime", "1751000000")], large()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(put.header("x-oc-mtime"), "accepted");
    let etag = put.header("etag").to_owned();

    let got = node.dav("GET", "/dav/common-files/a%20b.bin", &[], Body::empty()).await;
    assert_eq!((got.status.as_u16(), got.body.as_ref() == large().as_slice()), (200, true));
    assert_eq!((got.header("etag"), got.header("accept-ranges")), (etag.as_str(), "bytes"));
    assert_eq!(got.header("last-modified"), "Fri, 27 Jun 2025 04:53:20 GMT");
    for (range, from, to) in
        [("bytes=0-9", 0, 10), ("bytes=65530-65545", 65_530, 65_546), ("bytes=-5", 199_995, 200_000), ("bytes=199990-", 199_990, 200_000)]
    {
        let part = node.dav("GET", "/dav/common-files/a%20b.bin", &[("range", range)], Body::empty()).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.body.as_ref(), large().get(from..to).expect("in the file"), "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/200000", to - 1));
    }
    let outside = node.dav("GET", "/dav/common-files/a%20b.bin", &[("range", "bytes=200000-")], Body::empty()).await;
    assert_eq!((outside.status.as_u16(), outside.header("content-range")), (416, "bytes */200000"));
    let stale = node.dav("GET", "/dav/common-files/a%20b.bin", &[("range", "bytes=0-9"), ("if-range", "\"other\"")], Body::empty()).await;
    assert_eq!((stale.status.as_u16(), stale.body.len()), (200, 200_000));
    let unchanged = node.dav("GET", "/dav/common-files/a%20b.bin", &[("if-none-match", &etag)], Body::empty()).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    let head = node.dav("HEAD", "/dav/common-files/a%20b.bin", &[], Body::empty()).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "200000"));

    let refused = node.dav("PUT", "/dav/common-files/a%20b.bin", &[("if-none-match", "*")], "x").await;
    assert_eq!(refused.status, 412, "{}", refused.text());
    let replaced = node.dav("PUT", "/dav/common-files/a%20b.bin", &[("if-match", &etag)], "small").await;
    assert_eq!(replaced.status, 204, "{}", replaced.text());
    let lost = node.dav("PUT", "/dav/common-files/a%20b.bin", &[("if-match", &etag)], "late").await;
    assert_eq!(lost.status, 412);
    let got = node.dav("GET", "/dav/common-files/a%20b.bin", &[("range", "bytes=1-2")], Body::empty()).await;
    assert_eq!((got.status.as_u16(), got.text()), (206, "ma".to_owned()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_or_wrong_body_leaves_no_entry() {
    let node = Node::start().await;
    let short = node.dav("PUT", "/dav/common-files/short", &[("content-length", "10")], "12345").await;
    assert_eq!(short.status, 400, "{}", short.text());
    let wrong = node.dav("PUT", "/dav/common-files/wrong", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], "12345").await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert_eq!(node.chunks.abandoned.load(Ordering::Relaxed), 1, "what was written is taken back");
    let orphan = node.dav("PUT", "/dav/common-files/none/file", &[], "x").await;
    assert_eq!(orphan.status, 409, "{}", orphan.text());
    for path in ["short", "wrong", "none"] {
        assert_eq!(node.dav("GET", &format!("/dav/common-files/{path}"), &[], Body::empty()).await.status, 404);
    }
    node.stop().await;
}

/// Of 5 bytes, which stay in the metadata, and of 70,000, which do not; as the fake chunks compute it, and as a client sends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_md5_that_a_client_sends_is_compared_and_kept() {
    let node = Node::start().await;
    let token = node.token().await;
    for (name, body) in [("small", b"12345".to_vec()), ("large", vec![b'x'; 70_000])] {
        let path = format!("/dav/common-files/{name}");
        let right: [u8; 16] = Md5::digest(&body).into();
        let put = node.dav("PUT", &path, &[("content-md5", &STANDARD.encode(right))], body.clone()).await;
        assert_eq!(put.status, 201, "{}", put.text());
        let mut wrong = right;
        wrong[15] ^= 1;
        let refused = node.dav("PUT", &path, &[("content-md5", &STANDARD.encode(wrong))], body.clone()).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        let got = node.dav("GET", &path, &[], Body::empty()).await;
        assert_eq!((got.status.as_u16(), got.body.as_ref()), (200, body.as_slice()), "the refused one changed nothing");
        let stat = node.rest(&token, ("GET", &format!("/a/tree/stat/common-files/{name}")), &serde_json::Value::Null).await.json();
        let path = format!("/n/node/{}/versions", stat["Node"]["Uuid"].as_str().expect("an id"));
        let versions = node.rest(&token, ("POST", &path), &serde_json::json!({})).await.json();
        let hex: String = right.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(versions["Versions"][0]["Md5"], hex, "the version knows it: {versions}");
        assert_eq!(versions["Versions"].as_array().map(Vec::len), Some(1), "and is the only one: {versions}");
    }
    assert_eq!(node.chunks.abandoned.load(Ordering::Relaxed), 2, "what was refused is taken back");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_are_made_listed_moved_copied_and_deleted() {
    let node = Node::start().await;
    assert_eq!(node.dav("MKCOL", "/dav/common-files/dir", &[], Body::empty()).await.status, 201);
    assert_eq!(node.dav("MKCOL", "/dav/common-files/dir", &[], Body::empty()).await.status, 405);
    assert_eq!(node.dav("MKCOL", "/dav/common-files/x/y", &[], Body::empty()).await.status, 409);
    assert_eq!(node.dav("PUT", "/dav/common-files/dir/f%C3%BC.txt", &[], "hello").await.status, 201);
    let listed = node.dav("PROPFIND", "/dav/common-files/dir/", &[("depth", "1")], Body::empty()).await;
    assert_eq!(listed.status, 207, "{}", listed.text());
    assert!(listed.text().contains("/dav/common-files/dir/f%C3%BC.txt"), "{}", listed.text());
    assert!(listed.text().contains("<D:getcontentlength>5</D:getcontentlength>"), "{}", listed.text());
    let roots = node.dav("PROPFIND", "/dav", &[("depth", "1")], Body::empty()).await;
    assert!(roots.text().contains("/dav/common-files/") && roots.text().contains("/dav/personal-files/"), "{}", roots.text());
    let itself = node.dav("PROPFIND", "/dav/common-files/dir/f%C3%BC.txt", &[("depth", "1")], Body::empty()).await;
    assert_eq!(itself.status, 207, "{}", itself.text());
    assert_eq!(node.dav("PROPFIND", "/dav/common-files/none", &[("depth", "1")], Body::empty()).await.status, 404);
    assert_eq!(node.dav("PROPFIND", "/dav/nowhere", &[("depth", "0")], Body::empty()).await.status, 404);

    let to = |path: &'static str| [("destination", path)];
    assert_eq!(node.dav("MOVE", "/dav/common-files/dir", &to("http://here/dav/common-files/moved"), Body::empty()).await.status, 201);
    assert_eq!(node.dav("COPY", "/dav/common-files/moved", &to("/dav/common-files/copied"), Body::empty()).await.status, 201);
    let kept = [("destination", "/dav/common-files/copied"), ("overwrite", "F")];
    assert_eq!(node.dav("COPY", "/dav/common-files/moved", &kept, Body::empty()).await.status, 412);
    assert_eq!(node.dav("COPY", "/dav/common-files/moved", &to("/dav/common-files/copied"), Body::empty()).await.status, 204);
    assert_eq!(node.dav("GET", "/dav/common-files/copied/f%C3%BC.txt", &[], Body::empty()).await.text(), "hello");
    assert_eq!(node.dav("MOVE", "/dav/common-files/moved", &to("/dav/common-files/moved/in"), Body::empty()).await.status, 403);
    assert_eq!(node.dav("MOVE", "/dav/common-files/moved", &to("/dav/common-files/a/b"), Body::empty()).await.status, 409);

    assert_eq!(node.dav("DELETE", "/dav/common-files/moved", &[], Body::empty()).await.status, 204);
    assert_eq!(node.dav("DELETE", "/dav/common-files/moved", &[], Body::empty()).await.status, 404);
    assert_eq!(node.dav("GET", "/dav/common-files/recycle_bin/moved/f%C3%BC.txt", &[], Body::empty()).await.text(), "hello");
    assert_eq!(node.dav("DELETE", "/dav/common-files", &[], Body::empty()).await.status, 403);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_served_is_refused_in_the_protocols_own_way() {
    let node = Node::start().await;
    let open = node.send(Request::builder().method("PROPFIND").uri("/dav/").body(Body::empty()).expect("a request")).await;
    assert_eq!((open.status.as_u16(), open.header("www-authenticate")), (401, "Basic realm=\"Skep\", charset=\"UTF-8\""));
    let infinite = node.dav("PROPFIND", "/dav/common-files", &[("depth", "infinity")], Body::empty()).await;
    assert_eq!(infinite.status, 403);
    assert!(infinite.text().contains("propfind-finite-depth"), "{}", infinite.text());
    let bomb = "<!DOCTYPE x [<!ENTITY a \"b\">]><propfind xmlns=\"DAV:\"><allprop/></propfind>";
    assert_eq!(node.dav("PROPFIND", "/dav/common-files", &[("depth", "0")], bomb).await.status, 400);
    assert_eq!(node.dav("PROPFIND", "/dav/common-files", &[("depth", "0")], vec![b' '; 100_000]).await.status, 413);
    let options = node.dav("OPTIONS", "/dav/common-files", &[], Body::empty()).await;
    assert_eq!((options.status.as_u16(), options.header("dav")), (200, "1, 2, 3"));
    let report = node.dav("REPORT", "/dav/common-files/x", &[], Body::empty()).await;
    assert_eq!((report.status.as_u16(), report.header("allow").contains("PROPFIND")), (405, true));
    assert_eq!(node.dav("GET", "/dav/common-files", &[], Body::empty()).await.status, 405);
    assert_eq!(node.dav("PUT", "/dav/common-files/x", &[("content-range", "bytes 0-1/2")], "ab").await.status, 400);

    assert_eq!(node.dav("PUT", "/dav/common-files/page.html", &[("content-type", "text/html")], "<script>").await.status, 201);
    let page = node.dav("GET", "/dav/common-files/page.html", &[], Body::empty()).await;
    assert!(page.header("content-disposition").starts_with("attachment"), "{:?}", page.headers);
    assert_eq!((page.header("x-content-type-options"), page.header("content-security-policy").contains("sandbox")), ("nosniff", true));
    assert!(!page.header("x-request-id").is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_folder_of_a_user_appears_at_first_use() {
    let node = Node::start().await;
    let listed = node.dav("PROPFIND", "/dav/personal-files", &[("depth", "1")], Body::empty()).await;
    assert_eq!(listed.status, 207, "{}", listed.text());
    assert_eq!(node.dav("PUT", "/dav/personal-files/mine.txt", &[], Bytes::from_static(b"mine")).await.status, 201);
    assert_eq!(node.dav("GET", "/dav/personal-files/mine.txt", &[], Body::empty()).await.text(), "mine");
    node.stop().await;
}
