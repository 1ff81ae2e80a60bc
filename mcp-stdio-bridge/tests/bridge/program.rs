//! The program: its command line, its listener, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{INITIALIZE, call, lines, program, runs};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mcp-stdio-bridge");

struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Running {
    /// Starts the program on a free port and waits until it says where it serves.
    fn start(configure: impl FnOnce(&mut Command), server: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["--port", "0", "--log-level", "warn"])
            .stderr(Stdio::piped());
        configure(&mut command);
        Self::of(command.arg("--").arg(program()).args(server).spawn().unwrap())
    }

    /// Waits until a program that was started says where it serves.
    fn of(mut child: Child) -> Self {
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        Self { child, stderr, address }
    }

    /// A POST on a connection of its own: the head and the body of the response.
    fn post(&self, session: Option<&str>, body: &str) -> (String, Value) {
        let mut text = String::new();
        self.send(session, body).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    fn send(&self, session: Option<&str>, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let session = session
            .map(|id| format!("mcp-session-id: {id}\r\n"))
            .unwrap_or_default();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n{session}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        stream
    }

    fn open(&self) -> String {
        let (head, _) = self.post(None, INITIALIZE);
        let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        id.unwrap_or_else(|| panic!("no session in {head:?}")).to_owned()
    }

    fn result(&self, session: &str, tool: &str) -> Value {
        let (_, mut answer) = self.post(Some(session), &call("1", tool, &serde_json::json!({})));
        answer["result"].take()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_command_behind_the_dashes_is_started_as_it_stands() {
    let arguments = ["serve", "--port", "99", "--host=x", "--help", "--", "-v"];
    let running = Running::start(
        |command| {
            command.env("SECRET", "of the bridge").env("WANTED", "by the server");
            command.args(["--pass-env", "WANTED", "--env", "GIVEN=a=b"]);
        },
        &arguments,
    );
    let session = running.open();
    assert_eq!(
        running.result(&session, "arguments")["arguments"],
        serde_json::json!(arguments)
    );
    let environment = running.result(&session, "environment")["environment"].take();
    assert!(environment.get("SECRET").is_none());
    assert_eq!(
        (&environment["WANTED"], &environment["GIVEN"]),
        (&"by the server".into(), &"a=b".into())
    );
}

#[test]
fn sigterm_ends_the_program_and_its_servers_though_a_client_waits() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = Running::start(|_| (), &[]);
        let session = running.open();
        let process = running.result(&session, "process")["process"].take();
        let grandchild = running.result(&session, "grandchild")["process"].take();
        // A call that is in flight: it has said something, and will not answer.
        let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"d"}}"#;
        let stream = running.send(Some(&session), &call("5", "write", &lines(&[log])));
        let mut answer = BufReader::new(stream).lines();
        assert!(answer.any(|line| line.unwrap().contains(log)));
        running.signal(signal);
        assert!(answer.any(|line| line.unwrap().contains("-32603")));
        assert!(running.child.wait().unwrap().success());
        assert!(!runs(&process) && !runs(&grandchild));
    }
}

#[test]
fn an_address_that_others_reach_has_to_be_allowed() {
    let output = Command::new(PROGRAM)
        .args(["--host", "0.0.0.0", "--port", "0", "--", "x"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("--allow-unauthenticated"), "{text}");
    let running = Running::start(
        |command| {
            command.env("MCP_BIND_HOST", "0.0.0.0").arg("--allow-unauthenticated");
            command.args(["--allowed-host", "0.0.0.0"]);
        },
        &[],
    );
    running.open();
}

#[test]
fn a_server_that_does_not_start_is_explained_in_the_log() {
    let mut running = Running::start(|_| (), &["exit-at-start"]);
    let (_, answer) = running.post(None, INITIALIZE);
    assert_eq!(answer["error"]["code"], -32603);
    running.signal(Signal::SIGTERM);
    let mut log = String::new();
    running.stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains("the settings are missing"), "{log}");
}

#[test]
fn help_teaches_by_example() {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "mcp-stdio-bridge -- uvx mcp-server-time",
        "MCP_BIND_HOST",
        "MCP_PORT",
        "--allowed-host",
        "--pass-env",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn a_bridge_that_is_killed_leaves_no_server_however_stubborn() {
    let mut running = Running::start(|_| (), &["ignore-eof"]);
    let session = running.open();
    let process = running.result(&session, "process")["process"].take();
    let grandchild = running.result(&session, "grandchild")["process"].take();
    assert!(runs(&process) && runs(&grandchild));
    running.signal(Signal::SIGKILL);
    running.child.wait().unwrap();
    crate::support::await_end(&process);
    crate::support::await_end(&grandchild);
}

#[test]
fn a_server_has_the_limits_that_are_set_for_it() {
    let script = r#"read -r line; printf '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","files":%s}}\n' "$(ulimit -n)"; cat >/dev/null"#;
    let mut command = Command::new(PROGRAM);
    command.args(["--port", "0", "--limit-files", "123", "--", "sh", "-c", script]);
    let running = Running::of(command.stderr(Stdio::piped()).spawn().unwrap());
    let (_, answer) = running.post(None, INITIALIZE);
    assert_eq!(answer["result"]["files"], 123);
}
