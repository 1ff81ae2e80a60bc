//! Consent comes first, and one browser goes the whole way. Defect S6.

use mcp_oauth_core::store::Kind;
use mcp_oauth_tests::application::{Answer, Application};
use mcp_oauth_tests::browser::{Browser, arrival, hidden_field};
use mcp_oauth_tests::client::Client;

/// A browser in front of the consent page of a public client.
async fn at_consent() -> (Application, Client, Browser, Answer) {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    (application, client, browser, consent)
}

#[tokio::test]
async fn nobody_is_sent_to_the_identity_provider_before_they_consent() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let page = application.get(&client.authorization_url(&[])).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("location"), "");
    assert!(page.body.contains(r#"name="decision" value="approve""#));
}

#[tokio::test]
async fn the_sign_in_cookie_is_set_only_after_consent() {
    let (application, _, mut browser, consent) = at_consent().await;
    // Each name ends with a part of the transaction's identifier, which may itself hold hyphens.
    let ending = format!("-{}", &hidden_field(&consent, "transaction")[..12]);
    let names = |browser: &Browser| -> Vec<String> {
        browser
            .cookie_names()
            .iter()
            .map(|name| name.strip_suffix(ending.as_str()).unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&browser), ["mcp-oauth-browser"]);
    let approved = browser.decide(&application, &consent, "approve").await;
    assert_eq!(names(&browser), ["mcp-oauth-browser", "mcp-oauth-sign-in"]);
    browser.sign_in(&application, &approved, "ada").await;
    assert!(browser.cookie_names().is_empty(), "nothing is left when it is over");
}

#[tokio::test]
async fn cookies_are_out_of_reach_of_scripts_and_of_other_sites() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let cookie = application
        .get(&client.authorization_url(&[]))
        .await
        .header("set-cookie")
        .to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
}

#[tokio::test]
async fn on_https_cookies_belong_to_the_host_alone() {
    let application = Application::new(|_| {
        mcp_oauth_tower::AuthorizationServer::builder("https://auth.example.com")
            .resource(mcp_oauth_tower::Resource::new("https://auth.example.com/mcp").unwrap())
            .resource(mcp_oauth_tower::Resource::new(mcp_oauth_tests::application::NOTES).unwrap())
            .resource(mcp_oauth_tower::Resource::new(mcp_oauth_tests::application::FILES).unwrap())
            .default_resource("https://auth.example.com/mcp")
            .identity(mcp_oauth_tests::identity::ScriptedIdentity::default())
            .allow(mcp_oauth_tower::AllowList::everybody())
            .store(mcp_oauth_tower::MemoryStore::default())
    });
    let client = Client::public(&application).await;
    let cookie = application
        .get(&client.authorization_url(&[]))
        .await
        .header("set-cookie")
        .to_owned();
    assert!(
        cookie.starts_with("__Host-mcp-oauth-browser-") && cookie.contains("; Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn another_browser_cannot_decide() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let consent = Browser::default()
        .open(&application, &client.authorization_url(&[]))
        .await;
    for mut other in [Browser::default(), {
        let mut browser = Browser::default();
        browser.open(&application, &client.authorization_url(&[])).await;
        browser
    }] {
        let answer = other.decide(&application, &consent, "approve").await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("another browser"), "{}", answer.body);
    }
}

#[tokio::test]
async fn another_browser_cannot_finish_somebodys_sign_in() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut attacker = Browser::default();
    let consent = attacker.open(&application, &client.authorization_url(&[])).await;
    let approved = attacker.decide(&application, &consent, "approve").await;
    // The attacker sends the link to the sign-in to somebody else.
    let mut victim = Browser::default();
    victim.open(&application, &client.authorization_url(&[])).await;
    let returned = victim.sign_in(&application, &approved, "grace").await;
    assert_eq!(returned.status, 400);
    assert_eq!(returned.header("location"), "");
    // Nothing was used up by that.
    assert!(
        !arrival(&attacker.sign_in(&application, &approved, "ada").await)
            .code()
            .is_empty()
    );
}

#[tokio::test]
async fn a_callback_before_consent_leads_nowhere() {
    let (application, _, mut browser, consent) = at_consent().await;
    let transaction = hidden_field(&consent, "transaction");
    let made_up = format!("/callback?state={transaction}.{}&code=ada", "x".repeat(43));
    assert_eq!(browser.open(&application, &made_up).await.status, 400);
}

#[tokio::test]
async fn a_state_that_is_missing_made_up_or_used_leads_nowhere() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    for path in [
        "/callback",
        "/callback?code=ada",
        "/callback?state=x&code=ada",
        "/callback?state=%00",
    ] {
        assert_eq!(browser.open(&application, path).await.status, 400, "{path}");
    }
    let consent = browser.open(&application, &client.authorization_url(&[])).await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let keeps_its_cookies = browser.clone();
    browser.sign_in(&application, &approved, "ada").await;
    let again = keeps_its_cookies.clone().sign_in(&application, &approved, "ada").await;
    assert_eq!(again.status, 400);
    assert!(again.body.contains("already finished"));
}

#[tokio::test]
async fn a_sign_in_has_ten_minutes() {
    let (application, _, mut browser, consent) = at_consent().await;
    application.clock.advance(std::time::Duration::from_secs(600));
    let answer = browser.decide(&application, &consent, "approve").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("expired"));
}

#[tokio::test]
async fn loading_the_consent_page_twice_spoils_neither() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut browser = Browser::default();
    let first = browser.open(&application, &client.authorization_url(&[])).await;
    let second = browser.open(&application, &client.authorization_url(&[])).await;
    for consent in [first, second] {
        let approved = browser.decide(&application, &consent, "approve").await;
        assert!(
            !arrival(&browser.sign_in(&application, &approved, "ada").await)
                .code()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_page_that_is_opened_twice_at_the_same_time_can_be_used_in_either_tab() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for used in 0..2 {
        // Neither request has a cookie yet; the browser then keeps what both answers set.
        let mut browser = Browser::default();
        let (mut first_tab, mut second_tab) = (browser.clone(), browser.clone());
        let tabs = [
            first_tab.open(&application, &client.authorization_url(&[])).await,
            second_tab.open(&application, &client.authorization_url(&[])).await,
        ];
        for answer in &tabs {
            browser.keep_cookies(answer);
        }
        let approved = browser.decide(&application, &tabs[used], "approve").await;
        assert!(
            !arrival(&browser.sign_in(&application, &approved, "ada").await)
                .code()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_person_who_takes_nine_minutes_for_each_step_still_arrives() {
    let (application, _, mut browser, consent) = at_consent().await;
    application.clock.advance(std::time::Duration::from_secs(540));
    let approved = browser.decide(&application, &consent, "approve").await;
    let renewed = approved
        .headers
        .get_all("set-cookie")
        .iter()
        .filter(|cookie| cookie.to_str().unwrap().contains("Max-Age=600"));
    assert_eq!(renewed.count(), 2, "the browser has its whole time again too");
    application.clock.advance(std::time::Duration::from_secs(540));
    assert!(
        !arrival(&browser.sign_in(&application, &approved, "ada").await)
            .code()
            .is_empty()
    );
}

#[tokio::test]
async fn a_callback_needs_the_cookie_and_the_proof_of_one_and_the_same_sign_in() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let mut attacker = Browser::default();
    let consent = attacker.open(&application, &client.authorization_url(&[])).await;
    attacker.decide(&application, &consent, "approve").await;
    let transaction = hidden_field(&consent, "transaction");
    let sign_in = attacker
        .cookie_names()
        .iter()
        .find(|name| name.contains("sign-in"))
        .unwrap()
        .to_string();

    // A cookie and a proof that fit each other, but not the transaction: whoever can compute one can compute the
    // other.
    let made_up = mcp_oauth_core::secret::Secret::random();
    let proof = made_up.derive("state");
    let path = format!("/callback?state={transaction}.{}&code=grace", proof.expose());
    let mut forger = Browser::default();
    forger.set_cookie(&sign_in, made_up.expose());
    assert_eq!(forger.open(&application, &path).await.status, 400);

    // The right cookie with a wrong proof.
    assert_eq!(attacker.open(&application, &path).await.status, 400);
}

#[tokio::test]
async fn a_page_of_another_name_that_points_to_this_machine_reaches_no_sign_in() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for path in [
        client.authorization_url(&[]),
        "/consent".to_owned(),
        "/callback".to_owned(),
        "/development/sign-in".to_owned(),
    ] {
        let headers = [("host", "evil.example:8080")];
        let method = if path == "/consent" {
            http::Method::POST
        } else {
            http::Method::GET
        };
        let answer = application
            .send(mcp_oauth_tests::application::request(method, &path, &headers, ""))
            .await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.header("set-cookie"), "", "{path}");
    }
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"] {
        let headers = [("host", host)];
        let url = client.authorization_url(&[]);
        let answer = application
            .send(mcp_oauth_tests::application::request(
                http::Method::GET,
                &url,
                &headers,
                "",
            ))
            .await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn submitting_twice_leads_to_the_same_place_twice() {
    let application = Application::default();
    let client = Client::public(&application).await;
    for decision in ["approve", "deny"] {
        let mut browser = Browser::default();
        let consent = browser.open(&application, &client.authorization_url(&[])).await;
        // Both clicks happen before the first answer arrives.
        let second_click = browser.clone().decide(&application, &consent, decision).await;
        let first = browser.decide(&application, &consent, decision).await;
        assert_eq!(first.status, 303);
        assert_eq!(first.header("location"), second_click.header("location"));
        assert_eq!(first.header("set-cookie"), second_click.header("set-cookie"));
    }
}

#[tokio::test]
async fn two_tabs_do_not_disturb_each_other() {
    let application = Application::default();
    let (first_client, second_client) = (Client::public(&application).await, Client::public(&application).await);
    let mut browser = Browser::default();
    let first = browser.open(&application, &first_client.authorization_url(&[])).await;
    let second = browser.open(&application, &second_client.authorization_url(&[])).await;
    let first = browser.decide(&application, &first, "approve").await;
    let second = browser.decide(&application, &second, "approve").await;
    let second = arrival(&browser.sign_in(&application, &second, "grace").await).code();
    let first = arrival(&browser.sign_in(&application, &first, "ada").await).code();
    assert_eq!(first_client.redeem(&application, &first, &[]).await.status, 200);
    assert_eq!(second_client.redeem(&application, &second, &[]).await.status, 200);
}

#[tokio::test]
async fn denying_tells_the_client_and_ends_the_sign_in() {
    let (application, _, mut browser, consent) = at_consent().await;
    let denied = arrival(&browser.decide(&application, &consent, "deny").await);
    assert_eq!(denied.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.parameter("state").as_deref(), Some("state of the client"));
    assert_eq!(browser.decide(&application, &consent, "approve").await.status, 400);
}

#[tokio::test]
async fn a_redirect_uri_in_the_posted_form_changes_nothing() {
    let (application, _, mut browser, consent) = at_consent().await;
    let transaction = hidden_field(&consent, "transaction");
    let fields = [
        ("transaction", transaction.as_str()),
        ("decision", "deny"),
        ("redirect_uri", "https://evil.example/"),
    ];
    let denied = arrival(&browser.submit(&application, "/consent", &fields).await);
    assert_eq!(denied.url.host_str(), Some("127.0.0.1"));
}

#[tokio::test]
async fn interleaved_sign_ins_of_two_people_never_mix() {
    let application = Application::default();
    let client = Client::public(&application).await;
    let sign_in = |number: usize| {
        let (application, client) = (application.clone(), client.clone());
        tokio::spawn(async move {
            let person = ["ada", "grace"][number % 2];
            let tokens = client.sign_in(&application, person).await;
            let called = application
                .call(mcp_oauth_tests::application::NOTES, &tokens.access_token)
                .await;
            (called.json()["username"].as_str().unwrap().to_owned(), person)
        })
    };
    let tasks: Vec<_> = (0..200).map(sign_in).collect();
    for task in tasks {
        let (seen, person) = task.await.unwrap();
        assert_eq!(seen, person);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_callbacks_of_one_sign_in_one_gets_a_code() {
    let (application, _, mut browser, consent) = at_consent().await;
    let approved = browser.decide(&application, &consent, "approve").await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (application, mut browser, approved) = (application.clone(), browser.clone(), approved.clone());
            tokio::spawn(async move { browser.sign_in(&application, &approved, "ada").await.status })
        })
        .collect();
    let mut arrived = 0;
    for task in tasks {
        arrived += u32::from(task.await.unwrap() == 303);
    }
    assert_eq!(arrived, 1);
    assert_eq!(application.store.inner().count_of(Kind::Grant), 1);
}
