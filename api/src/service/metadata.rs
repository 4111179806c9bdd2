//! What people note at entries: the kinds of it that administrators define, the values, bookmarks and tags, and finding them again.
//!
//! Invariants: a value is shown, found and changed only as the policies of its namespace say, and only at entries that the caller may read, or change; a
//! bookmark is its user's alone.

use std::collections::{BTreeMap, BTreeSet};

use skep_placement::ids::GroupId;
use skep_raft::state::namespace::CONTENT_LOCK;
use skep_raft::state::rights::{self, Action as ActionValue, Identity};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{
    DeleteNamespace, Entry, EntryMeta, FoundMeta, MetaQuery, NamespaceRecord, PutNamespace, ResourcePolicy, WorkspaceCommand, answer,
    command, query, workspace_command,
};

use super::Service;
use super::tree::absent_or_fault;
use crate::auth::rights::{Account, Administer, Authorized, Cluster, ReadAccount, ReadNamespace, ReadTree, Subject, WriteNamespace};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::place::Place;

mod value;

use value::Definition;

/// A name under which something is noted: a namespace that is defined, or one that programs use as they like.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    defined: Option<NamespaceRecord>,
}

impl Subject for Namespace {
    fn resource(&self) -> rights::Resource {
        rights::Resource::Namespace(self.name.clone())
    }

    fn shown(&self) -> String {
        format!("the namespace {:?}", self.name)
    }
}

impl Namespace {
    pub(crate) fn find(view: &SystemView, name: &str) -> Result<Self, Failure> {
        if name.is_empty() || name.len() > limits::NAME_BYTES {
            return Err(Failure::new(ErrorCode::BadRequest, format!("Namespace: a name has 1 to {} bytes", limits::NAME_BYTES)));
        }
        Ok(Self { name: name.to_owned(), defined: view.namespace(name)? })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Each user has values of its own.
    pub(crate) fn is_private(&self) -> bool {
        self.defined.as_ref().is_some_and(|record| record.private_to_user)
    }

    /// Its values are found by.
    pub(crate) fn is_indexable(&self) -> bool {
        self.defined.as_ref().is_some_and(|record| record.indexable && !record.private_to_user)
    }

    /// Whether what is noted is who holds a lock.
    pub(crate) fn is_lock(&self) -> bool {
        self.name == CONTENT_LOCK
    }

    /// Checks a value that is to be noted, by the user alone or for everybody; an empty one takes away.
    pub(crate) fn check(&self, json: &str, own: bool) -> Result<(), Failure> {
        let bad = |why: String| Failure::new(ErrorCode::BadRequest, format!("{}: {why}", self.name));
        if self.is_lock() {
            return Err(bad("a lock is taken and given back by itself, not noted".to_owned()));
        }
        if own != self.is_private() {
            return Err(bad(if own { "values of it are everybody's" } else { "values of it are each user's own" }.to_owned()));
        }
        if json.is_empty() {
            return Ok(());
        }
        if json.len() > limits::NOTE_BYTES {
            return Err(bad(format!("a value has at most {} bytes", limits::NOTE_BYTES)));
        }
        let definition = self.defined.as_ref().map_or("", |record| record.json_definition.as_str());
        Definition::parse(definition).and_then(|definition| definition.check(json)).map_err(bad)
    }

    /// Known tags make sense.
    fn require_tags(&self) -> Result<(), Failure> {
        let is_tags = self.defined.as_ref().is_some_and(|record| Definition::parse(&record.json_definition).is_ok_and(|it| it.is_tags()));
        if is_tags { Ok(()) } else { Err(Failure::new(ErrorCode::BadRequest, format!("{} is no namespace of tags", self.name))) }
    }
}

/// A namespace as one user sees it.
#[derive(Clone, Debug)]
pub struct SeenNamespace {
    /// It.
    pub record: NamespaceRecord,
    /// The user may change its definition.
    pub editable: bool,
}

/// A value that was found.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Where.
    pub place: Place,
    /// The entry there.
    pub entry: Entry,
    /// Under which name.
    pub namespace: String,
    /// A JSON text.
    pub json: String,
}

/// Hides what somebody may not see of the notes of entries. Each name is decided once.
#[derive(Clone, Debug)]
pub(crate) struct VisibleNotes {
    view: SystemView,
    who: Identity,
    decided: BTreeMap<String, bool>,
}

impl VisibleNotes {
    pub(crate) fn new(view: SystemView, who: Identity) -> Self {
        Self { view, who, decided: BTreeMap::new() }
    }

    /// Takes away what is not for the user.
    pub(crate) fn only(&mut self, entry: &mut Entry) -> Result<(), Failure> {
        let mut seen = Vec::with_capacity(entry.meta.len());
        for note in std::mem::take(&mut entry.meta) {
            if self.may_read(&note.namespace)? {
                seen.push(note);
            }
        }
        entry.meta = seen;
        Ok(())
    }

    /// Whether what is noted under a name is for the user.
    pub(crate) fn may_read(&mut self, namespace: &str) -> Result<bool, Failure> {
        if let Some(decided) = self.decided.get(namespace) {
            return Ok(*decided);
        }
        let resource = rights::Resource::Namespace(namespace.to_owned());
        let may = rights::decide(&self.view, &self.who, ActionValue::ReadNamespace, &resource)?.is_allowed();
        self.decided.insert(namespace.to_owned(), may);
        Ok(may)
    }
}

impl Service {
    /// Lists the namespaces that the owner of an account may read, in their order.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] for a damaged record.
    pub fn namespaces(&self, proof: Authorized<ReadAccount, Account>, view: &SystemView) -> Result<Vec<SeenNamespace>, Failure> {
        let who = proof.who().identity();
        let mut seen = Vec::new();
        for record in view.namespaces()? {
            let resource = rights::Resource::Namespace(record.name.clone());
            if rights::decide(view, who, ActionValue::ReadNamespace, &resource)?.is_allowed() {
                seen.push(SeenNamespace { editable: who.admin && !record.built_in, record });
            }
        }
        seen.sort_by(|a, b| (a.record.order, &a.record.name).cmp(&(b.record.order, &b.record.name)));
        Ok(seen)
    }

    /// Defines a namespace or changes its definition. Without policies every user reads it and administrators write. Values noted before it was searchable
    /// are found by once they are noted again.
    ///
    /// # Errors
    /// [`ErrorCode::NameInvalid`], [`ErrorCode::Forbidden`] for one that every cluster has, [`ErrorCode::BadRequest`] for a definition that is none,
    /// [`ErrorCode::LimitReached`]; [`ErrorCode::Unknown`].
    pub async fn put_namespace(
        &self,
        proof: Authorized<Administer, Cluster>,
        mut record: NamespaceRecord,
        context: &RequestContext,
    ) -> Result<NamespaceRecord, Failure> {
        Definition::parse(&record.json_definition)
            .map_err(|why| Failure::new(ErrorCode::BadRequest, format!("{}: JsonDefinition: {why}", record.name)))?;
        if record.policies.is_empty() {
            let policy =
                |subject: &str, action: &str| ResourcePolicy { subject: subject.to_owned(), action: action.to_owned(), allow: true };
            record.policies = vec![policy("profile:standard", "READ"), policy("profile:admin", "WRITE")];
        }
        let put = PutNamespace { namespace: Some(record.clone()), ..PutNamespace::default() };
        self.change_namespaces(&proof, workspace_command::What::PutNamespace(put), context).await?;
        Ok(record)
    }

    /// Takes a definition away. What was noted under it is not shown any more, and is again if it is defined anew.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Forbidden`] for one that every cluster has; [`ErrorCode::Unknown`].
    pub async fn delete_namespace(
        &self,
        proof: Authorized<Administer, Cluster>,
        name: &str,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let delete = DeleteNamespace { name: name.to_owned() };
        self.change_namespaces(&proof, workspace_command::What::DeleteNamespace(delete), context).await
    }

    /// The tags that a namespace knows.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for one that is not of tags.
    pub fn tags(&self, proof: Authorized<ReadNamespace, Namespace>) -> Result<Vec<String>, Failure> {
        proof.subject().require_tags()?;
        Ok(proof.subject().defined.as_ref().map(|record| record.tags.clone()).unwrap_or_default())
    }

    /// Adds a tag to those that are known.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a tag that cannot be, [`ErrorCode::LimitReached`]; [`ErrorCode::Unknown`].
    pub async fn add_tag(
        &self,
        proof: Authorized<WriteNamespace, Namespace>,
        tag: String,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        proof.subject().require_tags()?;
        if tag.trim().is_empty() || tag.contains(',') {
            return Err(Failure::new(ErrorCode::BadRequest, "Tag: it is not empty and holds no comma, which is between tags"));
        }
        let namespace = NamespaceRecord { name: proof.subject().name.clone(), tags: vec![tag], ..NamespaceRecord::default() };
        let put = PutNamespace { namespace: Some(namespace), add_tags: true, remove_tags: false };
        self.change_namespaces(&proof, workspace_command::What::PutNamespace(put), context).await
    }

    /// Takes tags from those that are known; none named: all. What is noted at entries stays.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a namespace that is not of tags; [`ErrorCode::Unknown`].
    pub async fn remove_tags(
        &self,
        proof: Authorized<Administer, Cluster>,
        (namespace, tags): (&Namespace, Vec<String>),
        context: &RequestContext,
    ) -> Result<(), Failure> {
        namespace.require_tags()?;
        let record = NamespaceRecord { name: namespace.name.clone(), tags, ..NamespaceRecord::default() };
        let put = PutNamespace { namespace: Some(record), add_tags: false, remove_tags: true };
        self.change_namespaces(&proof, workspace_command::What::PutNamespace(put), context).await
    }

    /// Finds what is noted below the root of a workspace, but for its recycle bin: under a searchable namespace, all or of exactly one value; of a private one
    /// what the caller noted.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for a namespace that is not searchable, [`ErrorCode::TooLarge`] for more than can be answered;
    /// [`ErrorCode::Unavailable`].
    pub async fn find_meta(
        &self,
        mut proof: Authorized<ReadTree, Place>,
        (namespace, json): (&Authorized<ReadNamespace, Namespace>, &str),
        context: &RequestContext,
    ) -> Result<Vec<Noted>, Failure> {
        let what = namespace.subject();
        if !what.is_private() && !what.is_indexable() {
            let why = format!("{}: it is not searchable; name NodeUuids, or have it made Indexable", what.name);
            return Err(Failure::new(ErrorCode::BadRequest, why));
        }
        let user = if what.is_private() { proof.actor().user } else { bytes::Bytes::new() };
        let within = Some(proof.subject().root());
        let mut question = MetaQuery {
            namespace: what.name.clone(),
            json: json.to_owned(),
            user,
            within,
            limit: limits::PAGE_ENTRIES,
            ..MetaQuery::default()
        };
        let mut all = Vec::new();
        loop {
            let answer = self.ask(&mut proof, query::What::Meta(question.clone()), &context.continued()).await?;
            let page = match answer.what {
                Some(answer::What::Meta(page)) => page,
                // A root that is not there, as a folder of the user's own that was not made yet, holds nothing.
                Some(answer::What::Absence(_)) => return Ok(all),
                other => return Err(absent_or_fault(proof.subject(), other)),
            };
            for found in page.found {
                all.extend(noted(proof.subject(), found)?);
            }
            if all.len() > limits::NOTES_FOUND {
                let why = format!("{}: more than {} entries have it; name a value", what.name, limits::NOTES_FOUND);
                return Err(Failure::new(ErrorCode::TooLarge, why));
            }
            if page.cursor.is_empty() {
                return Ok(all);
            }
            question.after = page.cursor;
        }
    }

    async fn change_namespaces<A: crate::auth::rights::Action, S: Subject>(
        &self,
        proof: &Authorized<A, S>,
        what: workspace_command::What,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        let what = command::What::Workspace(WorkspaceCommand { what: Some(what) });
        self.propose(proof, GroupId::SYSTEM, what, context).await.map(|_done| ())
    }
}

/// What was found as a place below the root of a workspace; nothing for what lies in its bin.
fn noted(root: &Place, found: FoundMeta) -> Result<Option<Noted>, Failure> {
    let top = crate::service::user_path::UserPath::default().child(root.path().slug().unwrap_or_default())?;
    let path = found.names.iter().try_fold(top, |path, name| path.child(name))?;
    let place = root.with_path(path);
    if place.is_in_recycle_bin() {
        return Ok(None);
    }
    let json = found.record.map(|record| record.json).unwrap_or_default();
    let mut entry = found.shown.unwrap_or_default();
    entry.meta.push(EntryMeta { namespace: found.namespace.clone(), json: json.clone() });
    Ok(Some(Noted { place, entry, namespace: found.namespace, json }))
}

/// Each entry once, as the first workspace shows it.
pub(crate) fn each_once(mut all: Vec<Noted>) -> Vec<Noted> {
    let mut seen = BTreeSet::new();
    all.retain(|noted| seen.insert((noted.place.datasource(), noted.entry.entry.clone())));
    all
}
