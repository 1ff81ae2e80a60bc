//! The envelope of a message that passes the bridge: whatever comes, what was read of it stays the same JSON on one line,
//! and another id changes nothing but the id.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mcp_stdio_bridge::fuzzing::envelope(bytes));
