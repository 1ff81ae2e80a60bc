//! `mcp-stdio-bridge connect URL`: a remote, protected server behind stdio, or called from a script.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use mcp_stdio_bridge::connect::{
    AuthorizationError, CallError, ConnectError, Connection, RemoteServer, RequestError, Status,
};
use serde_json::{Map, Value, json};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod options;

pub(crate) use options::Options;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NO_TOKEN: u8 = 3;
const UNREACHABLE: u8 = 4;
const ANSWERED_WITH_AN_ERROR: u8 = 5;

/// Something that the options ask for is not there or not right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Does what the options say, and says how it went.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(log)
        .with(options.log_level.clone())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(act(options));
    // A read of stdin cannot be called off; it does not keep the program.
    runtime.shutdown_background();
    Ok(match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mcp-stdio-bridge: {}", told(&error));
            ExitCode::from(code_of(&error))
        }
    })
}

/// What went wrong, and why. Many errors say their cause themselves, and it is not said again.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn code_of(error: &anyhow::Error) -> u8 {
    let is_wrong_address =
        |error: &ConnectError| matches!(error, ConnectError::Address(_) | ConnectError::ClientMetadataUrl);
    if error.is::<Usage>() || error.downcast_ref().is_some_and(is_wrong_address) {
        return USAGE;
    }
    if error.is::<AuthorizationError>() {
        return NO_TOKEN;
    }
    match error.downcast_ref::<CallError>() {
        Some(CallError::Request(RequestError::Authorization(_) | RequestError::Unauthorized)) => NO_TOKEN,
        Some(CallError::Request(_) | CallError::Interrupted) => UNREACHABLE,
        Some(CallError::Failed { .. }) => ANSWERED_WITH_AN_ERROR,
        _ => FAILED,
    }
}

async fn act(options: Options) -> anyhow::Result<ExitCode> {
    let connection = options.connection()?;
    let task = &options.task;
    let json = options.json;
    if task.list_tools {
        return list(&connection, "tools/list", "tools", "name", json).await;
    }
    if task.list_prompts {
        return list(&connection, "prompts/list", "prompts", "name", json).await;
    }
    if task.list_resources {
        return list(&connection, "resources/list", "resources", "uri", json).await;
    }
    if let Some(words) = &task.call {
        let arguments = words.get(1).map_or("{}", String::as_str);
        let arguments = object(arguments).map_err(|_| Usage("the arguments of a tool are a JSON object".to_owned()))?;
        return call(&connection, &words[0], arguments, json).await;
    }
    if let Some(command) = &task.command {
        let (tool, arguments) = command_line(command)?;
        return call(&connection, tool, arguments, json).await;
    }
    if let Some(raw) = &task.raw {
        return send_raw(&connection, raw).await;
    }
    if task.token || task.print_token {
        connection.access_token().await?;
        // Only the server can say whether it is any good; if not, this gets one that is.
        let caller = connection.call().await?;
        caller.close().await;
        if task.print_token {
            say(connection.access_token().await?.expose())?;
        } else {
            report(&connection.status().await?, json)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if task.test_auth {
        let caller = connection.call_without_sign_in().await?;
        caller.close().await;
        report(&connection.status().await?, json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if task.logout {
        let text = if connection.log_out().await? {
            "the tokens are gone"
        } else {
            "there were no tokens"
        };
        eprintln!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    if task.show_registration {
        return pretty(&Value::Object(connection.registration().await?));
    }
    if let Some(changes) = &task.update_registration {
        let changes = object(changes).map_err(|_| Usage("the changes are a JSON object of members".to_owned()))?;
        return pretty(&Value::Object(connection.update_registration(changes).await?));
    }
    if task.delete_registration {
        if !options.yes && !sure("End this client's registration, and all its tokens with it?")? {
            bail!("nothing was changed");
        }
        connection.delete_registration().await?;
        eprintln!("the registration has ended");
        return Ok(ExitCode::SUCCESS);
    }
    let shutdown = shutdown()?;
    connection
        .serve(tokio::io::stdin(), tokio::io::stdout(), shutdown)
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn list(connection: &Connection, method: &str, member: &str, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let mut caller = connection.call().await?;
    let entries = finish(caller.list(method, member).await, caller).await?;
    if json {
        return pretty(&Value::Array(entries));
    }
    for entry in entries {
        let text = |member: &str| {
            entry[member]
                .as_str()
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        say(format!("{}\t{}", text(name), text("description")).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The session ends whichever way the call went.
async fn finish<T>(result: Result<T, CallError>, caller: RemoteServer) -> Result<T, CallError> {
    caller.close().await;
    result
}

async fn call(
    connection: &Connection,
    tool: &str,
    arguments: Map<String, Value>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut caller = connection.call().await?;
    let params = json!({"name": tool, "arguments": arguments});
    let result = finish(caller.request("tools/call", params).await, caller).await?;
    if json {
        pretty(&result)?;
    } else {
        for block in result["content"].as_array().into_iter().flatten() {
            match block["text"].as_str() {
                Some(text) => say(text)?,
                None => say(&block.to_string())?,
            }
        }
    }
    if result["isError"] == true {
        return Ok(ExitCode::from(ANSWERED_WITH_AN_ERROR));
    }
    Ok(ExitCode::SUCCESS)
}

async fn send_raw(connection: &Connection, raw: &str) -> anyhow::Result<ExitCode> {
    let request = object(raw).map_err(|_| Usage("a request is a JSON object".to_owned()))?;
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        bail!(Usage("a request has a method".to_owned()));
    };
    let params = request.get("params").cloned().unwrap_or_else(|| json!({}));
    let id = request.get("id").cloned().unwrap_or_else(|| json!(1));
    let mut caller = connection.call().await?;
    match finish(caller.request(method, params).await, caller).await {
        Ok(result) => pretty(&json!({"jsonrpc": "2.0", "id": id, "result": result})),
        Err(CallError::Failed { code, message }) => {
            pretty(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))?;
            Ok(ExitCode::from(ANSWERED_WITH_AN_ERROR))
        }
        Err(error) => Err(error.into()),
    }
}

/// `tool {"a": 1}`, or `tool a=1 b=text`: a value that is JSON is what it says, and any other is a text.
fn command_line(text: &str) -> anyhow::Result<(&str, Map<String, Value>)> {
    let text = text.trim();
    let (tool, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    if tool.is_empty() {
        bail!(Usage("name a tool".to_owned()));
    }
    if rest.is_empty() || rest.starts_with('{') {
        let arguments = if rest.is_empty() { "{}" } else { rest };
        let arguments = object(arguments).map_err(|_| Usage("the arguments are not a JSON object".to_owned()))?;
        return Ok((tool, arguments));
    }
    let mut arguments = Map::new();
    for word in rest.split_whitespace() {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let wanted = "write the arguments as a JSON object, or as name=value";
            bail!(Usage(format!("`{word}` has no name: {wanted}")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        arguments.insert(name.to_owned(), value);
    }
    Ok((tool, arguments))
}

fn object(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_str(text)
}

fn report(status: &Status, json: bool) -> anyhow::Result<()> {
    if json {
        return pretty(&serde_json::to_value(status)?).map(|_| ());
    }
    say(&format!("server      {}", status.server))?;
    let line = |name: &str, value: Option<&str>| value.map_or(Ok(()), |value| say(&format!("{name:<11} {value}")));
    line("issuer", status.issuer.as_deref())?;
    line("client", status.client_id.as_deref())?;
    line("scope", status.scope.as_deref())?;
    line(
        "ends in",
        status.expires_in.map(|seconds| format!("{seconds} s")).as_deref(),
    )?;
    line(
        "renewable",
        status
            .issuer
            .as_ref()
            .map(|_| if status.refreshable { "yes" } else { "no" }),
    )?;
    Ok(())
}

fn pretty(value: &Value) -> anyhow::Result<ExitCode> {
    say(&serde_json::to_string_pretty(value)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What was asked for, on stdout.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").context("stdout")
}

fn sure(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!(Usage("this cannot be undone: say --yes".to_owned()));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Ends when the program is told to end.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut signal = crate::Signal::new()?;
    Ok(async move { signal.received().await })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ConnectError, USAGE, code_of, command_line, told};

    #[test]
    fn an_address_that_is_none_is_a_wrong_option_and_said_once() {
        for wrong in ["", "nonsense", "http://example.com/mcp", "https://ada@example.com/mcp"] {
            let error = mcp_stdio_bridge::connect::Connection::builder(wrong)
                .build()
                .unwrap_err();
            assert!(matches!(error, ConnectError::Address(_)), "{wrong}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            let error = anyhow::Error::from(error);
            assert_eq!(code_of(&error), USAGE);
            assert_eq!(told(&error).matches(&cause).count(), 1, "{}", told(&error));
        }
    }

    #[test]
    fn a_cause_that_was_not_said_is_said() {
        let error = anyhow::Error::from(std::io::Error::other("the disk is full")).context("tokens.json");
        assert_eq!(told(&error), "tokens.json: the disk is full");
    }

    #[test]
    fn a_call_in_one_text_is_a_tool_and_its_arguments() {
        for (text, tool, arguments) in [
            ("list", "list", json!({})),
            (r#" echo {"message": "a b"} "#, "echo", json!({"message": "a b"})),
            ("add a=1 b=x c=true", "add", json!({"a": 1, "b": "x", "c": true})),
            (
                "get url=https://a.example/?a=b",
                "get",
                json!({"url": "https://a.example/?a=b"}),
            ),
        ] {
            let (found, read) = command_line(text).unwrap();
            assert_eq!((found, serde_json::Value::Object(read)), (tool, arguments), "{text}");
        }
        assert!(command_line("").is_err());
        assert!(command_line("echo hello").is_err());
        assert!(command_line("echo {").is_err());
    }
}
