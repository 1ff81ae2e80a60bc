//! What crosses crates: the whole flow over HTTP, and what real programs make of it.
//!
//! Tests are named for what they promise. Where a test also holds a defect of the predecessor (`mcp-oauth-gateway`)
//! away, its comment names the defect as it is numbered in `tests/COVERAGE.md`.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod account;
mod any_server;
mod authorization;
mod backups;
mod bad_input;
mod browser_binding;
mod client_assertions;
mod client_credentials;
mod cors;
mod customised_pages;
mod deviations;
mod device;
mod device_outage;
mod device_pages;
mod documents;
mod edges;
mod enterprise;
mod floods;
mod foreign_tokens;
mod forward_auth;
mod github;
mod identity_provider;
mod keys;
mod limited_answers;
mod limits;
mod management;
mod metadata;
mod model;
mod operations;
mod operator;
mod pages;
mod policy;
mod preregistered;
mod protected_resource;
mod providers;
mod readme;
mod redirect_policy;
mod registration;
mod registration_floods;
mod registration_policy;
mod remembered_consent;
mod revocation;
mod revocation_under_load;
mod rmcp_server;
mod round_trips;
mod secrets;
mod store_outage;
mod token;
mod vault;
