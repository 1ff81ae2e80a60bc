//! The prompts.

use serde_json::{Value, json};

use crate::client::{Client, Failure, Keep, form};
use crate::content::{image, resource, text};
use crate::offer::Offer;

pub(crate) fn list(offer: &Offer) -> Value {
    let argument =
        |name: &str, description: &str| json!({ "name": name, "description": description, "required": true });
    let mut prompts = json!([
        { "name": "test_simple_prompt", "description": "A prompt without arguments" },
        {
            "name": "test_prompt_with_arguments",
            "description": "A prompt with two arguments",
            "arguments": [argument("arg1", "First test argument"), argument("arg2", "Second test argument")],
        },
        {
            "name": "test_prompt_with_embedded_resource",
            "description": "A prompt with a resource in it",
            "arguments": [argument("resourceUri", "URI of the resource to embed")],
        },
        { "name": "test_prompt_with_image", "description": "A prompt with an image in it" },
        { "name": "test_input_required_result_prompt", "description": "A prompt that asks for its context" },
    ]);
    if offer.has_extra_prompt() {
        let extra = json!({ "name": "test_extra_prompt", "description": "A prompt that comes and goes" });
        prompts.as_array_mut().unwrap().push(extra);
    }
    json!({ "prompts": prompts })
}

pub(crate) fn get(name: &str, arguments: &Value, offer: &Offer, client: &dyn Client) -> Result<Value, Failure> {
    let argument = |name: &str| {
        arguments[name]
            .as_str()
            .ok_or_else(|| Failure::invalid(format!("Missing argument: {name}")))
    };
    let contents = match name {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1")?, argument("arg2")?);
            vec![text(&format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
        }
        "test_prompt_with_embedded_resource" => vec![
            resource(
                argument("resourceUri")?,
                "text/plain",
                "Embedded resource content for testing.",
            ),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => vec![image(), text("Please analyze the image above.")],
        "test_input_required_result_prompt" => {
            let question = form(
                "user_context",
                "What context should the prompt use?",
                &json!({ "context": { "type": "string" } }),
            );
            let answers = client.ask(&[question], Keep::Nothing)?;
            let context = answers[0]["content"]["context"].as_str().unwrap_or("none");
            vec![text(&format!("Use this context: {context}"))]
        }
        "test_extra_prompt" if offer.has_extra_prompt() => vec![text("This prompt comes and goes.")],
        _ => return Err(Failure::invalid(format!("Unknown prompt: {name}"))),
    };
    let messages: Vec<Value> = contents
        .into_iter()
        .map(|content| json!({ "role": "user", "content": content }))
        .collect();
    Ok(json!({ "messages": messages }))
}
