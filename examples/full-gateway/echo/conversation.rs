//! What was said in this session.
//!
//! The state of a session lives in the session's own server and goes with it; there is no table of sessions, so no
//! tool could tell of another one even by mistake. Clients of MCP 2026-07-28 have no sessions: for them each request
//! is a new conversation, an echo is the message and nothing more, and there is nothing to replay.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::JsonSchema;
use rmcp::{tool, tool_router};
use serde::Deserialize;

use super::masking;
use super::report::{Report, duration, moment, one_line};
use super::{Call, EchoServer};

/// The longest message, in bytes. Each session keeps one.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// One session.
#[derive(Debug)]
pub(super) struct Conversation {
    began: SystemTime,
    calls: u64,
    last_call: Option<Instant>,
    echoes: u64,
    last_echo: Option<String>,
}

impl Conversation {
    pub(super) fn begin() -> Self {
        Self {
            began: SystemTime::now(),
            calls: 0,
            last_call: None,
            echoes: 0,
            last_echo: None,
        }
    }

    /// Counts a call, and tells how long ago the one before was.
    pub(super) fn called(&mut self) -> Option<Duration> {
        self.calls += 1;
        self.last_call.replace(Instant::now()).map(|before| before.elapsed())
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Remembers `message` where there is a session, and repeats it.
    fn echo(&mut self, call: &Call, message: String) -> Result<String, String> {
        if message.len() > LONGEST_MESSAGE {
            return Err(format!(
                "The message has {} bytes; at most {LONGEST_MESSAGE} bytes are echoed.",
                message.len()
            ));
        }
        self.echoes += 1;
        let Some(session) = call.session() else {
            return Ok(message);
        };
        let echo = format!(
            "[Session {} from {}] {message}",
            masking::session(session),
            client(call)
        );
        self.last_echo = Some(message);
        Ok(echo)
    }

    fn replay(&self, call: &Call) -> Result<String, String> {
        let session = call
            .session()
            .ok_or("There is no session, so there is nothing to replay: this client speaks MCP without sessions.")?;
        let message = self
            .last_echo
            .as_ref()
            .ok_or("Nothing was echoed in this session yet: call echo first.")?;
        Ok(format!(
            "[REPLAY - Session {} from {}] {message}",
            masking::session(session),
            client(call)
        ))
    }

    fn describe(&self, call: &Call) -> String {
        let report = Report::new("Session Information")
            .section("This session")
            .optional("session", call.session().map(masking::session))
            .line("client", client(call))
            .optional("client version", call.client.as_ref().map(|(_, version)| version))
            .optional("protocol version", call.protocol.as_ref())
            .optional("subject", call.claims.as_ref().map(|claims| &claims.subject));
        if call.session().is_none() {
            return report
                .remark("This client speaks MCP without sessions: nothing is remembered between requests.")
                .finish();
        }
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        report
            .line("began", moment(began.as_secs()))
            .line("age", duration(self.began.elapsed().unwrap_or_default()))
            .line("tool calls", self.calls)
            .line("messages echoed", self.echoes)
            .line(
                "last message",
                self.last_echo
                    .as_ref()
                    .map_or("none".to_owned(), |message| format!("{} bytes", message.len())),
            )
            .remark("Only whoever opened a session can use it, and other sessions cannot be seen from here.")
            .finish()
    }
}

/// The client by its own account.
fn client(call: &Call) -> String {
    call.client
        .as_ref()
        .map_or("unknown".to_owned(), |(name, _)| one_line(name, 64))
}

/// The arguments of `echo`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Echo {
    /// What to say back, at most 64 KiB.
    message: String,
}

#[tool_router(router = conversation_tools, vis = "pub(super)")]
impl EchoServer {
    #[tool(
        description = "Says the message back, with the session and the client that it came from.",
        annotations(title = "Echo", read_only_hint = true, open_world_hint = false)
    )]
    fn echo(
        &self,
        Extension(call): Extension<Call>,
        Parameters(Echo { message }): Parameters<Echo>,
    ) -> Result<String, String> {
        self.conversation().echo(&call, message)
    }

    #[tool(
        name = "replayLastEcho",
        description = "Says the last message of this session once more.",
        annotations(title = "Replay the last echo", read_only_hint = true, open_world_hint = false)
    )]
    fn replay_last_echo(&self, Extension(call): Extension<Call>) -> Result<String, String> {
        self.conversation().replay(&call)
    }

    #[tool(
        name = "sessionInfo",
        description = "Tells of this session: since when it is open, with which client, and what happened in it.",
        annotations(title = "Session information", read_only_hint = true, open_world_hint = false)
    )]
    fn session_info(&self, Extension(call): Extension<Call>) -> String {
        self.conversation().describe(&call)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn call() -> Call {
        let mut call = Call {
            client: Some(("tester".to_owned(), "1.0".to_owned())),
            ..Call::default()
        };
        call.headers.insert(
            "mcp-session-id",
            HeaderValue::from_static("0c1d2e3f-4a5b-4c6d-8e7f-001122334455"),
        );
        call
    }

    #[test]
    fn an_echo_names_session_and_client() {
        let mut conversation = Conversation::begin();
        assert_eq!(
            conversation.echo(&call(), "hi".to_owned()).unwrap(),
            "[Session 0c1d2e3f... from tester] hi"
        );
        assert_eq!(
            conversation.replay(&call()).unwrap(),
            "[REPLAY - Session 0c1d2e3f... from tester] hi"
        );
    }

    #[test]
    fn the_last_message_is_replayed() {
        let mut conversation = Conversation::begin();
        assert!(conversation.replay(&call()).unwrap_err().contains("call echo first"));
        conversation.echo(&call(), "first".to_owned()).unwrap();
        conversation.echo(&call(), "second".to_owned()).unwrap();
        assert!(conversation.replay(&call()).unwrap().ends_with("] second"));
    }

    #[test]
    fn without_a_session_nothing_is_remembered() {
        let (mut conversation, call) = (Conversation::begin(), Call::default());
        assert_eq!(conversation.echo(&call, "hi".to_owned()).unwrap(), "hi");
        assert!(conversation.last_echo.is_none());
        assert!(conversation.replay(&call).unwrap_err().contains("no session"));
        assert!(conversation.describe(&call).contains("nothing is remembered"));
    }

    #[test]
    fn a_message_has_an_end() {
        let mut conversation = Conversation::begin();
        assert!(conversation.echo(&call(), "x".repeat(LONGEST_MESSAGE)).is_ok());
        let error = conversation.echo(&call(), "x".repeat(LONGEST_MESSAGE + 1)).unwrap_err();
        assert_eq!(error, "The message has 65537 bytes; at most 65536 bytes are echoed.");
    }

    #[test]
    fn a_session_is_described_without_its_identifier() {
        let mut conversation = Conversation::begin();
        assert_eq!(conversation.called(), None);
        assert!(conversation.called().is_some());
        let text = conversation.describe(&call());
        assert!(
            text.contains("session: 0c1d2e3f...\n") && text.contains("tool calls: 2\n"),
            "{text}"
        );
        assert!(!text.contains("001122334455"));
    }

    #[test]
    fn a_client_cannot_name_itself_into_another_line() {
        let call = Call {
            client: Some(("evil\n[Session".to_owned(), String::new())),
            ..call()
        };
        assert!(!Conversation::begin().echo(&call, String::new()).unwrap().contains('\n'));
    }
}
