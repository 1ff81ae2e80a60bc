//! Challenges in `WWW-Authenticate`, what a browser brings back, and addresses: whatever comes is read to its end or
//! refused, and each challenge has a scheme.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| mcp_stdio_bridge::fuzzing::challenges(text));
