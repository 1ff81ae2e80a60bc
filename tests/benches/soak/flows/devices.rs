//! Devices that are let in, turned away, and left alone.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth_tests::application::Answer;
use mcp_oauth_tests::browser::hidden_field;
use mcp_oauth_tests::client::Tokens;
use mcp_oauth_tests::device::DEVICE_GRANT;

use crate::begun::What;
use crate::caller::Caller;
use crate::site::Site;
use crate::visitor::{Client, Visitor, expect, expect_error};

/// How long a device waits between two questions.
const INTERVAL: Duration = Duration::from_secs(5);

/// A device that shows its code.
struct Waiting {
    client: Client,
    device_code: String,
    user_code: String,
}

impl Waiting {
    async fn begin(visitor: &Visitor) -> Self {
        let client = visitor.register().await;
        visitor.site.begun.add(What::Device);
        let resource = visitor.site.resource("echo");
        let answer = visitor
            .as_client(&client, "/device_authorization", &[("resource", &resource)])
            .await;
        let codes = expect(answer, 200, "a device asks").json();
        let text = |name: &str| codes[name].as_str().expect("a code").to_owned();
        Self {
            device_code: text("device_code"),
            user_code: text("user_code"),
            client,
        }
    }

    async fn poll(&self, visitor: &Visitor) -> Answer {
        let fields = [("grant_type", DEVICE_GRANT), ("device_code", &self.device_code)];
        visitor.as_client(&self.client, "/token", &fields).await
    }

    /// Somebody enters the code, and decides.
    async fn decide(&self, visitor: &mut Visitor, decision: &str) -> Answer {
        visitor.site.begun.add(What::SignIn);
        let entered = visitor.submit("/device", &[("user_code", &self.user_code)]).await;
        let entered = expect(entered, 303, "a code is entered");
        let consent = expect(
            visitor.open(entered.header("location")).await,
            200,
            "a device's consent page",
        );
        let transaction = hidden_field(&consent, "transaction");
        let fields = [("transaction", transaction.as_str()), ("decision", decision)];
        visitor.submit("/consent", &fields).await
    }
}

/// A device that somebody lets in.
pub(crate) async fn let_in(site: Arc<Site>) {
    let (device, mut person) = (Visitor::new(&site), Visitor::new(&site));
    let shown = Waiting::begin(&device).await;
    expect_error(
        &shown.poll(&device).await,
        400,
        "authorization_pending",
        "nobody was there",
    );
    let approved = expect(shown.decide(&mut person, "approve").await, 303, "a device is let in");
    let chosen = person.choose(&approved).await;
    expect(person.come_back(&chosen).await, 200, "the end at the browser");
    tokio::time::sleep(INTERVAL).await;
    site.begun.add(What::UsedClient);
    let tokens = Tokens::of(&shown.poll(&device).await);
    Caller::of(&site, "echo", &tokens).list_tools().await;
    let tokens = Tokens::of(&device.refresh(&shown.client, &tokens.refresh_token).await);
    device.revoke(&shown.client, &tokens.refresh_token).await;
}

/// A device that is turned away, and one that asks too often and is then left alone.
pub(crate) async fn not_let_in(site: Arc<Site>) {
    let (device, mut person) = (Visitor::new(&site), Visitor::new(&site));
    let shown = Waiting::begin(&device).await;
    expect(shown.decide(&mut person, "deny").await, 200, "a device is turned away");
    expect_error(&shown.poll(&device).await, 400, "access_denied", "turned away");

    let shown = Waiting::begin(&device).await;
    expect_error(
        &shown.poll(&device).await,
        400,
        "authorization_pending",
        "nobody was there",
    );
    for _ in 0..2 {
        let answer = expect(shown.poll(&device).await, 400, "too often");
        // On a machine that has other things to do, five seconds may have passed.
        let told = answer.json()["error"].clone();
        assert!(
            told == "slow_down" || told == "authorization_pending",
            "too often: {told}"
        );
    }
}
