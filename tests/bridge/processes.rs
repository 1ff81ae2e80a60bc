//! Which processes run, as Linux tells it.

use std::time::Duration;

/// Whether a process runs. One that has ended and was not waited for by its parent does not.
pub(crate) fn runs(process: &str) -> bool {
    state(process).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Waits until every child of a process that has ended was waited for by it.
pub(crate) async fn no_zombies(parent: u32) {
    until(|| zombies(parent) == 0, "a child that has ended is not waited for").await;
}

fn zombies(parent: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|process| state(&process))
        .filter(|&(state, of)| state == 'Z' && of == parent)
        .count()
}

/// Waits for the end of a process.
pub(crate) async fn ended(process: &str) {
    until(|| !runs(process), "a process still runs").await;
}

async fn until(so: impl Fn() -> bool, otherwise: &str) {
    let patience = Duration::from_secs(60);
    let wait = async {
        while !so() {
            // Nothing tells a process of the end of one that it has not started.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(patience, wait).await.is_ok(), "{otherwise}");
}

fn state(process: &str) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
