//! A stdio MCP server with everything that the official conformance suite asks of a server under test.
//!
//! It speaks one era, as servers in the field do: `--era 2025-11-25` (the handshake of `initialize`, and requests of
//! its own for sampling, elicitation and roots) or `--era 2026-07-28` (no handshake; what it needs to know is a
//! result with `inputRequests`). What it offers is the same in both, and so is the code behind it: a tool asks its
//! [`client::Client`], and only that knows how this era asks.
//!
//! The way of a message: stdin → [`serve`] → [`legacy`] or [`modern`] → [`tools`], [`prompts`], [`resources`] →
//! [`pipe`] → stdout.

#![allow(clippy::unwrap_used, reason = "a server under test may end where it has a mistake")]

mod client;
mod content;
mod legacy;
mod modern;
mod offer;
mod pipe;
mod prompts;
mod resources;
mod seal;
mod serve;
mod tasks;
mod tools;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--era", "2025-11-25"] => serve::serve(&legacy::Legacy::default()),
        ["--era", "2026-07-28"] => serve::serve(&modern::Modern::new()),
        _ => {
            eprintln!("usage: conformance-server --era 2025-11-25|2026-07-28");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
