//! The audit log: a line of JSON, or a record of OTLP, for each event.
//!
//! A line is written before the request is answered, and by whoever answers it: what was acknowledged is in the file. Where
//! that fails, the log says so and what the event was, and the request goes on: a full disk does not keep people out.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use mcp_oauth_core::audit::{AuditSink, Event, Outcome};
use metrics::{Unit, describe_counter};
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use serde::Serialize;
use serde_json::Value;

use crate::configuration::Configuration;

/// Events that are not in the file.
const FAILURES: &str = "mcp_gateway_audit_write_failures_total";

pub(super) fn describe() {
    describe_counter!(
        FAILURES,
        Unit::Count,
        "Audit events that could not be written to the file"
    );
    metrics::counter!(FAILURES).absolute(0);
}

/// An event, and when it was in words.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        let moment = UNIX_EPOCH + Duration::from_secs(event.at.as_seconds());
        Self {
            time: humantime::format_rfc3339_seconds(moment).to_string(),
            event,
        }
    }
}

/// Where events go beside the log. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct AuditLog {
    file: Option<Arc<File>>,
    records: Option<SdkLogger>,
}

impl AuditLog {
    /// The file of the configuration, for a command that does what has to be on record.
    pub(crate) fn of_file(configuration: &Configuration) -> anyhow::Result<Option<Self>> {
        let file = configuration
            .telemetry
            .audit_file
            .as_deref()
            .map(File::open)
            .transpose()?;
        Ok(file.map(|file| Self::new(Some(file), None)))
    }

    pub(super) fn new(file: Option<File>, records: Option<SdkLoggerProvider>) -> Self {
        Self {
            file: file.map(Arc::new),
            records: records.map(|records| records.logger("mcp_oauth::audit")),
        }
    }

    /// Opens the file again on each `SIGHUP`, which `logrotate` sends when it has moved it away.
    #[cfg_attr(not(unix), allow(clippy::unnecessary_wraps, reason = "there is no such signal"))]
    pub(super) fn reopen_on_hangup(&self) -> anyhow::Result<()> {
        #[cfg(unix)]
        if let Some(file) = self.file.clone() {
            use tokio::signal::unix::{SignalKind, signal};

            let mut hangups = signal(SignalKind::hangup()).context("the signal SIGHUP cannot be listened for")?;
            tokio::spawn(async move {
                while hangups.recv().await.is_some() {
                    match file.reopen() {
                        Ok(()) => tracing::info!("the audit log was opened again"),
                        Err(error) => tracing::error!(%error, "the audit log goes on in the file that was open"),
                    }
                }
            });
        }
        Ok(())
    }
}

impl AuditSink for AuditLog {
    fn record(&self, event: &Event) {
        if let Some(file) = &self.file
            && let Err(error) = file.write(&Line::of(event))
        {
            metrics::counter!(FAILURES).increment(1);
            tracing::error!(%error, "the event in the line above could not be written to the audit log");
        }
        if let Some(records) = &self.records {
            send(records, event);
        }
    }
}

/// Sends an event as a record: its members are attributes below `mcp_oauth.`.
fn send(records: &SdkLogger, event: &Event) {
    let mut record = records.create_log_record();
    let moment = UNIX_EPOCH + Duration::from_secs(event.at.as_seconds());
    record.set_timestamp(moment);
    record.set_event_name("mcp_oauth.audit");
    let (severity, name) = match event.outcome {
        Outcome::Success => (Severity::Info, "INFO"),
        _ => (Severity::Warn, "WARN"),
    };
    record.set_severity_number(severity);
    record.set_severity_text(name);
    record.set_body(AnyValue::from(event.action.as_str()));
    if let Ok(Value::Object(members)) = serde_json::to_value(event) {
        for (name, value) in members {
            record.add_attribute(format!("mcp_oauth.{name}"), attribute(value));
        }
    }
    records.emit(record);
}

fn attribute(value: Value) -> AnyValue {
    match value {
        Value::String(text) => text.into(),
        Value::Array(values) => AnyValue::ListAny(Box::new(values.into_iter().map(attribute).collect())),
        Value::Number(number) if number.is_i64() => number.as_i64().unwrap_or_default().into(),
        other => other.to_string().into(),
    }
}

/// The file, which is opened again when somebody has moved it away.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    file: Mutex<std::fs::File>,
}

impl File {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = append_to(path).with_context(|| {
            format!(
                "the audit log cannot be written to {}: set telemetry.audit_file",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        // In one piece, so that a line is never mixed with another process's.
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&line)
    }

    fn reopen(&self) -> io::Result<()> {
        let file = append_to(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

/// A file that is made here is its owner's alone; one that is there stays whose it is.
fn append_to(path: &Path) -> io::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
