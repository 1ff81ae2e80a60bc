//! Whatever comes in whatever order: every request gets exactly one answer, its own, and soon.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp_stdio_bridge::{Bridge, Share};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Answer, Client, INITIALIZE, Modern, scripted};

/// Who talks to whom.
#[derive(Debug, Clone, Copy)]
enum Pair {
    Legacy,
    Shared,
    Modern,
    ModernToLegacy,
    LegacyToModern,
}

/// What happens next. Clients are numbered, calls are named by when they came.
#[derive(Debug, Clone)]
enum Step {
    /// A call that is answered when it is released.
    Hold(usize),
    /// A call that is answered at once.
    Quick(usize),
    /// A call in which the server asks the client, who answers or does not.
    Ask(usize, bool),
    Release(usize),
    Cancel(usize),
    /// A client goes away with a call under way.
    Leave(usize),
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..2_usize;
    let step = prop_oneof![
        4 => client.clone().prop_map(Step::Hold),
        3 => client.clone().prop_map(Step::Quick),
        2 => (client.clone(), any::<bool>()).prop_map(|(client, answers)| Step::Ask(client, answers)),
        3 => (0..12_usize).prop_map(Step::Release),
        2 => client.clone().prop_map(Step::Cancel),
        1 => client.clone().prop_map(Step::Leave),
        1 => client.prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..14)
}

fn pair() -> impl Strategy<Value = Pair> {
    prop_oneof![
        Just(Pair::Legacy),
        Just(Pair::Shared),
        Just(Pair::Modern),
        Just(Pair::ModernToLegacy),
        Just(Pair::LegacyToModern),
    ]
}

/// One client, of either era.
#[derive(Clone)]
enum Caller {
    Session(Client),
    Alone(Modern),
}

impl Caller {
    async fn open(bridge: &Bridge, pair: Pair) -> Self {
        match pair {
            Pair::Modern | Pair::ModernToLegacy => Self::Alone(Modern::capable(bridge)),
            _ => {
                let able = INITIALIZE.replace(r#""capabilities":{}"#, r#""capabilities":{"elicitation":{}}"#);
                Self::Session(Client::open_with(bridge, &able).await)
            }
        }
    }

    async fn call(&self, tool: &str, arguments: &Value, more: &str) -> Answer {
        match self {
            // All with the same id, as some clients do it.
            Self::Session(client) => client.call("1", tool, arguments).await,
            Self::Alone(client) => client.call_with(tool, arguments, more).await,
        }
    }
}

/// Everything that comes for one call: what is not an answer is dealt with, the answers are counted.
async fn answers(caller: Caller, tool: &'static str, arguments: Value, reply: bool) -> Vec<Value> {
    let mut answers = Vec::new();
    let mut more = String::new();
    loop {
        let mut answer = caller.call(tool, &arguments, &more).await;
        let mut messages = Vec::new();
        if answer.content_type() == "text/event-stream" {
            while let Some(event) = answer.event().await {
                let message: Value = serde_json::from_str(&event).unwrap();
                if message.get("method").is_some() {
                    if let (Caller::Session(client), true, true) = (&caller, reply, message.get("id").is_some()) {
                        let text = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "action": "accept" } });
                        client.post(text.to_string()).await;
                    }
                    continue;
                }
                messages.push(message);
            }
        } else {
            messages.push(serde_json::from_str(&answer.text().await).unwrap());
        }
        let question = messages
            .first()
            .filter(|message| message["result"]["resultType"] == "input_required")
            .map(|message| message["result"].clone());
        let Some(question) = question else {
            answers.extend(messages);
            return answers;
        };
        if !reply {
            // The client does not come back; that was its answer.
            answers.extend(messages);
            return answers;
        }
        let name = question["inputRequests"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .clone();
        more = format!(
            r#","inputResponses":{{"{name}":{{"action":"accept"}}}},"requestState":{}"#,
            question["requestState"]
        );
    }
}

async fn run(pair: Pair, steps: Vec<Step>) {
    let server = match pair {
        Pair::Modern | Pair::LegacyToModern => scripted(&["modern"]),
        _ => scripted(&[]),
    };
    let share = if matches!(pair, Pair::Shared) {
        Share::Shared
    } else {
        Share::PerSession
    };
    // Room for every call that is held: where there is none, the next one waits for half a minute.
    let bridge = Bridge::builder(server).share(share).max_pool(16).build().unwrap();
    let mut callers = Vec::new();
    for _ in 0..2 {
        callers.push(Caller::open(&bridge, pair).await);
    }
    let mut held: BTreeMap<usize, usize> = BTreeMap::new();
    let mut running: Vec<(usize, JoinHandle<Vec<Value>>)> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Hold(client) => {
                held.insert(number, client);
                let arguments = json!({ "as": number.to_string() });
                running.push((
                    number,
                    tokio::spawn(answers(callers[client].clone(), "hold", arguments, true)),
                ));
            }
            Step::Quick(client) => {
                running.push((
                    number,
                    tokio::spawn(answers(callers[client].clone(), "process", json!({}), true)),
                ));
            }
            Step::Ask(client, reply) => {
                let task = tokio::spawn(answers(callers[client].clone(), "ask", json!({}), reply));
                running.push((number, task));
            }
            Step::Release(number) => {
                if let Some(client) = held.get(&number) {
                    let arguments = json!({ "as": number.to_string() });
                    let released = answers(callers[*client].clone(), "release", arguments, true).await;
                    assert_eq!(released.len(), 1, "a release");
                }
            }
            Step::Cancel(client) => {
                if let Caller::Session(client) = &callers[client] {
                    let text = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
                    client.post(text).await;
                }
            }
            Step::Leave(client) => {
                let caller = callers[client].clone();
                let gone = tokio::spawn(async move { caller.call("hold", &json!({ "as": "gone" }), "").await });
                tokio::task::yield_now().await;
                gone.abort();
            }
            Step::Crash(client) => {
                let crashed = answers(callers[client].clone(), "crash", json!({ "code": 1 }), true).await;
                assert_eq!(crashed.len(), 1, "a crash");
                callers[client] = Caller::open(&bridge, pair).await;
            }
        }
        tokio::task::yield_now().await;
    }
    // Whatever is still held is answered at the end, by the server or for it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    bridge.stop();
    bridge.shutdown().await;
    for (number, task) in running {
        let answers = tokio::time::timeout(Duration::from_secs(10), task).await;
        let answers = answers.unwrap_or_else(|_| panic!("{number} has no answer")).unwrap();
        assert_eq!(answers.len(), 1, "{number}: {answers:?}");
        let answer = &answers[0];
        assert!(
            answer.get("result").is_some() != answer.get("error").is_some(),
            "{answer}"
        );
        if let Some(released) = answer["result"]["released"].as_str() {
            assert_eq!(released, number.to_string(), "somebody else's answer");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 8, ..ProptestConfig::default() })]

    #[test]
    fn every_request_gets_exactly_one_answer_and_its_own(pair in pair(), steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(pair, steps));
    }
}
