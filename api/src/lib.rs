//! Every face of Skep that a client sees: REST, WebDAV, the web page, the event socket; under them the use cases, which know no HTTP.
//!
//! The invariant of this crate: nothing is read or changed without an [`auth::rights::Authorized`] proof, which only a decision over a linearizable view
//! of the system group makes. What the crate needs of the node that runs it is named in [`ports`].

pub mod app;
pub mod auth;
pub mod dav;
pub(crate) mod download;
pub mod error_code;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod ports;
pub mod refusals;
pub mod request_context;
pub mod rest;
pub mod server;
pub mod service;
pub mod stated;
pub mod web;
pub(crate) mod ws;
