//! What clients ask before and after signing in: discovery, and the XML registry that names the user.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use serde::Serialize;
use utoipa::ToSchema;

use super::wire::{Context, RestResult, answer};
use crate::app::{App, Caller};
use crate::error_code::{ErrorCode, Failure};
use crate::server::Transport;
use crate::service::workspaces::SeenWorkspace;

/// `restDiscoveryResponse`
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = restDiscoveryResponse)]
pub(crate) struct Discovery {
    /// PydioHome: what clients of the API expect.
    pub package_type: &'static str,
    /// Skep.
    pub package_label: &'static str,
    /// Of this server.
    pub version: String,
    /// Always 0.
    pub build_stamp: i32,
    /// Of this server.
    pub build_revision: String,
    /// URLs by what they serve.
    pub endpoints: BTreeMap<&'static str, String>,
}

/// Says what this server is and where it serves what; without signing in.
#[utoipa::path(get, path = "/a/config/discovery", tag = "session", responses((status = 200, body = Discovery)))]
pub(crate) async fn discovery(State(app): State<App>, transport: Option<Extension<Transport>>, headers: HeaderMap) -> RestResult {
    let secure = transport.is_some_and(|Extension(transport)| transport.secure);
    let url = app.options().public_url.clone().unwrap_or_else(|| url_of(&headers, secure));
    let endpoints = BTreeMap::from([
        ("rest", format!("{url}/a")),
        ("openapi", format!("{url}/openapi.json")),
        ("webdav", format!("{url}/dav")),
        ("frontend", url),
    ]);
    Ok(answer(Discovery {
        package_type: "PydioHome",
        package_label: "Skep",
        version: app.options().version.clone(),
        build_stamp: 0,
        build_revision: app.options().version.clone(),
        endpoints,
    }))
}

/// The registry with the user, if the request is signed in; without one else.
#[utoipa::path(get, path = "/a/frontend/state", tag = "session", responses((status = 200, content_type = "application/xml", body = String)))]
pub(crate) async fn state(State(app): State<App>, context: Context, headers: HeaderMap) -> RestResult {
    let user = match app.caller(&headers, &context).await {
        Ok(caller) => user_element(&caller)?,
        Err(failure) if failure.code == ErrorCode::Unauthorized => String::new(),
        Err(failure) => return Err(failure.into()),
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<pydio_registry>{user}<plugins/><actions/><client_configs/></pydio_registry>\n"
    );
    Ok(([(CONTENT_TYPE, "application/xml; charset=utf-8"), (CACHE_CONTROL, "no-store")], xml).into_response())
}

fn user_element(caller: &Caller) -> Result<String, Failure> {
    let workspaces = caller.service().workspaces_of(caller.own()?, caller.view())?;
    Ok(user_xml(caller.login(), caller.is_admin(), &workspaces))
}

/// The first attribute of `user` must be its id: clients read it by its place.
fn user_xml(login: &str, admin: bool, workspaces: &[SeenWorkspace]) -> String {
    let mut repositories = String::new();
    for seen in workspaces {
        let kind = match seen.scope() {
            "ROOM" => "cell",
            _ if seen.record.roots.iter().any(|root| root.folder_per_user) => "workspace-personal",
            _ => "workspace",
        };
        let (id, slug, acl) = (seen.uuid(), escaped(&seen.record.slug), seen.permissions());
        let (label, description) = (escaped(&seen.record.label), escaped(&seen.record.description));
        // Writing to a String cannot fail.
        let _infallible = write!(
            repositories,
            "<repo id=\"{id}\" repositorySlug=\"{slug}\" acl=\"{acl}\" access_type=\"gateway\" repository_type=\"{kind}\" \
             allowCrossRepositoryCopy=\"true\"><label>{label}</label><description>{description}</description><client_settings/></repo>"
        );
    }
    let active = workspaces.first().map(SeenWorkspace::uuid).unwrap_or_default();
    format!(
        "<user id=\"{}\"><active_repo id=\"{active}\"/><repositories>{repositories}</repositories><preferences/>\
         <special_rights is_admin=\"{}\"/></user>",
        escaped(login),
        u8::from(admin)
    )
}

/// A text inside XML, in content or attributes. Control characters that XML cannot hold are left out.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(character),
            control if control.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

/// The URL that a request was sent to, as far as its head says.
fn url_of(headers: &HeaderMap, secure: bool) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{}://{host}", if secure { "https" } else { "http" })
}

#[cfg(test)]
mod tests {
    use super::{escaped, user_xml};
    use crate::service::place::tests::workspace;
    use crate::service::workspaces::SeenWorkspace;

    #[test]
    fn the_first_attribute_of_user_is_the_login() {
        let seen = [SeenWorkspace { record: workspace("files", true), writable: true }];
        let xml = user_xml("al<ice", true, &seen);
        assert!(xml.starts_with("<user id=\"al&lt;ice\">"), "{xml}");
        assert!(
            xml.contains("repositorySlug=\"files\" acl=\"rw\" access_type=\"gateway\" repository_type=\"workspace-personal\""),
            "{xml}"
        );
        assert!(xml.contains("is_admin=\"1\""), "{xml}");
    }

    #[test]
    fn text_cannot_leave_its_place_in_xml() {
        assert_eq!(escaped("a\"b'<c>&\u{1}"), "a&quot;b&apos;&lt;c&gt;&amp;");
    }
}
