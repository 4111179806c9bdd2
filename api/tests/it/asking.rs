//! What tests ask a node again and again: users, nodes, and commands as the cluster itself gives them.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Value, json};
use skep_api::service::jobs::worker::Worker;
use skep_placement::ids::{EntryId, GroupId, NodeId};
use skep_raft::handle::Proposed;
use skep_raft::wire::meta::v1::{
    Command, PutWorkspace, TreeCommand, WorkspaceCommand, WorkspaceRecord, WorkspaceRoot, WorkspaceScope, command, tree_command,
    workspace_command,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{Node, PASSWORD, now_micros};

/// The datasource of `common-files`.
pub(crate) const COMMON: GroupId = GroupId(1);

/// A worker of jobs, until it is told to stop.
pub(crate) struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the worker ends");
    }
}

impl Node {
    /// A session of a user, who is made if there is none.
    pub(crate) async fn session_of(&self, login: &str) -> String {
        let admin = self.token().await;
        let made = self.rest(&admin, ("PUT", &format!("/a/user/{login}")), &json!({"Password": PASSWORD})).await;
        assert_eq!(made.status, 200, "{}", made.text());
        let session = json!({"AuthInfo": {"type": "credentials", "login": login, "password": PASSWORD}});
        let answer = self.rest("none", ("POST", "/a/frontend/session"), &session).await;
        answer.json()["JWT"].as_str().expect("a token").to_owned()
    }

    /// Begins to work on jobs.
    pub(crate) fn work(&self) -> Working {
        let stop = CancellationToken::new();
        let task = tokio::spawn(Worker::new(self.app.service().clone(), NodeId(1)).run(stop.clone()));
        Working { stop, task }
    }

    /// Writes a file.
    pub(crate) async fn write(&self, path: &str, text: &str) {
        let put = self.dav("PUT", &format!("/dav/{path}"), &[], text.to_owned()).await;
        assert!(put.status.is_success(), "{path}: {}", put.text());
    }

    pub(crate) async fn mkdir(&self, path: &str) {
        let made = self.dav("MKCOL", &format!("/dav/{path}"), &[], Body::empty()).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text());
    }

    /// The text of a file; its status where it cannot be read.
    pub(crate) async fn read(&self, path: &str) -> Result<String, u16> {
        let got = self.dav("GET", &format!("/dav/{path}"), &[], Body::empty()).await;
        if got.status == 200 { Ok(got.text()) } else { Err(got.status.as_u16()) }
    }

    /// A node as a user sees it.
    pub(crate) async fn stat(&self, token: &str, path: &str) -> Value {
        let answer = self.rest(token, ("GET", &format!("/a/tree/stat/{path}")), &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["Node"].clone()
    }

    /// The names in a folder.
    pub(crate) async fn names(&self, token: &str, folder: &str) -> Vec<String> {
        let listed = self.rest(token, ("POST", "/a/tree/stats"), &json!({"NodePaths": [format!("{folder}/*")]})).await;
        assert_eq!(listed.status, 200, "{folder}: {}", listed.text());
        let name = |node: &Value| node["Path"].as_str().and_then(|path| path.rsplit('/').next()).expect("a path").to_owned();
        listed.json()["Nodes"].as_array().expect("nodes").iter().map(name).collect()
    }

    /// Makes a workspace, for the administrator, of a folder of the common files, by its id.
    pub(crate) async fn workspace_of(&self, slug: &str, folder: &str) {
        let entry: EntryId = folder.parse().expect("an id");
        let root = WorkspaceRoot { datasource: COMMON.0, entry: Bytes::copy_from_slice(&entry.0), folder_per_user: false };
        let workspace = WorkspaceRecord {
            id: Bytes::from_static(&[77; 16]),
            slug: slug.to_owned(),
            label: slug.to_owned(),
            scope: WorkspaceScope::Admin.into(),
            roots: vec![root],
            ..WorkspaceRecord::default()
        };
        let put = workspace_command::What::PutWorkspace(PutWorkspace { workspace: Some(workspace), must_be_new: true });
        self.cluster_does(GroupId::SYSTEM, command::What::Workspace(WorkspaceCommand { what: Some(put) })).await;
        let grant = json!({"Login": "admin", "Workspace": slug, "Permission": "rw"});
        let granted = self.rest(&self.token().await, ("PUT", "/a/skep/grant"), &grant).await;
        assert_eq!(granted.status, 200, "{}", granted.text());
    }

    /// Has the cluster itself change a tree.
    pub(crate) async fn cluster_changes(&self, what: tree_command::What) -> Proposed {
        self.cluster_does(COMMON, command::What::Tree(TreeCommand { what: Some(what) })).await
    }

    /// Has the cluster itself do something.
    pub(crate) async fn cluster_does(&self, group: GroupId, what: command::What) -> Proposed {
        let command = Command { what: Some(what), ..Command::default() };
        self.metadata.propose(group, command, Instant::now() + Duration::from_secs(30)).await.expect("it is done")
    }
}

/// This instant as clients name it, and one at which everything acknowledged so far is seen: stamps run with the same clock.
pub(crate) fn now() -> String {
    let micros = now_micros();
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The instant so many seconds from now.
pub(crate) fn now_and(seconds: i64) -> String {
    (i64::try_from(now_micros() / 1_000_000).expect("it fits") + seconds).to_string()
}
