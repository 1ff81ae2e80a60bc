//! What people do with the pages in a real browser, and what other sites cannot make them do there.
//!
//! The sites are the project's own routers on ports of this machine, with a clock that the test holds; the browser is Chromium,
//! driven by `clients/browser/driver.mjs`. Pictures of all pages land in `target/screenshots`, or where `MCP_TEST_SCREENSHOTS`
//! says.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

mod account;
mod chromium;
mod devices;
mod keyboard;
mod other_sites;
mod pages;
mod provider;
mod remembered_consent;
mod scene;
mod sign_in;
mod site;
mod web;
mod without_scripts;
