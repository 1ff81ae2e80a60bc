//! Backups: one of which a part is replaced is refused or says what it said before; lines of somebody else never get by.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::backup::{BackupReader, Summary, inspect};
use mcp_oauth_core::clock::UnixTime;
use mcp_oauth_tests::application::Application;
use mcp_oauth_tests::client::Client;

const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);

/// A backup with a client, a grant and something that has ended.
static BACKUP: LazyLock<(Vec<u8>, Summary)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let application = Application::default();
        let client = Client::public(&application).await;
        client.sign_in(&application, "ada").await;
        let operator = application.server.operator();
        operator.end_grants_of_user("nobody").await.expect("the store answers");
        let mut file = Vec::new();
        operator.export_to(&mut file, None).await.expect("a backup can be made");
        let summary = inspect(file.as_slice(), NOW).expect("it can be read");
        (file, summary)
    })
});

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (from, length, by) = input;
    let (file, summary) = &*BACKUP;
    let from = usize::from(from) % file.len();
    let to = (from + usize::from(length) % 64).min(file.len());
    let changed = [&file[..from], by, &file[to..]].concat();
    // The line feed at the end says nothing, and neither does how the trailer is written.
    if let Ok(read) = inspect(changed.as_slice(), NOW) {
        assert_eq!(read, *summary);
    }
    let mut reader = BackupReader::new();
    let header = file.split(|byte| *byte == b'\n').next().expect("a header");
    reader.line(header).expect("a header");
    for line in by.split(|byte| *byte == b'\n') {
        if let Err(error) = reader.line(line) {
            let _ = error.to_string();
        }
    }
});
