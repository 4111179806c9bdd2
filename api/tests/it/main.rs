//! The faces over real metadata: one node, its groups in memory, contents in a map. Requests go through the very routes that the server serves.

mod dav;
mod harness;
mod jobs;
mod locks;
mod rest;
mod server;
mod web;
