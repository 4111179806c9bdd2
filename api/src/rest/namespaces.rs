//! `/a/user-meta/namespace` and `/a/user-meta/tags`: the kinds of metadata that administrators define, and the tags that are known.

use axum::extract::{Path, State};
use http::HeaderMap;
use skep_raft::wire::meta::v1::{NamespaceRecord, ResourcePolicy};

use super::messages::{
    NamespaceCollection, NamespaceMessage, PolicyMessage, PutTagRequest, RestError, TagsChangedResponse, TagsResponse,
    UpdateNamespacesRequest,
};
use super::wire::{Context, RestRequest, RestResult, answer};
use crate::app::App;
use crate::auth::rights::{ReadNamespace, WriteNamespace};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::metadata::SeenNamespace;

/// Lists the namespaces that the caller may read.
#[utoipa::path(get, path = "/a/user-meta/namespace", tag = "user-meta", responses((status = 200, body = NamespaceCollection)))]
pub(crate) async fn list(State(app): State<App>, context: Context, headers: HeaderMap) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let namespaces = caller.service().namespaces(caller.own()?, caller.view())?;
    Ok(answer(NamespaceCollection { namespaces: namespaces.iter().map(message_of).collect() }))
}

/// Defines, changes or deletes namespaces one after the other, for administrators. What was noted before a namespace was Indexable is found once it is noted
/// again.
#[utoipa::path(
    put, path = "/a/user-meta/namespace", tag = "user-meta", request_body = UpdateNamespacesRequest,
    responses((status = 200, body = NamespaceCollection), (status = 400, body = RestError), (status = 403, body = RestError))
)]
pub(crate) async fn update(State(_app): State<App>, request: RestRequest) -> RestResult {
    let message: UpdateNamespacesRequest = request.json()?;
    let caller = request.caller().await?;
    if message.namespaces.is_empty() || message.namespaces.len() > limits::PATHS_PER_REQUEST {
        let why = format!("Namespaces: name 1 to {}", limits::PATHS_PER_REQUEST);
        return Err(Failure::new(ErrorCode::BadRequest, why).into());
    }
    let mut done = Vec::with_capacity(message.namespaces.len());
    for sent in message.namespaces {
        let (proof, context) = (caller.administer()?, caller.context().continued());
        match message.operation.as_str() {
            "" | "PUT" => {
                let record = caller.service().put_namespace(proof, record_of(&sent)?, &context).await?;
                done.push(message_of(&SeenNamespace { record, editable: true }));
            }
            "DELETE" => {
                caller.service().delete_namespace(proof, &sent.namespace, &context).await?;
                done.push(sent);
            }
            other => return Err(Failure::new(ErrorCode::BadRequest, format!("Operation: {other:?} is neither PUT nor DELETE")).into()),
        }
    }
    Ok(answer(NamespaceCollection { namespaces: done }))
}

/// Lists the tags that a namespace knows.
#[utoipa::path(
    get, path = "/a/user-meta/tags/{Namespace}", tag = "user-meta",
    params(("Namespace" = String, Path, description = "a namespace of tags")),
    responses((status = 200, body = TagsResponse), (status = 404, body = RestError))
)]
pub(crate) async fn tags(State(app): State<App>, context: Context, headers: HeaderMap, Path(name): Path<String>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let tags = caller.service().tags(caller.namespace::<ReadNamespace>(&name)?)?;
    Ok(answer(TagsResponse { tags }))
}

/// Adds a tag.
#[utoipa::path(
    post, path = "/a/user-meta/tags/{Namespace}", tag = "user-meta", request_body = PutTagRequest,
    params(("Namespace" = String, Path, description = "a namespace of tags")),
    responses((status = 200, body = TagsChangedResponse), (status = 403, body = RestError))
)]
pub(crate) async fn add_tag(State(_app): State<App>, Path(name): Path<String>, request: RestRequest) -> RestResult {
    let message: PutTagRequest = request.json()?;
    let caller = request.caller().await?;
    caller.service().add_tag(caller.namespace::<WriteNamespace>(&name)?, message.tag, caller.context()).await?;
    Ok(answer(TagsChangedResponse { success: true }))
}

/// Forgets tags, for administrators. What is noted at entries stays.
#[utoipa::path(
    delete, path = "/a/user-meta/tags/{Namespace}/{Tags}", tag = "user-meta",
    params(
        ("Namespace" = String, Path, description = "a namespace of tags"),
        ("Tags" = String, Path, description = "tags with commas between them; *: all")
    ),
    responses((status = 200, body = TagsChangedResponse), (status = 403, body = RestError))
)]
pub(crate) async fn remove_tags(
    State(app): State<App>,
    context: Context,
    headers: HeaderMap,
    Path((name, tags)): Path<(String, String)>,
) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let proof = caller.administer()?;
    let namespace = caller.namespace::<ReadNamespace>(&name)?;
    let tags = match tags.as_str() {
        "*" => Vec::new(),
        some => some.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    };
    caller.service().remove_tags(proof, (namespace.subject(), tags), caller.context()).await?;
    Ok(answer(TagsChangedResponse { success: true }))
}

fn message_of(seen: &SeenNamespace) -> NamespaceMessage {
    let record = &seen.record;
    let policy = |policy: &ResourcePolicy| PolicyMessage {
        resource: record.name.clone(),
        action: policy.action.clone(),
        subject: policy.subject.clone(),
        effect: if policy.allow { "allow" } else { "deny" }.to_owned(),
    };
    NamespaceMessage {
        namespace: record.name.clone(),
        label: record.label.clone(),
        order: i32::try_from(record.order).unwrap_or(i32::MAX),
        indexable: record.indexable,
        json_definition: record.json_definition.clone(),
        policies: record.policies.iter().map(policy).collect(),
        policies_context_editable: seen.editable,
    }
}

fn record_of(sent: &NamespaceMessage) -> Result<NamespaceRecord, Failure> {
    let policies = sent.policies.iter().map(|policy| policy_of(policy).map_err(|failure| failure.at(&sent.namespace)));
    Ok(NamespaceRecord {
        name: sent.namespace.clone(),
        label: sent.label.clone(),
        order: u32::try_from(sent.order).map_err(|_negative| Failure::new(ErrorCode::BadRequest, "Order: it cannot be negative"))?,
        indexable: sent.indexable,
        json_definition: sent.json_definition.clone(),
        policies: policies.collect::<Result<_, Failure>>()?,
        ..NamespaceRecord::default()
    })
}

fn policy_of(sent: &PolicyMessage) -> Result<ResourcePolicy, Failure> {
    let bad = |why: String| Failure::new(ErrorCode::BadRequest, format!("Policies: {why}"));
    let allow = match sent.effect.as_str() {
        "" | "allow" => true,
        "deny" => false,
        other => return Err(bad(format!("the Effect {other:?} is neither allow nor deny"))),
    };
    if !matches!(sent.action.as_str(), "READ" | "WRITE" | "OWNER" | "ANY") {
        return Err(bad(format!("the Action {:?} is none of READ, WRITE, OWNER and ANY", sent.action)));
    }
    let known = ["profile:", "user:", "role:"].iter().any(|kind| sent.subject.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
    if sent.subject != "*" && !known {
        return Err(bad(format!("the Subject {:?} is none of *, profile:…, user:… and role:…", sent.subject)));
    }
    Ok(ResourcePolicy { subject: sent.subject.clone(), action: sent.action.clone(), allow })
}

#[cfg(test)]
mod tests {
    use super::{PolicyMessage, policy_of};

    #[test]
    fn a_policy_that_would_mean_nothing_is_refused() {
        let policy = |action: &str, subject: &str, effect: &str| {
            policy_of(&PolicyMessage {
                action: action.to_owned(),
                subject: subject.to_owned(),
                effect: effect.to_owned(),
                ..PolicyMessage::default()
            })
        };
        assert!(policy("READ", "*", "allow").is_ok_and(|policy| policy.allow));
        assert!(policy("WRITE", "profile:admin", "deny").is_ok_and(|policy| !policy.allow));
        for (action, subject, effect) in
            [("DELETE", "*", "allow"), ("READ", "everybody", "allow"), ("READ", "user:", ""), ("READ", "*", "maybe")]
        {
            assert!(policy(action, subject, effect).is_err(), "{action} {subject} {effect}");
        }
    }
}
