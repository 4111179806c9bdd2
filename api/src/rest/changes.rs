//! `/a/changes`: the change feed of a workspace, asked for page by page or as server-sent events.
//!
//! A stream ends when the node stops; its client goes on at another one by `Last-Event-ID`.
//! Source: WHATWG HTML, "Server-sent events".

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::messages::{ChangeMessage, ChangedNode, ChangesResponse, RestError};
use super::wire::{Context, RestResult, answer, log, seconds};
use crate::app::App;
use crate::auth::rights::ReadTree;
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::service::feed::{FeedPosition, Followed, Follower, Told, ToldKind};
use crate::service::place::Place;
use crate::service::user_path::UserPath;

/// The header by which a client of a stream says what it got last.
const LAST_EVENT_ID: &str = "last-event-id";

/// What a client asks of the feed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    workspace: String,
    position: String,
    limit: String,
    wait: String,
}

impl Asked {
    fn limit(&self) -> Result<u32, Failure> {
        let limit = number(&self.limit, "limit", u64::from(limits::FEED_CHANGES_DEFAULT), u64::from(limits::FEED_CHANGES))?;
        Ok(u32::try_from(limit).unwrap_or(limits::FEED_CHANGES).max(1))
    }

    fn wait(&self) -> Result<Duration, Failure> {
        number(&self.wait, "wait", 0, limits::FEED_WAIT.as_secs()).map(Duration::from_secs)
    }
}

fn number(text: &str, what: &str, default: u64, most: u64) -> Result<u64, Failure> {
    if text.is_empty() {
        return Ok(default);
    }
    let read = text.parse().ok().filter(|number| *number <= most);
    read.ok_or_else(|| Failure::new(ErrorCode::BadRequest, format!("{what}: {text:?} is no whole number up to {most}")))
}

/// Tells what changed in a workspace behind a position; without one, where the feed stands now.
#[utoipa::path(
    get, path = "/a/changes", tag = "tree",
    params(
        ("workspace" = String, Query, description = "its slug"),
        ("position" = Option<String>, Query, description = "as answered before; none: only the position of now is answered"),
        ("limit" = Option<u32>, Query, description = "changes, 1 to 1000; 100 if absent"),
        ("wait" = Option<u32>, Query, description = "seconds to wait for the first change, at most 60"),
        ("Accept" = Option<String>, Header, description = "text/event-stream: a stream of events, which goes on by Last-Event-ID")
    ),
    responses(
        (status = 200, body = ChangesResponse),
        (status = 410, body = RestError, description = "the feed does not reach back so far: list anew, then go on from Meta.position")
    )
)]
pub(crate) async fn changes(State(app): State<App>, context: Context, headers: HeaderMap, Query(asked): Query<Asked>) -> RestResult {
    let caller = app.caller(&headers, &context).await?;
    let path: UserPath = asked.workspace.parse().map_err(|failure: Failure| failure.at("workspace"))?;
    let is_stream = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream"));
    let told_last = headers.get(LAST_EVENT_ID).filter(|_| is_stream).and_then(|id| id.to_str().ok());
    let position = Some(told_last.unwrap_or(&asked.position)).filter(|position| !position.is_empty());
    let position = position.map(str::parse::<FeedPosition>).transpose()?;
    let (limit, wait) = (asked.limit()?, asked.wait()?);
    let follower = caller.service().follow(caller.at::<ReadTree>(&path)?, position, caller.context()).await?;
    if is_stream {
        return Ok(streamed(follower, app.open_feed()?, app.draining().clone()));
    }
    if position.is_none() {
        return Ok(answer(ChangesResponse { position: follower.position().to_string(), ..ChangesResponse::default() }));
    }
    let _open = if wait.is_zero() { None } else { Some(app.open_feed()?) };
    page(follower, (limit, wait), app.draining()).await
}

/// One answer, after a wait if nothing has changed yet; a node that stops does not let its clients wait.
async fn page(mut follower: Follower, (limit, wait): (u32, Duration), draining: &CancellationToken) -> RestResult {
    let followed = tokio::select! {
        followed = follower.next(limit, wait) => followed?,
        () = draining.cancelled(), if !wait.is_zero() => Followed::Changes { changes: Vec::new(), more: false },
    };
    let position = follower.position().to_string();
    let (changes, more) = match followed {
        Followed::Changes { changes, more } => (changes, more),
        Followed::Anew => return Ok(anew(&position)),
    };
    let place = follower.place();
    let changes = changes.iter().map(|told| message(place, told, Ids::Once)).collect();
    Ok(answer(ChangesResponse { position, changes: Some(changes), more: Some(more) }))
}

fn out_of_reach(position: &str) -> (Failure, RestError) {
    let why = format!("the feed does not reach back to this position: list the workspace anew, then go on from {position}");
    let failure = Failure::new(ErrorCode::OutsideRetention, why);
    let mut error = RestError::of(&failure);
    error.meta.insert("position".to_owned(), position.to_owned());
    (failure, error)
}

fn anew(position: &str) -> Response {
    let (failure, error) = out_of_reach(position);
    log(&failure);
    let mut response = (failure.code.rest_status(), Json(error)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An open stream: it counts as open until it is dropped.
struct Open {
    follower: Follower,
    draining: CancellationToken,
    begun: bool,
    _permit: OwnedSemaphorePermit,
}

/// Events without an end but that of the node, the rights or the connection.
fn streamed(follower: Follower, permit: OwnedSemaphorePermit, draining: CancellationToken) -> Response {
    let open = Open { follower, draining, begun: false, _permit: permit };
    let events = stream::unfold(Some(open), |open| async move {
        let mut open = open?;
        let (events, goes_on) = next_events(&mut open).await;
        Some((events, goes_on.then_some(open)))
    });
    Sse::new(one_by_one(events)).into_response()
}

fn one_by_one(events: impl Stream<Item = Vec<Event>>) -> impl Stream<Item = Result<Event, Infallible>> {
    events.flat_map(|events| stream::iter(events.into_iter().map(Ok)))
}

/// What is sent next, and whether anything follows. A sign of life says where the stream stands.
async fn next_events(open: &mut Open) -> (Vec<Event>, bool) {
    if !open.begun {
        open.begun = true;
        return (vec![standing(&open.follower)], true);
    }
    let followed = tokio::select! {
        followed = open.follower.next(limits::FEED_CHANGES_DEFAULT, limits::FEED_SIGN_OF_LIFE) => followed,
        () = open.draining.cancelled() => return (Vec::new(), false),
    };
    match followed {
        Ok(Followed::Changes { changes, .. }) if changes.is_empty() => (vec![standing(&open.follower)], true),
        Ok(Followed::Changes { changes, .. }) => {
            let place = open.follower.place();
            (changes.iter().map(|told| event("change", &told.position.to_string(), &message(place, told, Ids::Once))).collect(), true)
        }
        Ok(Followed::Anew) => {
            let position = open.follower.position().to_string();
            (vec![event("anew", &position, &out_of_reach(&position).1)], true)
        }
        Err(failure) => {
            log(&failure);
            (vec![event("failed", &open.follower.position().to_string(), &RestError::of(&failure))], false)
        }
    }
}

fn standing(follower: &Follower) -> Event {
    let position = follower.position().to_string();
    event("position", &position, &ChangesResponse { position: position.clone(), ..ChangesResponse::default() })
}

fn event(name: &str, position: &str, data: &impl serde::Serialize) -> Event {
    let data = serde_json::to_string(data).expect("messages of strings have a JSON form");
    Event::default().event(name).id(position).data(data)
}

/// Where a message names the node's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Once for each change, and its position beside it.
    Once,
    /// In source and target, as events do.
    Each,
}

/// A change as clients read it.
pub(crate) fn message(place: &Place, told: &Told, ids: Ids) -> ChangeMessage {
    let uuid = Some(told.entry.to_string());
    let kind = if told.is_folder { "COLLECTION" } else { "LEAF" };
    let target = told.path.as_ref().map(|path| ChangedNode {
        uuid: uuid.clone(),
        path: path.clone(),
        kind,
        size: (!told.is_folder).then(|| told.size.to_string()),
        mtime: Some(seconds(told.mtime).to_string()),
        etag: told.version.map(|version| version.to_string()),
    });
    let names_source = ids == Ids::Each || target.is_none();
    let source = told.path_was.as_ref().filter(|_| matches!(told.kind, ToldKind::UpdatePath | ToldKind::Delete));
    let source = source.map(|path| ChangedNode { uuid: uuid.filter(|_| names_source), path: path.clone(), kind, ..ChangedNode::default() });
    let mut metadata = BTreeMap::from([
        ("EventWorkspaceId".to_owned(), place.id().to_string()),
        ("skep:login".to_owned(), told.login.clone()),
        ("skep:time".to_owned(), seconds(told.stamp).to_string()),
    ]);
    if !told.namespace.is_empty() {
        metadata.insert("skep:namespace".to_owned(), told.namespace.clone());
    }
    if told.list_anew {
        metadata.insert("skep:list".to_owned(), "true".to_owned());
    }
    let position = (ids == Ids::Once).then(|| told.position.to_string());
    ChangeMessage { kind: told.kind.name(), source, target, metadata, position }
}
