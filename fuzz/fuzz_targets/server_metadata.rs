//! The metadata of a resource or of an authorization server: it is the one that was asked for, and its endpoints are https.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mcp_stdio_bridge::fuzzing::metadata(bytes));
