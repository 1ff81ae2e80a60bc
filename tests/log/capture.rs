//! A log of everything: each event and span of `tracing` with all of its fields, each record of `log`, of each thread; and
//! what a sink for audit events gets to see.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use mcp_oauth_core::audit::{AuditSink, Event};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// What was logged so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The one of this process.
    pub(crate) fn of_this_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(Self::default)
    }

    /// Listens from now on, to the whole process. Once in a process.
    pub(crate) fn begin() -> Self {
        let log = Self::of_this_process();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(log.clone())
            .init();
        log::set_logger(log).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        log.clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl AuditSink for Log {
    fn record(&self, event: &Event) {
        let line = format!("{event:?}\n");
        self.0.lock().unwrap().extend_from_slice(line.as_bytes());
    }
}

impl log::Log for Log {
    /// The stand-in for GitHub writes down all that it is sent. It is no part of the server.
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        !metadata.target().starts_with("wiremock")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format!("{} {}: {}\n", record.level(), record.target(), record.args());
        self.0.lock().unwrap().extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}
