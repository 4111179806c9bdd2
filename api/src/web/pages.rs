//! The pages as HTML. Everything that users wrote is escaped by `maud`; nothing here decides.

use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use skep_raft::wire::meta::v1::Entry;

use super::PAGE;
use crate::dav::http_date;
use crate::error_code::Failure;
use crate::ports::ClusterStatus;
use crate::rest::wire::seconds;
use crate::service::tree::is_folder;
use crate::service::user_path::UserPath;
use crate::service::workspaces::SeenWorkspace;

/// What every page of somebody signed in shows.
pub(super) struct Frame<'a> {
    pub(super) login: &'a str,
    pub(super) admin: bool,
    /// Of the session, for forms.
    pub(super) proof: String,
}

/// A page of a folder.
pub(super) struct Folder<'a> {
    pub(super) path: &'a UserPath,
    /// Of the workspace.
    pub(super) label: &'a str,
    pub(super) entries: &'a [Entry],
    pub(super) from: u32,
    pub(super) total: u64,
    pub(super) writable: bool,
}

fn document(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Skep" }
                link rel="stylesheet" href="/web/style.css";
            }
            body { (content) }
        }
    }
}

fn framed(frame: &Frame<'_>, title: &str, content: &Markup) -> Markup {
    document(
        title,
        &html! {
            header {
                a.home href="/" { "Skep" }
                nav {
                    @if frame.admin { a href="/web/nodes" { "Nodes" } }
                    form method="post" action="/web/logout" {
                        input type="hidden" name="proof" value=(frame.proof);
                        button.quiet { "Sign out " (frame.login) }
                    }
                }
            }
            main { (content) }
        },
    )
}

/// The form to sign in.
pub(super) fn sign_in(refused: Option<&str>) -> Markup {
    document(
        "Sign in",
        &html! {
            main.narrow {
                h1 { "Skep" }
                @if let Some(why) = refused { p.wrong role="alert" { (why) "." } }
                form.stacked method="post" action="/web/login" {
                    label { "Login" input name="login" autocomplete="username" autocapitalize="none" required autofocus; }
                    label { "Password" input name="password" type="password" autocomplete="current-password" required; }
                    button { "Sign in" }
                }
            }
        },
    )
}

/// A failure as a sentence.
pub(super) fn failure(failure: &Failure) -> Markup {
    document(
        failure.code.title(),
        &html! {
            main.narrow {
                h1 { (failure.code.title()) }
                p.wrong role="alert" { (failure.detail) "." }
                @if let Some(seconds) = failure.retry_after_seconds() { p { "Try again in " (seconds) " s." } }
                p { a href="/" { "To the start" } }
            }
        },
    )
}

/// The list of workspaces.
pub(super) fn workspaces(frame: &Frame<'_>, seen: &[SeenWorkspace]) -> Markup {
    framed(
        frame,
        "Workspaces",
        &html! {
            h1 { "Workspaces" }
            @if seen.is_empty() { p { "You have no rights on any workspace yet; an administrator can give you some." } }
            ul.list {
                @for workspace in seen {
                    li {
                        a.name href=(workspace_href(&workspace.record.slug)) { (workspace.record.label) }
                        span.facts { @if workspace.writable { "read and write" } @else { "read" } }
                    }
                }
            }
        },
    )
}

/// A folder with its members.
pub(super) fn folder(frame: &Frame<'_>, shown: &Folder<'_>) -> Markup {
    let title = shown.path.below().last().map_or(shown.label, String::as_str);
    framed(
        frame,
        title,
        &html! {
            (breadcrumbs(shown))
            @if shown.writable { (tools(frame, shown.path)) }
            @if shown.entries.is_empty() { p { "Nothing here." } }
            ul.list {
                @for entry in shown.entries { (member(frame, shown, entry)) }
            }
            (paging(shown))
        },
    )
}

fn breadcrumbs(shown: &Folder<'_>) -> Markup {
    let names = shown.path.below();
    let slug = shown.path.slug().unwrap_or_default();
    html! {
        nav.crumbs aria-label="Path" {
            a href="/" { "Workspaces" }
            @if names.is_empty() { span { (shown.label) } } @else { a href=(workspace_href(slug)) { (shown.label) } }
            @for (place, name) in names.iter().enumerate() {
                @if place + 1 == names.len() { span { (name) } }
                @else { a href=(href("browse", shown.path.names().get(..place + 2).unwrap_or_default())) { (name) } }
            }
        }
    }
}

fn tools(frame: &Frame<'_>, path: &UserPath) -> Markup {
    html! {
        div.tools {
            form method="post" action=(href("upload", path.names())) enctype="multipart/form-data" {
                input type="hidden" name="proof" value=(frame.proof);
                input type="file" name="file" multiple required aria-label="Files to upload";
                button { "Upload" }
            }
            form method="post" action=(href("folder", path.names())) {
                input type="hidden" name="proof" value=(frame.proof);
                input name="name" placeholder="New folder" required maxlength="255" aria-label="Name of the new folder";
                button { "Make folder" }
            }
        }
    }
}

fn member(frame: &Frame<'_>, shown: &Folder<'_>, entry: &Entry) -> Markup {
    let mut names = shown.path.names().to_vec();
    names.push(entry.name.clone());
    let folder = is_folder(entry);
    let kind = if folder { "browse" } else { "file" };
    html! {
        li {
            a.name.folder[folder] href=(href(kind, &names)) { (entry.name) @if folder { "/" } }
            span.facts { (bytes(entry.size)) " · " (time(entry.mtime)) }
            @if shown.writable {
                form method="post" action=(href("delete", &names)) {
                    input type="hidden" name="proof" value=(frame.proof);
                    button.quiet aria-label={ "Delete " (entry.name) } { "Delete" }
                }
            }
        }
    }
}

fn paging(shown: &Folder<'_>) -> Markup {
    let here = browse_href(shown.path);
    let next = u64::from(shown.from) + u64::from(PAGE);
    html! {
        @if shown.from > 0 || next < shown.total {
            nav.paging {
                @if shown.from > 0 { a href={ (here) "?from=" (shown.from.saturating_sub(PAGE)) } { "Before" } }
                span { (u64::from(shown.from) + 1) "–" (next.min(shown.total)) " of " (shown.total) }
                @if next < shown.total { a href={ (here) "?from=" (next) } { "After" } }
            }
        }
    }
}

/// The state of the cluster.
pub(super) fn nodes(frame: &Frame<'_>, status: &ClusterStatus) -> Markup {
    framed(
        frame,
        "Nodes",
        &html! {
            h1 { "Nodes" }
            @for warning in &status.warnings { p.wrong { (warning) } }
            (table(&["Node", "Zone", "State", "API", "Version"], status.nodes.iter().map(|node| {
                let state = if node.alive { node.state.clone() } else { format!("{}, silent", node.state) };
                vec![format!("{} {}", node.id, node.name), node.zone.clone(), state, node.api.clone(), node.version.clone()]
            })))
            h2 { "Devices" }
            (table(&["Device", "Node", "State", "Free", "Of", "Live"], status.devices.iter().map(|device| {
                let size = |value| bytes(value);
                vec![format!("{} {}", device.id, device.label), device.node.to_string(), device.state.clone(), size(device.free_bytes),
                    size(device.total_bytes), size(device.live_bytes)]
            })))
            h2 { "Groups" }
            (table(&["Group", "Leader", "Voters", "Lag"], status.groups.iter().map(|group| {
                let leader = group.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
                let voters = group.voters.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
                vec![group.name.clone(), leader, voters, group.lag.to_string()]
            })))
            h2 { "Datasources" }
            (table(&["Datasource", "Entries", "Logical", "Stored"], status.datasources.iter().map(|source| {
                if source.available {
                    vec![source.name.clone(), source.entries.to_string(), bytes(source.logical_bytes), bytes(source.stored_bytes)]
                } else {
                    vec![source.name.clone(), "not available now".to_owned(), String::new(), String::new()]
                }
            })))
            p {
                (status.repair_queue) " chunks wait for repair, " (status.below_profile) " are below their profile; "
                (bytes(status.awaiting_collection_bytes)) " wait for collection; " (status.jobs.len()) " jobs."
            }
        },
    )
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { @for head in heads { th { (head) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// The address of a folder's page.
pub(super) fn browse_href(path: &UserPath) -> String {
    if path.slug().is_none() { "/".to_owned() } else { href("browse", path.names()) }
}

fn workspace_href(slug: &str) -> String {
    href("browse", &[slug.to_owned()])
}

fn href(what: &str, names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()).collect();
    format!("/web/{what}/{}", names.join("/"))
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut tenths = count / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).copied().unwrap_or_default())
}

fn time(micros: u64) -> String {
    http_date::format(seconds(micros)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use skep_raft::wire::meta::v1::{Entry, EntryKind};

    use super::{Folder, Frame, browse_href, bytes, folder, sign_in};

    #[test]
    fn what_users_wrote_cannot_become_markup() {
        let entry = Entry { name: "<script>\"&.txt".to_owned(), kind: EntryKind::File.into(), ..Entry::default() };
        let frame = Frame { login: "<b>", admin: false, proof: "p".to_owned() };
        let path = "ws/<i>".parse().expect("a path");
        let shown = Folder { path: &path, label: "<u>", entries: &[entry], from: 0, total: 1, writable: true };
        let page = folder(&frame, &shown).into_string();
        for raw in ["<script>", "<b>", "<i>", "<u>"] {
            assert!(!page.contains(raw), "{raw} in {page}");
        }
        assert!(page.contains("/web/file/ws/%3Ci%3E/%3Cscript%3E%22%26%2Etxt"), "{page}");
    }

    #[test]
    fn what_may_not_be_changed_has_no_forms_to_change_it() {
        let frame = Frame { login: "alice", admin: false, proof: "p".to_owned() };
        let path = "ws".parse().expect("a path");
        let entry = Entry { name: "a".to_owned(), kind: EntryKind::Folder.into(), ..Entry::default() };
        let shown = Folder { path: &path, label: "Files", entries: &[entry], from: 0, total: 1, writable: false };
        let page = folder(&frame, &shown).into_string();
        assert!(!page.contains("/web/delete/") && !page.contains("/web/upload/"), "{page}");
        assert!(!page.contains("/web/nodes"), "only administrators see the nodes");
    }

    #[test]
    fn pages_fit_a_phone_and_need_nothing_from_elsewhere() {
        let page = sign_in(Some("wrong")).into_string();
        assert!(page.contains("width=device-width") && !page.contains("http://") && !page.contains("https://"), "{page}");
    }

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!((bytes(0), bytes(999), bytes(1_000)), ("0 B".to_owned(), "999 B".to_owned(), "1.0 KB".to_owned()));
        assert_eq!((bytes(48_211), bytes(1_500_000)), ("48.2 KB".to_owned(), "1.5 MB".to_owned()));
        assert!(bytes(u64::MAX).ends_with("EB"));
        assert_eq!(browse_href(&"".parse().expect("a path")), "/");
    }
}
