//! What a client of the modern era wants to hear of, and what of it a server of the other can say.

use crate::message::Message;

/// What a client wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    pub(super) uris: Vec<String>,
}

impl Filter {
    pub(super) fn read(request: &Message) -> Option<Self> {
        let [wanted] = request.members(request.params()?, ["notifications"]);
        let wanted = request.text(&wanted?).to_owned();
        let wanted: serde_json::Value = serde_json::from_str(&wanted).ok()?;
        let flag = |name: &str| wanted[name] == true;
        let uris = wanted["resourceSubscriptions"].as_array().into_iter().flatten();
        wanted.is_object().then(|| Self {
            tools: flag("toolsListChanged"),
            prompts: flag("promptsListChanged"),
            resources: flag("resourcesListChanged"),
            uris: uris.filter_map(|uri| uri.as_str().map(str::to_owned)).collect(),
        })
    }

    /// What of it the server can do, and the methods that go with it.
    pub(super) fn supported(mut self, initialized: &str) -> (Self, Vec<&'static str>) {
        let said: serde_json::Value = serde_json::from_str(initialized).unwrap_or_default();
        let can = |what: &str, how: &str| said["capabilities"][what][how] == true;
        self.tools &= can("tools", "listChanged");
        self.prompts &= can("prompts", "listChanged");
        self.resources &= can("resources", "listChanged");
        if !can("resources", "subscribe") {
            self.uris.clear();
        }
        let methods = [
            (self.tools, "notifications/tools/list_changed"),
            (self.prompts, "notifications/prompts/list_changed"),
            (self.resources, "notifications/resources/list_changed"),
        ];
        let methods = methods
            .into_iter()
            .filter_map(|(wanted, method)| wanted.then_some(method));
        let methods = methods.collect();
        (self, methods)
    }
}

impl std::fmt::Display for Filter {
    /// As JSON.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut members = serde_json::Map::new();
        for (wanted, name) in [
            (self.tools, "toolsListChanged"),
            (self.prompts, "promptsListChanged"),
            (self.resources, "resourcesListChanged"),
        ] {
            if wanted {
                members.insert(name.to_owned(), true.into());
            }
        }
        if !self.uris.is_empty() {
            members.insert("resourceSubscriptions".to_owned(), self.uris.clone().into());
        }
        write!(f, "{}", serde_json::Value::Object(members))
    }
}
