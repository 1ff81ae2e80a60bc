//! The tasks extension of 2026-07-28: calls that go on after they are answered, and are asked after.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::client::{Client, Failure, Keep, Kind, Question, form};
use crate::tools::{error, said, tool};

pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// By their ids, which count up from 0.
    tasks: Mutex<BTreeMap<String, Task>>,
}

#[derive(Debug)]
struct Task {
    created: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Ends at that moment, which nobody waits for: whoever asks later sees the end.
    Working {
        until: Instant,
        end: End,
    },
    /// Waits for answers to these.
    InputRequired(BTreeMap<&'static str, Question>),
    Ended(End),
}

#[derive(Debug, Clone)]
enum End {
    Completed(Value),
    Failed,
    Cancelled,
}

pub(crate) fn list() -> Vec<Value> {
    let (string, number) = (json!({ "type": "string" }), json!({ "type": "number" }));
    let seconds = json!({ "seconds": number, "label": string });
    vec![
        tool("slow_compute", "Takes some seconds, as a task if it may", &seconds),
        tool("failing_job", "Fails, as a task", &json!({})),
        tool("protocol_error_job", "Breaks, as a task", &json!({})),
        tool("confirm_delete", "Asks, as a task", &json!({ "filename": string })),
        tool("multi_input", "Asks twice at once, as a task", &json!({})),
        tool("test_tool_with_task", "Asks, and becomes a task", &json!({})),
    ]
}

impl Tasks {
    /// Calls a tool that may become a task; `None` where the name is of another kind.
    pub(crate) fn call(
        &self,
        name: &str,
        arguments: &Value,
        declared: bool,
        client: &dyn Client,
    ) -> Option<Result<Value, Failure>> {
        let confirm = |key| form(key, "Please confirm", &json!({ "confirm": { "type": "boolean" } }));
        let state = match name {
            "slow_compute" => {
                let seconds = arguments["seconds"].as_f64().unwrap_or_default().clamp(0.0, 600.0);
                let result = said(&format!("computed for {seconds} s"));
                if seconds == 0.0 || !declared {
                    std::thread::sleep(Duration::from_secs_f64(seconds));
                    return Some(Ok(result));
                }
                State::after(seconds, End::Completed(result))
            }
            "failing_job" => State::after(1.0, End::Completed(error("the job has failed"))),
            "protocol_error_job" => State::after(0.1, End::Failed),
            "confirm_delete" => State::InputRequired([("confirm", confirm("confirm"))].into()),
            "multi_input" => State::InputRequired([("first", confirm("first")), ("second", confirm("second"))].into()),
            "test_tool_with_task" => {
                let question = form(
                    "user_name",
                    "What is your name?",
                    &json!({ "name": { "type": "string" } }),
                );
                match client.ask(&[question], Keep::Nothing) {
                    Ok(answers) => {
                        let name = answers[0]["content"]["name"].as_str().unwrap_or("nobody");
                        State::after(0.1, End::Completed(said(&format!("Hello, {name}!"))))
                    }
                    Err(failure) => return Some(Err(failure)),
                }
            }
            _ => return None,
        };
        Some(require(declared).map(|()| self.create(state)))
    }

    fn create(&self, state: State) -> Value {
        let mut tasks = self.tasks.lock().unwrap();
        let id = tasks.len().to_string();
        let task = Task { created: now(), state };
        let mut result = task.describe(&id);
        result["resultType"] = json!("task");
        tasks.insert(id, task);
        result
    }

    /// The methods of the extension.
    pub(crate) fn request(&self, method: &str, params: &Value, declared: bool) -> Result<Value, Failure> {
        require(declared)?;
        let id = params["taskId"].as_str().unwrap_or_default();
        let mut tasks = self.tasks.lock().unwrap();
        let task = tasks
            .get_mut(id)
            .ok_or_else(|| Failure::invalid("There is no such task"))?;
        task.look();
        match method {
            "tasks/cancel" => task.cancel(),
            "tasks/update" => task.update(&params["inputResponses"]),
            _ => return Ok(task.detail(id)),
        }
        Ok(json!({}))
    }
}

/// Nothing of all this is for clients that have not said that they know it.
fn require(declared: bool) -> Result<(), Failure> {
    if declared {
        return Ok(());
    }
    let data = json!({ "requiredCapabilities": { "extensions": { EXTENSION: {} } } });
    Err(Failure::error(-32021, "This needs the tasks extension", data))
}

impl State {
    fn after(seconds: f64, end: End) -> Self {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        Self::Working { until, end }
    }
}

impl Task {
    /// Whoever looks sees what time has done.
    fn look(&mut self) {
        if let State::Working { until, end } = &self.state
            && *until <= Instant::now()
        {
            self.state = State::Ended(end.clone());
        }
    }

    fn cancel(&mut self) {
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(End::Cancelled);
        }
    }

    fn update(&mut self, responses: &Value) {
        let State::InputRequired(open) = &mut self.state else {
            return;
        };
        open.retain(|key, _| !Kind::Elicitation.accepts(&responses[*key]));
        if open.is_empty() {
            self.state = State::Ended(End::Completed(said("answered")));
        }
    }

    /// What every task says of itself.
    fn describe(&self, id: &str) -> Value {
        let status = match &self.state {
            State::Working { .. } => "working",
            State::InputRequired(_) => "input_required",
            State::Ended(End::Completed(_)) => "completed",
            State::Ended(End::Failed) => "failed",
            State::Ended(End::Cancelled) => "cancelled",
        };
        json!({
            "taskId": id,
            "status": status,
            "createdAt": self.created,
            "lastUpdatedAt": now(),
            "ttlMs": 600_000,
            "pollIntervalMs": 100,
        })
    }

    /// The same, and what has come of it.
    fn detail(&self, id: &str) -> Value {
        let mut detail = self.describe(id);
        match &self.state {
            State::InputRequired(open) => {
                let open: Map<String, Value> = open
                    .iter()
                    .map(|(key, question)| {
                        let request = json!({ "method": question.kind.method(), "params": question.params });
                        ((*key).to_owned(), request)
                    })
                    .collect();
                detail["inputRequests"] = json!(open);
            }
            State::Ended(End::Completed(result)) => detail["result"] = result.clone(),
            State::Ended(End::Failed) => detail["error"] = json!({ "code": -32603, "message": "the job broke" }),
            State::Working { .. } | State::Ended(End::Cancelled) => {}
        }
        detail
    }
}

/// The time as ISO 8601 has it.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut days, seconds) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}
