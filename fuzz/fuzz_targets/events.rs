//! An event stream: where the network cuts it makes no difference to what is read.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mcp_stdio_bridge::fuzzing::events(bytes));
