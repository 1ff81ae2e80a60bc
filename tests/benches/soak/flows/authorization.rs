//! People who sign in, do not, or turn away; and clients that come, are managed, and go.

use std::sync::Arc;

use http::Method;
use mcp_oauth_core::revocation::MAXIMUM_AGE;
use mcp_oauth_tests::client::{Tokens, public_metadata};

use crate::begun::What;
use crate::caller::Caller;
use crate::site::{Site, random};
use crate::visitor::{Client, Visitor, expect, expect_error, parameter};

/// The whole life of a grant, from a registration to the end: the tokens are used, refreshed, repeated, asked about, and
/// given back.
pub(crate) async fn whole(site: Arc<Site>) {
    let mut visitor = Visitor::new(&site);
    let client = visitor.register_confidential().await;
    let echo = site.resource("echo");
    let first = visitor.sign_in(&client, &echo).await;
    Caller::of(&site, "echo", &first).list_tools().await;

    let second = Tokens::of(&visitor.refresh(&client, &first.refresh_token).await);
    // The answer was lost, and the client asks again.
    let again = Tokens::of(&visitor.refresh(&client, &first.refresh_token).await);
    assert_eq!(
        again.refresh_token, second.refresh_token,
        "a repeat has the same successor"
    );
    let (one, other) = tokio::join!(
        visitor.refresh(&client, &second.refresh_token),
        visitor.refresh(&client, &second.refresh_token)
    );
    let (third, other) = (Tokens::of(&one), Tokens::of(&other));
    assert_eq!(
        third.refresh_token, other.refresh_token,
        "of two at once each has the same"
    );
    Caller::of(&site, "echo", &third).list_tools().await;

    let resident = Client::resident();
    for token in [&third.access_token, &third.refresh_token] {
        assert!(visitor.is_active(&client, token).await, "a good token");
    }
    assert!(visitor.is_active(&resident, &third.access_token).await, "to its server");
    visitor.revoke(&client, &third.access_token).await;
    assert!(!visitor.is_active(&client, &third.access_token).await, "after the end");
    let refreshed = visitor.refresh(&client, &third.refresh_token).await;
    expect_error(&refreshed, 400, "invalid_grant", "a refresh after the end");
    // Processes know of an end within this time.
    tokio::time::sleep(MAXIMUM_AGE).await;
    Caller::of(&site, "echo", &third).is_refused().await;
}

/// Somebody who does not go on, at each step in turn.
pub(crate) async fn left(site: Arc<Site>) {
    for steps in 0..4 {
        let mut visitor = Visitor::new(&site);
        let client = Client::resident();
        let consent = visitor.ask(&client, &site.resource("echo")).await;
        if steps == 0 {
            continue;
        }
        let approved = visitor.decide(&consent, "approve").await;
        if steps == 1 {
            continue;
        }
        let chosen = visitor.choose(&approved).await;
        if steps == 2 {
            continue;
        }
        let returned = visitor.come_back(&chosen).await;
        assert!(parameter(&returned, "code").is_some(), "a code that nobody redeems");
    }
}

/// Somebody who says no.
pub(crate) async fn denied(site: Arc<Site>) {
    let mut visitor = Visitor::new(&site);
    let consent = visitor.ask(&Client::resident(), &site.resource("echo")).await;
    let denied = visitor.decide(&consent, "deny").await;
    assert_eq!(parameter(&denied, "error").as_deref(), Some("access_denied"));
}

/// A client that is read, changed, and deleted.
pub(crate) async fn managed(site: Arc<Site>) {
    let visitor = Visitor::new(&site);
    let client = visitor.register().await;
    let (uri, token) = client.management.clone().expect("a client can be managed");
    let ask = |method: Method| visitor.request(method, &uri).bearer_auth(&token);
    expect(Visitor::send(ask(Method::GET)).await, 200, "a client is read");
    let mut metadata = public_metadata();
    metadata["client_id"] = client.id.clone().into();
    metadata["client_name"] = "Another name".into();
    let replaced = expect(
        Visitor::send(ask(Method::PUT).json(&metadata)).await,
        200,
        "a client is changed",
    );
    // The token may be another one from here on.
    let replaced = replaced.json();
    let token = replaced["registration_access_token"]
        .as_str()
        .unwrap_or(&token)
        .to_owned();
    let ask = |method: Method| visitor.request(method, &uri).bearer_auth(&token);
    site.begun.add(What::DeletedClient);
    expect(Visitor::send(ask(Method::DELETE)).await, 204, "a client is deleted");
    expect(Visitor::send(ask(Method::GET)).await, 401, "a client that is not there");
}

/// A client that nobody signs in with.
pub(crate) async fn unused(site: Arc<Site>) {
    Visitor::new(&site).register().await;
}

/// A code that is used again, which ends the grant, and a refresh token of before the last one.
pub(crate) async fn reused(site: Arc<Site>) {
    let mut visitor = Visitor::new(&site);
    let (client, echo) = (Client::resident(), site.resource("echo"));

    let code = visitor.code(&client, &echo).await;
    let wrong = client.clone().with_another_verifier();
    expect_error(
        &visitor.redeem(&wrong, &code).await,
        400,
        "invalid_grant",
        "another verifier",
    );
    let tokens = Tokens::of(&visitor.redeem(&client, &code).await);
    expect_error(
        &visitor.redeem(&client, &code).await,
        400,
        "invalid_grant",
        "a code again",
    );
    let refreshed = visitor.refresh(&client, &tokens.refresh_token).await;
    expect_error(
        &refreshed,
        400,
        "invalid_grant",
        "a refresh after a code was used twice",
    );

    let first = visitor.sign_in(&client, &echo).await;
    let second = Tokens::of(&visitor.refresh(&client, &first.refresh_token).await);
    let third = Tokens::of(&visitor.refresh(&client, &second.refresh_token).await);
    let straggler = visitor.refresh(&client, &first.refresh_token).await;
    expect_error(
        &straggler,
        400,
        "invalid_grant",
        "a refresh token of before the last one",
    );
    // It came so soon that it may have been on its way all the time, and ends nothing.
    let fourth = Tokens::of(&visitor.refresh(&client, &third.refresh_token).await);
    visitor.revoke(&client, &fourth.refresh_token).await;
}

/// What is simply wrong.
pub(crate) async fn mistakes(site: Arc<Site>) {
    let mut visitor = Visitor::new(&site);
    let resident = Client::resident();
    let impostor = Client::resident().with_secret(random());
    let refreshed = visitor.refresh(&impostor, "no.token").await;
    expect_error(&refreshed, 401, "invalid_client", "a wrong secret");
    for token in ["no.token", &random(), ""] {
        let refreshed = visitor.refresh(&resident, token).await;
        assert_eq!(refreshed.status, 400, "no refresh token: {refreshed:?}");
    }
    let redeemed = visitor.redeem(&resident, &random()).await;
    expect_error(&redeemed, 400, "invalid_grant", "no code");
    assert!(!visitor.is_active(&resident, &random()).await, "no token");
    visitor.revoke(&resident, &random()).await;
    let stranger = visitor
        .form("/token", &[("grant_type", "refresh_token"), ("client_id", "nobody")])
        .await;
    assert!(
        [400, 401].contains(&stranger.status.as_u16()),
        "nobody's client: {stranger:?}"
    );
    let form = visitor
        .form("/token", &[("grant_type", "password"), ("client_id", "nobody")])
        .await;
    assert!([400, 401].contains(&form.status.as_u16()), "no grant type: {form:?}");

    let authorize = "/authorize?response_type=code&client_id=nobody&redirect_uri=http%3A%2F%2F127.0.0.1%2F";
    expect(visitor.open(authorize).await, 400, "nobody's sign-in");
    let elsewhere = format!(
        "/authorize?response_type=code&client_id={}&redirect_uri=https%3A%2F%2Fevil.example%2F",
        resident.id
    );
    expect(visitor.open(&elsewhere).await, 400, "a redirect URI of somebody else");
    expect(visitor.open("/callback?state=x&code=y").await, 400, "nobody comes back");
    let consent = [("transaction", "x"), ("decision", "approve")];
    expect(
        visitor.submit("/consent", &consent).await,
        400,
        "a decision about nothing",
    );
    expect(
        visitor.submit("/device", &[("user_code", "BCDF-GHJK")]).await,
        400,
        "no code of a device",
    );

    let registration = visitor.request(Method::POST, "/register").json(&["no client"]);
    let registration = Visitor::send(registration).await;
    expect_error(&registration, 400, "invalid_client_metadata", "no client");
    let long = visitor.form("/token", &[("grant_type", &"x".repeat(100_000))]).await;
    expect(long, 413, "too long a form");
    expect(
        Visitor::send(visitor.request(Method::PUT, "/token")).await,
        405,
        "a wrong method",
    );
    expect(visitor.get("/nothing/here").await, 404, "a path that is not there");
    let foreign = visitor.request(Method::GET, "/jwks").header("host", "evil.example");
    expect(Visitor::send(foreign).await, 421, "a host that is not served");

    for server in ["echo", "pad", "elsewhere"] {
        for token in ["nothing", "a.b.c", &random()] {
            Caller::new(&site, server, token).is_refused().await;
        }
    }
}

/// What everybody may read.
pub(crate) async fn documents(site: Arc<Site>) {
    let visitor = Visitor::new(&site);
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/echo/mcp",
        "/.well-known/oauth-protected-resource/behind/mcp",
        "/jwks",
        "/health",
        "/ready",
        "/device",
    ] {
        expect(visitor.get(path).await, 200, path);
    }
}
