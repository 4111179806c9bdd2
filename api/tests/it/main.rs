//! The faces over real metadata: one node, its groups in memory, contents in a map. Requests go through the very routes that the server serves.

mod administration;
mod asking;
mod audit;
mod batch;
mod changes;
mod dav;
mod harness;
mod jobs;
mod locks;
mod openapi;
mod past;
mod past_copies;
mod recycle;
mod rest;
mod restore;
mod server;
mod socket;
mod user_meta;
mod versions;
mod web;
