//! What clients of the limit program see: `/f/` files, `/log` records, `/stat/` and `/list/` reads, `/metrics`.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, FuturesOrdered, StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, RANGE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use skep_placement::chunk::hash;
use skep_placement::limits::{CHUNK_LENGTH_BYTES_MAX, INLINE_LENGTH_BYTES_MAX};
use tokio::net::TcpStream;

use super::content;
use super::node::Node;
use super::record::{ChunkRecord, FileRecord, encode};

/// Chunks of one file on their way at once, as in the store.
const CHUNKS_AT_ONCE: usize = 4;

type Answered = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Serves one connection.
pub(super) async fn serve(node: Arc<Node>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let node = Arc::clone(&node);
        async move {
            let answered = answer(&node, request).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|error| {
                let mut refused = full(Bytes::from(error.to_string()));
                *refused.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                refused
            }))
        }
    });
    // A client that goes away is no fault.
    let _gone = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn full(bytes: Bytes) -> Answered {
    Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

async fn answer(node: &Arc<Node>, request: Request<Incoming>) -> io::Result<Answered> {
    let path = request.uri().path().to_owned();
    if let Some(name) = path.strip_prefix("/f/") {
        return if request.method() == Method::PUT {
            put(node, name, request.into_body()).await
        } else {
            get(node, name, request.headers().get(RANGE)).await
        };
    }
    if path == "/log" {
        let text = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        let mut records = BytesMut::new();
        String::from_utf8_lossy(&text).lines().for_each(|line| records.extend_from_slice(&encode(line, None)));
        node.propose(records.freeze()).await?;
        return Ok(full(Bytes::new()));
    }
    if path == "/metrics" {
        return Ok(full(Bytes::from(format!("limit_syncs_total {}\n", node.syncs()))));
    }
    node.read_point().await?;
    if let Some(name) = path.strip_prefix("/stat/") {
        let length = match node.file(name).await? {
            Some(FileRecord::Inline(bytes)) => bytes.len(),
            Some(FileRecord::Chunks(chunks)) => chunks.iter().map(|chunk| usize::try_from(chunk.length).unwrap_or(0)).sum(),
            None => 0,
        };
        let mut out = String::new();
        entry(&mut out, name, length);
        return Ok(full(out.into()));
    }
    let page = path.strip_prefix("/list/").and_then(|page| page.split_once('/')).ok_or(io::ErrorKind::NotFound)?;
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    let (offset, limit) = (number(page.0)?, number(page.1)?);
    let mut out = String::with_capacity(limit * 300);
    (offset..offset + limit).for_each(|index| entry(&mut out, &format!("f{index:07}"), index));
    Ok(full(out.into()))
}

/// An entry as long as one of Cells' API.
fn entry(out: &mut String, name: &str, size: usize) {
    let _infallible = write!(
        out,
        "{{\"Uuid\":\"68ca6c56-1818-49ba-823f-e50b4eb476f4\",\"Path\":\"common-files/{name}\",\"Type\":\"LEAF\",\"Size\":\"{size}\",\
         \"MTime\":\"1795388786\",\"Mode\":420,\"Etag\":\"23a40e24-4330-42d4-b34a-17dbe28a2f9c\",\"MetaStore\":{{\"name\":\"\\\"{name}\\\"\",\
         \"skep:blake3\":\"\\\"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\\\"\",\"ws_slug\":\"\\\"common-files\\\"\"}},\
         \"AppearsIn\":[{{\"WsUuid\":\"959f3f08-9a14-44f8-9556-bd3b26404437\",\"Path\":\"{name}\",\"WsSlug\":\"common-files\"}}]}},"
    );
}

async fn put(node: &Arc<Node>, name: &str, mut body: Incoming) -> io::Result<Answered> {
    let mut in_flight = FuturesOrdered::new();
    let mut chunks: Vec<ChunkRecord> = Vec::new();
    let mut buffer = BytesMut::new();
    let begin = |bytes: Bytes| {
        let task = tokio::spawn(content::store(Arc::clone(node), bytes));
        async move { task.await.map_err(io::Error::other)? }
    };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        let mut data = data;
        while buffer.len() + data.len() >= CHUNK_LENGTH_BYTES_MAX {
            buffer.extend_from_slice(&data.split_to(CHUNK_LENGTH_BYTES_MAX - buffer.len()));
            in_flight.push_back(begin(std::mem::replace(&mut buffer, BytesMut::with_capacity(CHUNK_LENGTH_BYTES_MAX)).freeze()));
            while in_flight.len() >= CHUNKS_AT_ONCE {
                chunks.extend(in_flight.try_next().await?);
            }
        }
        buffer.extend_from_slice(&data);
    }
    let file = if buffer.len() <= INLINE_LENGTH_BYTES_MAX && chunks.is_empty() && in_flight.is_empty() {
        std::hint::black_box(hash(&buffer));
        FileRecord::Inline(buffer.freeze())
    } else {
        if !buffer.is_empty() {
            in_flight.push_back(begin(buffer.freeze()));
        }
        while let Some(chunk) = in_flight.try_next().await? {
            chunks.push(chunk);
        }
        FileRecord::Chunks(chunks)
    };
    node.propose(encode(name, Some(&file))).await?;
    Ok(full(Bytes::new()))
}

async fn get(node: &Arc<Node>, name: &str, range: Option<&HeaderValue>) -> io::Result<Answered> {
    node.read_point().await?;
    let file = node.file(name).await?.ok_or_else(|| io::Error::other(format!("no file {name}")))?;
    let chunks = match file {
        FileRecord::Inline(bytes) => return Ok(full(bytes)),
        FileRecord::Chunks(chunks) => chunks,
    };
    let size: usize = chunks.iter().map(|chunk| usize::try_from(chunk.length).unwrap_or(0)).sum();
    let (first, end) = range.and_then(parse_range).map_or((0, size), |(first, last)| (first, (last + 1).min(size)));
    let node = Arc::clone(node);
    let mut start = 0;
    let mut parts = Vec::new();
    for chunk in chunks {
        let length = usize::try_from(chunk.length).unwrap_or(0);
        let within = first.max(start).min(start + length) - start..end.max(start).min(start + length) - start;
        start += length;
        if !within.is_empty() {
            parts.push((chunk, within));
        }
    }
    let pieces = stream::iter(parts)
        .map(move |(chunk, within)| content::read(Arc::clone(&node), chunk, within))
        .buffered(CHUNKS_AT_ONCE)
        .map_ok(|pieces| stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece)))))
        .try_flatten();
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - first));
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn parse_range(value: &HeaderValue) -> Option<(usize, usize)> {
    let (first, last) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
