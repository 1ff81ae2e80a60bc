//! A device without a browser, which takes one step at a time.

use std::time::Duration;

use mcp_oauth_core::server::builder::AuthorizationServerBuilder;
use serde_json::{Value, json};

use crate::application::{Answer, Application};
use crate::browser::Browser;
use crate::client::Client;

/// The grant type, as it is written.
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// An application that lets devices in.
#[must_use]
pub fn application() -> Application {
    Application::new(AuthorizationServerBuilder::device_authorization)
}

/// What a client registers that runs on devices alone, as `mcp-remote` does.
#[must_use]
pub fn device_metadata() -> Value {
    json!({"token_endpoint_auth_method": "none", "client_name": "Test device", "response_types": ["code"],
        "grant_types": [DEVICE_GRANT, "refresh_token"]})
}

/// A device that shows its code.
#[derive(Clone, Debug)]
pub struct Device {
    /// The client that runs on it.
    pub client: Client,
    /// What it polls with.
    pub device_code: String,
    /// What it shows.
    pub user_code: String,
}

impl Device {
    /// Registers a client and asks to be let in.
    pub async fn begin(application: &Application) -> Self {
        let client = Client::register(application, &device_metadata()).await;
        Self::of(application, client).await
    }

    /// Asks to be let in as this client.
    pub async fn of(application: &Application, client: Client) -> Self {
        let answer = client.post(application, "/device_authorization", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |name: &str| answer.json()[name].as_str().expect("a text").to_owned();
        Self {
            client,
            device_code: text("device_code"),
            user_code: text("user_code"),
        }
    }

    /// Polls, with some fields changed.
    pub async fn poll_with(&self, application: &Application, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("grant_type", DEVICE_GRANT), ("device_code", &self.device_code)];
        fields.extend_from_slice(changes);
        self.client.token(application, &fields).await
    }

    /// Polls.
    pub async fn poll(&self, application: &Application) -> Answer {
        self.poll_with(application, &[]).await
    }

    /// Waits for as long as a device does, and polls.
    pub async fn wait_and_poll(&self, application: &Application) -> Answer {
        application.clock.advance(Duration::from_secs(5));
        self.poll(application).await
    }

    /// The person who sits before it lets it in, as this made-up person.
    pub async fn let_in(&self, application: &Application, person: &str) -> Answer {
        let mut browser = Browser::default();
        let consent = browser.enter(application, &self.user_code).await;
        let approved = browser.decide(application, &consent, "approve").await;
        browser.sign_in(application, &approved, person).await
    }
}

impl Browser {
    /// Enters the code of a device, and goes on to the page that this leads to.
    pub async fn enter(&mut self, application: &Application, user_code: &str) -> Answer {
        let entered = self.submit(application, "/device", &[("user_code", user_code)]).await;
        if entered.status == 303 {
            self.open(application, entered.header("location")).await
        } else {
            entered
        }
    }
}
