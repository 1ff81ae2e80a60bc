//! Somebody sees what they have let in, and ends it.

use std::time::Duration;

use crate::chromium::{Profile, Settings, Tab};
use crate::provider::Provider;
use crate::scene::{CLIENT, CONSENT, STOPPED, Scene};
use crate::site::{Client, Device};
use crate::web::OtherSite;

const SIGN_IN: &str = "What have I let in?";
const SIGN_IN_BUTTON: &str = "Sign in with Acme Login";
const OVERVIEW: &str = "What you have let in";
const EMPTY: &str = "Nothing has access";

/// Ada, who has let two clients in, and the tokens of both.
struct Ada {
    scene: Scene,
    provider: Provider,
    person: Profile,
    second: Client,
    tokens: [String; 2],
}

impl Ada {
    async fn begin(test: &str, scripts: bool) -> Option<Self> {
        let (scene, provider) = Scene::on_the_web(test).await?;
        let settings = Settings {
            scripts,
            ..Settings::default()
        };
        let person = scene.chromium.profile(settings).await;
        let tab = scene.approved(&person).await;
        tab.press("Ada").await;
        let arrival = scene.returned(&tab).await;
        let first = scene.client.refresh_token(&scene.site, &arrival).await;

        let second = Client::register(&scene.site, "Other App", &scene.client.redirect_uri).await;
        tab.open(&second.authorization_url(&scene.site)).await;
        tab.press("Allow").await;
        let arrival = scene.returned(&tab).await;
        let tokens = [first, second.refresh_token(&scene.site, &arrival).await];
        Some(Self {
            scene,
            provider,
            person,
            second,
            tokens,
        })
    }

    fn address(&self) -> String {
        format!("{}/account", self.scene.site.url)
    }

    /// The account page in a new tab, after a sign-in that the provider lets pass.
    async fn account(&self) -> Tab {
        let tab = self.person.open(&self.address()).await;
        tab.shows(SIGN_IN).await;
        tab.press(SIGN_IN_BUTTON).await;
        tab.shows(OVERVIEW).await;
        tab
    }

    /// Which of the two clients still have access.
    async fn have_access(&mut self) -> [bool; 2] {
        let mut have = [false; 2];
        for (at, client) in [&self.scene.client, &self.second].into_iter().enumerate() {
            let answer = client.refresh(&self.scene.site, &self.tokens[at]).await;
            have[at] = answer.status == 200;
            if have[at] {
                answer.json()["refresh_token"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut self.tokens[at]);
            }
        }
        have
    }
}

async fn people_end_the_access_of_one_and_then_of_all(mut ada: Ada) {
    let tab = ada.account().await;
    let text = tab.text().await;
    assert!(
        text.contains(CLIENT) && text.contains("Other App") && text.contains("use your notes"),
        "{text}"
    );
    assert!(text.contains("Signed in as ada"), "{text}");
    tab.press("End access of Other App").await;
    tab.arrives(&format!("{}?done=", ada.address())).await;
    let text = tab.reads(OVERVIEW).await;
    assert!(text.contains("Its access has ended."), "{text}");
    assert!(text.contains(CLIENT) && !text.contains("Other App"), "{text}");
    assert_eq!(ada.have_access().await, [true, false]);
    tab.reload().await;
    tab.shows(OVERVIEW).await;
    assert_eq!(ada.have_access().await, [true, false], "nothing is sent again");
    tab.press("End all access").await;
    let text = tab.reads(EMPTY).await;
    assert!(text.contains("All access has ended."), "{text}");
    assert_eq!(ada.have_access().await, [false, false]);
}

#[tokio::test]
async fn the_access_of_one_client_and_then_of_all_is_ended_with_a_button_each() {
    if let Some(ada) = Ada::begin("the account page", true).await {
        people_end_the_access_of_one_and_then_of_all(ada).await;
    }
}

#[tokio::test]
async fn without_scripts_the_account_page_works_too() {
    if let Some(ada) = Ada::begin("the account page without scripts", false).await {
        people_end_the_access_of_one_and_then_of_all(ada).await;
    }
}

#[tokio::test]
async fn a_double_click_ends_the_access_of_one_alone() {
    let Some(mut ada) = Ada::begin("a double click on the account page", true).await else {
        return;
    };
    let tab = ada.account().await;
    tab.press_twice(&format!("End access of {CLIENT}")).await;
    tab.arrives(&format!("{}?done=", ada.address())).await;
    tab.shows(OVERVIEW).await;
    assert_eq!(ada.have_access().await, [false, true]);
}

#[tokio::test]
async fn a_page_of_which_another_tab_has_ended_everything_shows_that_nothing_is_left() {
    let Some(ada) = Ada::begin("two tabs of the account page", true).await else {
        return;
    };
    let first = ada.account().await;
    let second = ada.person.open(&ada.address()).await;
    second.shows(OVERVIEW).await;
    second.press("End all access").await;
    second.shows(EMPTY).await;
    first.press(&format!("End access of {CLIENT}")).await;
    first.shows(EMPTY).await;
}

#[tokio::test]
async fn whoever_signs_out_leaves_nothing_behind_for_the_back_button() {
    let Some(ada) = Ada::begin("signing out", true).await else {
        return;
    };
    let tab = ada.account().await;
    tab.press("Sign out").await;
    let text = tab.reads(SIGN_IN).await;
    assert!(text.contains("You are signed out here."), "{text}");
    tab.back().await;
    tab.shows(SIGN_IN).await;
    assert!(!tab.text().await.contains(CLIENT));
    let kept = ada.person.cookie_names().await;
    assert_eq!(kept, ["session"], "what is left is the provider's");
}

#[tokio::test]
async fn a_page_that_was_open_for_too_long_ends_nothing_and_says_so() {
    let Some(mut ada) = Ada::begin("an account page that is open for too long", true).await else {
        return;
    };
    let tab = ada.account().await;
    ada.scene.site.clock.advance(Duration::from_secs(15 * 60 + 1));
    tab.press("End all access").await;
    let text = tab.reads(SIGN_IN).await;
    assert!(text.contains("Nothing was changed"), "{text}");
    assert_eq!(ada.have_access().await, [true, true]);
}

#[tokio::test]
async fn the_keyboard_alone_ends_access() {
    let Some(mut ada) = Ada::begin("the account page with the keyboard", true).await else {
        return;
    };
    let tab = ada.person.open(&ada.address()).await;
    tab.shows(SIGN_IN).await;
    crate::keyboard::reach(&tab, SIGN_IN_BUTTON).await;
    tab.key("Enter").await;
    tab.shows(OVERVIEW).await;
    crate::keyboard::reach(&tab, "End all access").await;
    tab.key("Enter").await;
    tab.shows(EMPTY).await;
    assert_eq!(ada.have_access().await, [false, false]);
}

#[tokio::test]
async fn the_account_pages_can_be_read_by_everybody() {
    let Some(ada) = Ada::begin("the account pages", true).await else {
        return;
    };
    let tab = ada.person.open(&ada.address()).await;
    tab.shows(SIGN_IN).await;
    tab.inspect("account-sign-in").await;
    tab.press(SIGN_IN_BUTTON).await;
    tab.shows(OVERVIEW).await;
    tab.inspect("account").await;
    // Whoever is signed in is told who that is where they are asked.
    ada.scene.asked(&ada.person).await.inspect("consent-signed-in").await;
    tab.press(&format!("End access of {CLIENT}")).await;
    tab.arrives(&format!("{}?done=", ada.address())).await;
    tab.shows(OVERVIEW).await;
    tab.inspect("account-ended").await;
    tab.press("End all access").await;
    tab.shows(EMPTY).await;
    tab.inspect("account-empty").await;
}

#[tokio::test]
async fn whoever_is_somebody_else_says_so_on_the_consent_page_and_is_asked_there_again() {
    let Some(ada) = Ada::begin("somebody else", true).await else {
        return;
    };
    ada.account().await;
    let tab = ada.scene.asked(&ada.person).await;
    assert!(tab.text().await.contains("Signed in here as ada"));
    tab.press("Not you?").await;
    tab.shows(CONSENT).await;
    assert!(!tab.text().await.contains("Signed in here"));
    tab.press("Allow").await;
    assert_eq!(ada.scene.lets_in(&tab).await, "login:ada");
}

#[tokio::test]
async fn no_site_ends_access_or_signs_people_in_or_out_of_their_account() {
    let Some(mut ada) = Ada::begin("forged forms of the account page", true).await else {
        return;
    };
    let own = ada.account().await;
    // The worst case: it knows what only the page shows.
    let csrf = own.evaluate("document.querySelector('[name=csrf]').value").await;
    let csrf = csrf.as_str().unwrap();
    let before = ada.provider.visits.all().len();
    for name in ["attacker.example", "evil.acme.example"] {
        for path in ["end-all", "sign-out", "sign-in"] {
            let form = crate::other_sites::sends(
                &format!("{}/{path}", ada.address()),
                &[("csrf", csrf), ("provider", "login")],
            );
            let site = OtherSite::attacker(name, &form, &[]).await;
            let tab = ada.person.open(&site.url).await;
            tab.shows("This page was not sent from here").await;
        }
    }
    assert_eq!(ada.provider.visits.all().len(), before);
    assert_eq!(ada.have_access().await, [true, true]);
    own.reload().await;
    own.shows(OVERVIEW).await;
}

#[tokio::test]
async fn no_site_shows_the_account_page_within_its_own() {
    let Some(ada) = Ada::begin("framing the account page", true).await else {
        return;
    };
    ada.account().await;
    let frame = format!("<iframe src='{}'></iframe>", ada.address());
    let site = OtherSite::attacker("evil.acme.example", &frame, &[]).await;
    let tab = ada.person.open(&site.url).await;
    let shown = tab.frames().await;
    assert!(
        shown.iter().all(|frame| frame.starts_with("chrome-error:")),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 1);
}

/// V-34, V-37.
#[tokio::test]
async fn nobody_is_signed_in_to_somebody_elses_account_by_a_link_or_a_planted_cookie() {
    let Some(ada) = Ada::begin("the session of somebody else", true).await else {
        return;
    };
    let attacker = ada.scene.chromium.fresh().await;
    let tab = attacker.open(&ada.address()).await;
    tab.press(SIGN_IN_BUTTON).await;
    let at_the_provider = tab.arrives(&ada.provider.url).await;
    let state = crate::site::parameter(&at_the_provider, "state").unwrap();
    let link = format!("{}/callback?state={state}&code=mallory", ada.scene.site.url);
    let tab = ada.person.open(&link).await;
    tab.shows(STOPPED).await;

    // The attacker's own session, under every name that a neighbour can give it.
    let own = attacker.open(&link).await;
    own.shows(EMPTY).await;
    let mut cookies = Vec::new();
    for (name, value) in attacker.cookies().await {
        for name in [name.as_str(), name.trim_start_matches("__Host-")] {
            cookies.push(format!("{name}={value}; Domain=acme.example; Path=/; Secure"));
        }
    }
    let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
    let neighbour = OtherSite::attacker("evil.acme.example", "", &cookies).await;
    tab.open(&neighbour.url).await;
    let planted = ada.person.cookie_names().await;
    assert!(planted.iter().any(|name| name == "mcp-oauth-session"), "{planted:?}");
    tab.open(&ada.address()).await;
    tab.shows(SIGN_IN).await;
}

#[tokio::test]
async fn a_device_that_was_let_in_can_be_ended_like_a_client() {
    let Some(ada) = Ada::begin("ending a device", true).await else {
        return;
    };
    let device = Device::begin(&ada.scene.site).await;
    let tab = ada
        .person
        .open(&format!("{}/device?user_code={}", ada.scene.site.url, device.user_code))
        .await;
    tab.press("Continue").await;
    tab.shows(crate::devices::CONSENT).await;
    tab.press("Allow").await;
    tab.shows("You are signed in").await;
    assert_eq!(device.is_let_in_by(&ada.scene.site).await, "login:ada");
    let tab = ada.account().await;
    tab.press("End access of Test device").await;
    tab.arrives(&format!("{}?done=", ada.address())).await;
    assert!(!tab.reads(OVERVIEW).await.contains("Test device"));
}
