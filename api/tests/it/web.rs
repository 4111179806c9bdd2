//! The web page: sign in, make, upload, download, delete, sign out.

use axum::body::Body;
use http::Request;

use crate::harness::{Answer, Node, PASSWORD};

const FORM: &str = "application/x-www-form-urlencoded";

async fn send(node: &Node, (method, path): (&str, &str), (cookie, kind): (&str, &str), body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(path).header("cookie", cookie).header("content-type", kind).header("host", "here");
    node.send(request.body(body.into()).expect("a request")).await
}

fn proof_of(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"proof\" value=\"").expect("a form with a proof");
    rest.split('"').next().expect("a value").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_and_works_with_files() {
    let node = Node::start().await;
    let start = send(&node, ("GET", "/"), ("", FORM), "").await;
    assert!(start.text().contains("type=\"password\""), "{}", start.text());
    let wrong = send(&node, ("POST", "/web/login"), ("", FORM), "login=admin&password=no").await;
    assert_eq!(wrong.status, 401);
    let password = PASSWORD.replace(' ', "+");
    let signed = send(&node, ("POST", "/web/login"), ("", FORM), format!("login=admin&password={password}")).await;
    assert_eq!(signed.status, 303, "{}", signed.text());
    let cookie = signed.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    assert!(signed.header("set-cookie").contains("HttpOnly; SameSite=Strict"));

    let home = send(&node, ("GET", "/"), (&cookie, FORM), "").await;
    assert!(home.text().contains("/web/browse/common%2Dfiles"), "{}", home.text());
    let proof = proof_of(&home.text());
    let forged = send(&node, ("POST", "/web/folder/common-files"), (&cookie, FORM), "name=x&proof=forged").await;
    assert_eq!(forged.status, 403);
    let made = send(&node, ("POST", "/web/folder/common-files"), (&cookie, FORM), format!("name=new+folder&proof={proof}")).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (303, "/web/browse/common%2Dfiles"), "{}", made.text());
    let boundary = "multipart/form-data; boundary=B";
    let upload = format!(
        "--B\r\nContent-Disposition: form-data; name=\"proof\"\r\n\r\n{proof}\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; \
         filename=\"up.txt\"\r\nContent-Type: text/plain\r\n\r\nuploaded\r\n--B--\r\n"
    );
    let uploaded = send(&node, ("POST", "/web/upload/common-files/new%20folder"), (&cookie, boundary), upload.clone()).await;
    assert_eq!(uploaded.status, 303, "{}", uploaded.text());
    let cut = upload.get(..upload.len() - 12).expect("longer").replace("up.txt", "cut.txt");
    assert_eq!(send(&node, ("POST", "/web/upload/common-files/new%20folder"), (&cookie, boundary), cut).await.status, 400);
    let listed = send(&node, ("GET", "/web/browse/common-files/new%20folder"), (&cookie, FORM), "").await;
    assert!(listed.text().contains("up.txt") && !listed.text().contains("cut.txt"), "{}", listed.text());
    let got = send(&node, ("GET", "/web/file/common-files/new%20folder/up.txt"), (&cookie, FORM), "").await;
    assert_eq!((got.text().as_str(), got.header("content-disposition").starts_with("attachment")), ("uploaded", true));
    assert!(send(&node, ("GET", "/web/nodes"), (&cookie, FORM), "").await.text().contains("n1"));

    let deleted = send(&node, ("POST", "/web/delete/common-files/new%20folder"), (&cookie, FORM), format!("proof={proof}")).await;
    assert_eq!(deleted.status, 303, "{}", deleted.text());
    let gone = send(&node, ("GET", "/web/browse/common-files/new%20folder"), (&cookie, FORM), "").await;
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("<p class=\"wrong\""), "{}", gone.text());
    assert_eq!(send(&node, ("POST", "/web/logout"), (&cookie, FORM), format!("proof={proof}")).await.status, 303);
    assert_eq!(send(&node, ("GET", "/"), (&cookie, FORM), "").await.status, 401);
    node.stop().await;
}
