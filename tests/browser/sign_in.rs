//! Somebody signs in to a client, with everything that people do on the way.

use std::time::Duration;

use crate::chromium::Settings;
use crate::provider::WHO;
use crate::scene::{CONSENT, MADE_UP, STOPPED, Scene};
use crate::site::{Client, OUT_OF_BAND};
use crate::web::OtherSite;

#[tokio::test]
async fn a_first_sign_in_on_a_developers_machine_ends_at_the_client() {
    let Some(scene) = Scene::on_this_machine("a first sign-in").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    tab.allow_as("Ada Lovelace").await;
    assert_eq!(scene.lets_in(&tab).await, "development:ada");
    assert!(
        person.cookie_names().await.is_empty(),
        "nothing is left when it is over"
    );
}

/// The form is on https, the program that it leads to in the end is not: browsers warn of some such forms, and not of this.
#[tokio::test]
async fn a_first_sign_in_on_https_by_way_of_a_provider_ends_at_a_program_on_this_machine() {
    let Some((scene, _provider)) = Scene::on_the_web("a sign-in on https").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.approved(&person).await;
    tab.press("Ada").await;
    assert_eq!(scene.lets_in(&tab).await, "login:ada");
    assert_eq!(
        person.cookie_names().await,
        ["session"],
        "what is left is the provider's"
    );
}

#[tokio::test]
async fn a_client_on_the_web_gets_the_person_back_too() {
    let Some((mut scene, _provider)) = Scene::on_the_web("a client on the web").await else {
        return;
    };
    scene.home = OtherSite::client("app.example").await;
    scene.client = Client::register(&scene.site, "Weather App", &format!("{}/callback", scene.home.url)).await;
    let person = scene.chromium.fresh().await;
    let tab = scene.approved(&person).await;
    tab.press("Grace").await;
    assert_eq!(scene.lets_in(&tab).await, "login:grace");
}

/// V-31, V-33.
#[tokio::test]
async fn a_second_client_is_asked_for_again_although_the_provider_knows_the_person() {
    let Some((scene, provider)) = Scene::on_the_web("a second client").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.approved(&person).await;
    tab.press("Ada").await;
    scene.returned(&tab).await;
    let before = provider.visits.all().len();

    // The same client at another place, and another client at the same place, are both new.
    let elsewhere = OtherSite::client("elsewhere.example").await;
    let second = Client::register(&scene.site, "Other App", &format!("{}/callback", elsewhere.url)).await;
    let tab = person.open(&second.authorization_url(&scene.site)).await;
    let text = tab.reads("Other App asks for access").await;
    assert!(text.contains("elsewhere.example"), "{text}");
    assert_eq!(provider.visits.all().len(), before, "nobody was sent to the provider");
    assert!(elsewhere.visits.all().is_empty());

    // From there the provider lets the person pass without a question.
    tab.press("Allow").await;
    let arrival = tab.arrives(&second.redirect_uri).await;
    assert_eq!(second.lets_in(&scene.site, &arrival).await, "login:ada");
}

#[tokio::test]
async fn whoever_does_not_allow_it_is_back_at_the_client_which_is_told_so() {
    let Some((scene, provider)) = Scene::on_the_web("denying").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    tab.press("Do not allow").await;
    assert_eq!(scene.error(&tab).await, "access_denied");
    assert!(provider.visits.all().is_empty());
}

#[tokio::test]
async fn whoever_turns_round_at_the_provider_is_back_at_the_client_which_is_told_so() {
    let Some((scene, _provider)) = Scene::on_the_web("declining at the provider").await else {
        return;
    };
    let tab = scene.approved(&scene.chromium.fresh().await).await;
    tab.press("Nobody").await;
    assert_eq!(scene.error(&tab).await, "access_denied");
}

#[tokio::test]
async fn whoever_goes_back_from_the_provider_can_decide_anew() {
    let Some((scene, _provider)) = Scene::on_the_web("the back button").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.approved(&person).await;
    tab.back().await;
    tab.shows(CONSENT).await;
    tab.press("Allow").await;
    tab.shows(WHO).await;
    tab.press("Ada").await;
    assert_eq!(scene.lets_in(&tab).await, "login:ada");

    let tab = scene.approved(&scene.chromium.fresh().await).await;
    tab.back().await;
    tab.shows(CONSENT).await;
    tab.press("Do not allow").await;
    assert_eq!(scene.error(&tab).await, "access_denied");
}

#[tokio::test]
async fn whoever_goes_back_after_it_is_over_is_told_so_and_can_begin_again() {
    let Some(scene) = Scene::on_this_machine("going back when it is over").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    tab.allow_as("Ada Lovelace").await;
    scene.returned(&tab).await;
    tab.back().await;
    tab.shows(MADE_UP).await;
    tab.press("Ada Lovelace").await;
    let text = tab.reads(STOPPED).await;
    assert!(text.contains("start again"), "{text}");
    tab.back().await;
    tab.shows(MADE_UP).await;
    tab.back().await;
    tab.shows(CONSENT).await;
    tab.allow_as("Grace Hopper").await;
    assert_eq!(scene.lets_in(&tab).await, "development:grace");
}

#[tokio::test]
async fn every_page_on_the_way_can_be_loaded_again() {
    let Some(scene) = Scene::on_this_machine("loading again").await else {
        return;
    };
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    tab.reload().await;
    tab.shows(CONSENT).await;
    tab.press("Allow").await;
    tab.shows(MADE_UP).await;
    tab.reload().await;
    tab.shows(MADE_UP).await;
    tab.press("Ada Lovelace").await;
    scene.returned(&tab).await;
    tab.reload().await;
    assert_eq!(scene.lets_in(&tab).await, "development:ada");
}

/// V-41.
#[tokio::test]
async fn a_double_click_leads_where_a_click_does() {
    let Some(scene) = Scene::on_this_machine("a double click").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    tab.press_twice("Allow").await;
    tab.shows(MADE_UP).await;
    tab.press("Ada Lovelace").await;
    assert_eq!(scene.lets_in(&tab).await, "development:ada");

    let tab = scene.asked(&person).await;
    tab.press_twice("Do not allow").await;
    assert_eq!(scene.error(&tab).await, "access_denied");
}

/// V-41.
#[tokio::test]
async fn two_tabs_that_are_used_by_turns_lead_to_a_sign_in_each() {
    let Some(scene) = Scene::on_this_machine("two tabs").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let (first, second) = (scene.asked(&person).await, scene.asked(&person).await);
    for tab in [&second, &first] {
        tab.press("Allow").await;
        tab.shows(MADE_UP).await;
    }
    first.press("Ada Lovelace").await;
    assert_eq!(scene.lets_in(&first).await, "development:ada");
    second.press("Grace Hopper").await;
    assert_eq!(scene.lets_in(&second).await, "development:grace");
}

#[tokio::test]
async fn whoever_comes_back_after_lunch_is_told_that_it_has_expired() {
    let Some((scene, _provider)) = Scene::on_the_web("an expired sign-in").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let consent = scene.asked(&person).await;
    let provider = scene.approved(&person).await;
    scene.site.clock.advance(Duration::from_secs(601));
    consent.press("Allow").await;
    provider.press("Ada").await;
    for tab in [consent, provider] {
        let text = tab.reads(STOPPED).await;
        assert!(text.contains("expired") && text.contains("start again"), "{text}");
    }
}

#[tokio::test]
async fn a_browser_without_cookies_is_told_that_it_needs_them() {
    let Some(scene) = Scene::on_this_machine("cookies off").await else {
        return;
    };
    let settings = Settings {
        cookies: false,
        ..Settings::default()
    };
    let person = scene.chromium.profile(settings).await;
    let tab = scene.asked(&person).await;
    assert!(person.cookie_names().await.is_empty());
    tab.press("Allow").await;
    let text = tab.reads(STOPPED).await;
    assert!(text.contains("allow cookies"), "{text}");
}

#[tokio::test]
async fn a_provider_that_is_away_can_be_tried_again_from_the_page_that_says_so() {
    let Some((scene, provider)) = Scene::on_the_web("a provider that is away").await else {
        return;
    };
    let tab = scene.approved(&scene.chromium.fresh().await).await;
    provider.is_away(true);
    tab.press("Ada").await;
    let text = tab.reads("Signing in did not work").await;
    assert!(text.contains("Acme Login does not answer"), "{text}");
    provider.is_away(false);
    tab.press("Try again").await;
    assert_eq!(scene.lets_in(&tab).await, "login:ada");
}

#[tokio::test]
async fn with_several_providers_people_choose_and_can_go_back_to_choose_again() {
    let Some((scene, [login, other])) = Scene::with_two_providers("several providers").await else {
        return;
    };
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    tab.press("Allow").await;
    tab.shows("Where do you want to sign in?").await;
    tab.press("Sign in with Acme Login").await;
    tab.arrives(&login.url).await;
    tab.back().await;
    tab.shows("Where do you want to sign in?").await;
    tab.press("Sign in with The other one").await;
    tab.arrives(&other.url).await;
    tab.shows(WHO).await;
    tab.press("Grace").await;
    assert_eq!(scene.lets_in(&tab).await, "other:grace");
}

#[tokio::test]
async fn a_client_without_an_address_has_the_person_copy_the_code() {
    let Some(mut scene) = Scene::on_this_machine("out of band").await else {
        return;
    };
    scene.client = Client::register(&scene.site, "Weather App", OUT_OF_BAND).await;
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    tab.allow_as("Ada Lovelace").await;
    let text = tab.reads("You are signed in").await;
    let mut words = text.split_whitespace();
    let code = words.find(|word| word.len() > 60).unwrap();
    assert_eq!(scene.client.redeem(&scene.site, code).await.status, 200);
}
