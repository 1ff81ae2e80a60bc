//! The tools.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Change, Client, Failure, Keep, Kind, Question, form, prompt, roots};
use crate::content::{audio, image, resource, text};
use crate::offer::Offer;
use crate::resources::WATCHED;

pub(crate) fn list(offer: &Offer) -> Value {
    let mut tools: Vec<Value> = [
        // First, because the suite calls whatever is first without arguments.
        ("test_simple_text", "Returns a text"),
        ("test_image_content", "Returns an image"),
        ("test_audio_content", "Returns a sound"),
        ("test_embedded_resource", "Returns a resource"),
        ("test_multiple_content_types", "Returns a text, an image and a resource"),
        ("test_error_handling", "Fails"),
        ("test_tool_with_logging", "Logs while it runs"),
        ("test_logging_tool", "Logs once"),
        ("test_tool_with_progress", "Tells its progress"),
        ("test_reconnection", "Takes a moment"),
        ("test_missing_capability", "Cannot do without sampling"),
        ("test_streaming_elicitation", "Tells its progress, then asks"),
        ("test_trigger_tool_change", "Adds a tool, or takes it away again"),
        ("test_trigger_prompt_change", "Adds a prompt, or takes it away again"),
        (
            "test_trigger_resource_update",
            "Updates the resource that can be watched",
        ),
        (
            "test_elicitation_sep1034_defaults",
            "Asks with a form that has defaults",
        ),
        (
            "test_elicitation_sep1330_enums",
            "Asks with a form that has lists to choose from",
        ),
        ("test_input_required_result_elicitation", "Asks the user"),
        ("test_input_required_result_sampling", "Asks the model"),
        ("test_input_required_result_list_roots", "Asks for the roots"),
        ("test_input_required_result_request_state", "Asks, and keeps a state"),
        (
            "test_input_required_result_multiple_inputs",
            "Asks several things at once",
        ),
        ("test_input_required_result_multi_round", "Asks twice"),
        (
            "test_input_required_result_tampered_state",
            "Asks, and keeps a state that must not change",
        ),
        (
            "test_input_required_result_capabilities",
            "Asks what the client is able to answer",
        ),
    ]
    .into_iter()
    .map(|(name, description)| tool(name, description, &json!({})))
    .collect();
    let string = json!({ "type": "string" });
    tools.push(tool(
        "test_sampling",
        "Passes a prompt to the model",
        &json!({ "prompt": string }),
    ));
    tools.push(tool(
        "test_elicitation",
        "Passes a message to the user",
        &json!({ "message": string }),
    ));
    tools.push(tool("greet", "Greets", &json!({ "name": string })));
    let region = json!({ "type": "string", "x-mcp-header": "Region" });
    tools.push(tool(
        "test_header",
        "Has an argument that is a header too",
        &json!({ "region": region }),
    ));
    tools.push(json!({
        "name": "json_schema_2020_12_tool",
        "description": "Has a schema with much of JSON Schema 2020-12",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": { "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": string, "city": string },
            } },
            "properties": {
                "name": string,
                "address": { "$ref": "#/$defs/address" },
                "contactMethod": { "type": "string", "enum": ["phone", "email"] },
                "phone": string,
                "email": string,
            },
            "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
            "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
            "then": { "required": ["phone"] },
            "else": { "required": ["email"] },
            "additionalProperties": false,
        },
    }));
    if offer.has_extra_tool() {
        tools.push(tool("test_extra_tool", "Comes and goes", &json!({})));
    }
    json!({ "tools": tools })
}

/// A tool whose arguments are all required.
pub(crate) fn tool(name: &str, description: &str, properties: &Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(|map| map.keys()).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    json!({ "name": name, "description": description, "inputSchema": schema })
}

pub(crate) fn call(name: &str, arguments: &Value, offer: &Offer, client: &dyn Client) -> Result<Value, Failure> {
    let argument = |name: &str| {
        arguments[name]
            .as_str()
            .ok_or_else(|| Failure::invalid(format!("Missing argument: {name}")))
    };
    let content = match name {
        "test_simple_text" => vec![text("This is a simple text response for testing.")],
        "test_image_content" => vec![image()],
        "test_audio_content" => vec![audio()],
        "test_embedded_resource" => vec![resource(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        )],
        "test_multiple_content_types" => vec![
            text("Multiple content types test:"),
            image(),
            resource(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            ),
        ],
        "test_error_handling" => return Ok(error("This tool intentionally returns an error for testing")),
        "test_tool_with_logging" => {
            client.log("Tool execution started");
            pause();
            client.log("Tool processing data");
            pause();
            client.log("Tool execution completed");
            vec![text("Logged three times.")]
        }
        "test_logging_tool" => {
            client.log("The tool runs");
            vec![text("Logged once.")]
        }
        "test_tool_with_progress" => {
            for done in [0, 50, 100] {
                client.progress(done, 100);
                pause();
            }
            vec![text("All done.")]
        }
        "test_reconnection" => {
            pause();
            vec![text("The stream was there all the time.")]
        }
        "json_schema_2020_12_tool" => vec![text(&format!("Called with {arguments}"))],
        "test_header" => vec![text(&format!("The region is {}", argument("region")?))],
        "greet" => vec![text(&format!("Hello, {}!", argument("name")?))],
        "test_trigger_tool_change" => {
            offer.toggle_tool();
            client.changed(&Change::Tools);
            vec![text("The tools have changed.")]
        }
        "test_trigger_prompt_change" => {
            offer.toggle_prompt();
            client.changed(&Change::Prompts);
            vec![text("The prompts have changed.")]
        }
        "test_trigger_resource_update" => {
            client.changed(&Change::Resource(WATCHED.to_owned()));
            vec![text("The resource has changed.")]
        }
        "test_extra_tool" if offer.has_extra_tool() => vec![text("This tool comes and goes.")],
        "test_sampling" => return sampling(client, prompt("prompt", argument("prompt")?, 100)),
        "test_missing_capability" => return sampling(client, prompt("needed", "Is anybody there?", 10)),
        _ => return ask(name, arguments, client),
    };
    Ok(json!({ "content": content }))
}

/// The tools that are there to ask the user, or several at once.
fn ask(name: &str, arguments: &Value, client: &dyn Client) -> Result<Value, Failure> {
    let string = json!({ "type": "string" });
    let user_name = form("user_name", "What is your name?", &json!({ "name": string }));
    match name {
        "test_elicitation" => {
            let message = arguments["message"]
                .as_str()
                .ok_or_else(|| Failure::invalid("Missing argument: message"))?;
            let described = |description: &str| json!({ "type": "string", "description": description });
            let fields = json!({
                "username": described("User's response"),
                "email": described("User's email address"),
            });
            let question = form("answer", message, &fields);
            let answers = client.ask(&[question], Keep::Nothing)?;
            Ok(said(&format!("User response: {}", outcome(&answers[0]))))
        }
        "test_elicitation_sep1034_defaults" => completed(client, optional("defaults", "Please review", &defaults())),
        "test_elicitation_sep1330_enums" => completed(client, optional("choices", "Please choose", &choices())),
        "test_streaming_elicitation" => {
            client.progress(1, 2);
            let answers = client.ask(&[user_name], Keep::Nothing)?;
            Ok(said(&format!("User response: {}", outcome(&answers[0]))))
        }
        "test_input_required_result_elicitation" => {
            let answers = client.ask(&[user_name], Keep::Nothing)?;
            Ok(said(&format!("Hello, {}!", field(&answers[0], "name"))))
        }
        "test_input_required_result_sampling" => sampling(
            client,
            prompt("capital_question", "What is the capital of France?", 100),
        ),
        "test_input_required_result_list_roots" => {
            let answers = client.ask(&[roots("client_roots")], Keep::Nothing)?;
            Ok(said(&format!("The roots are {}", answers[0]["roots"])))
        }
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            let question = form("confirm", "Please confirm", &json!({ "ok": { "type": "boolean" } }));
            client.ask(&[question], Keep::Answers)?;
            Ok(said("state-ok"))
        }
        "test_input_required_result_multiple_inputs" => {
            let greeting = prompt("greeting", "Generate a greeting", 50);
            let answers = client.ask(&[user_name, greeting, roots("client_roots")], Keep::Answers)?;
            let (name, greeting) = (field(&answers[0], "name"), said_by_model(&answers[1]));
            Ok(said(&format!(
                "{greeting} {name}, your roots are {}",
                answers[2]["roots"]
            )))
        }
        "test_input_required_result_multi_round" => {
            let first = form("step1", "Step 1: What is your name?", &json!({ "name": string }));
            let second = form(
                "step2",
                "Step 2: What is your favorite color?",
                &json!({ "color": string }),
            );
            let first = client.ask(&[first], Keep::Answers)?;
            let second = client.ask(&[second], Keep::Answers)?;
            let (name, color) = (field(&first[0], "name"), field(&second[0], "color"));
            Ok(said(&format!("{name} likes {color}")))
        }
        "test_input_required_result_capabilities" => {
            let questions = [
                user_name,
                prompt("greeting", "Generate a greeting", 50),
                roots("client_roots"),
            ];
            let questions: Vec<Question> = questions
                .into_iter()
                .filter(|question| client.declares(question.kind))
                .collect();
            let answers = client.ask(&questions, Keep::Answers)?;
            Ok(said(&format!("{} answers", answers.len())))
        }
        _ => Err(Failure::invalid(format!("Unknown tool: {name}"))),
    }
}

/// Asks the model one question.
fn sampling(client: &dyn Client, question: Question) -> Result<Value, Failure> {
    let answers = client.ask(&[question], Keep::Nothing)?;
    Ok(said(&format!("LLM response: {}", said_by_model(&answers[0]))))
}

/// Asks the user to fill a form.
fn completed(client: &dyn Client, question: Question) -> Result<Value, Failure> {
    let answers = client.ask(&[question], Keep::Nothing)?;
    Ok(said(&format!("Elicitation completed: {}", outcome(&answers[0]))))
}

/// A form of which nothing has to be filled in.
fn optional(key: &'static str, message: &str, properties: &Value) -> Question {
    Question {
        key,
        kind: Kind::Elicitation,
        params: json!({
            "message": message,
            "requestedSchema": { "type": "object", "properties": properties, "required": [] },
        }),
    }
}

fn defaults() -> Value {
    json!({
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
        "verified": { "type": "boolean", "default": true },
    })
}

fn choices() -> Value {
    let titled = |words: [&str; 3]| {
        let choice = |(value, title)| json!({ "const": value, "title": title });
        let choices: Vec<Value> = ["value1", "value2", "value3"]
            .into_iter()
            .zip(words)
            .map(choice)
            .collect();
        json!(choices)
    };
    json!({
        "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
        "titledSingle": { "type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"]) },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": { "type": "string", "enum": ["option1", "option2", "option3"] },
        },
        "titledMulti": {
            "type": "array",
            "items": { "anyOf": titled(["First Choice", "Second Choice", "Third Choice"]) },
        },
    })
}

/// A result that is one text.
pub(crate) fn said(words: &str) -> Value {
    json!({ "content": [text(words)] })
}

/// A result that says what went wrong.
pub(crate) fn error(words: &str) -> Value {
    json!({ "isError": true, "content": [text(words)] })
}

fn outcome(answer: &Value) -> String {
    let action = answer["action"].as_str().unwrap_or_default();
    format!("action={action}, content={}", answer["content"])
}

fn field<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer["content"][name].as_str().unwrap_or("nobody")
}

fn said_by_model(answer: &Value) -> &str {
    answer["content"]["text"].as_str().unwrap_or_default()
}

/// The suite wants to see that what a tool sends while it runs does not wait for its end.
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
