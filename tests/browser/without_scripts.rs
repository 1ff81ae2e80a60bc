//! Everything works in a browser that runs no scripts.

use crate::chromium::{Chromium, Profile, Settings};
use crate::devices::{self, CODE, ENTRY};
use crate::provider::{Provider, WHO};
use crate::scene::{MADE_UP, STOPPED, Scene};
use crate::site::{Client, Device, OUT_OF_BAND, Site};

async fn person(chromium: Chromium) -> Profile {
    let settings = Settings {
        scripts: false,
        ..Settings::default()
    };
    chromium.profile(settings).await
}

#[tokio::test]
async fn without_scripts_people_sign_in_and_deny() {
    let Some((scene, _provider)) = Scene::on_the_web("a sign-in without scripts").await else {
        return;
    };
    let person = person(scene.chromium).await;
    let tab = scene.approved(&person).await;
    tab.press("Ada").await;
    assert_eq!(scene.lets_in(&tab).await, "login:ada");
    let tab = scene.asked(&person).await;
    tab.press("Do not allow").await;
    assert_eq!(scene.error(&tab).await, "access_denied");
}

#[tokio::test]
async fn without_scripts_people_choose_whom_to_be_and_are_told_when_it_is_over() {
    let Some(mut scene) = Scene::on_this_machine("made-up people without scripts").await else {
        return;
    };
    scene.client = Client::register(&scene.site, "Weather App", OUT_OF_BAND).await;
    let tab = scene.asked(&person(scene.chromium).await).await;
    tab.press("Allow").await;
    tab.shows(MADE_UP).await;
    tab.press("Ada Lovelace").await;
    tab.shows("You are signed in").await;
    tab.back().await;
    tab.shows(MADE_UP).await;
    tab.press("Ada Lovelace").await;
    tab.shows(STOPPED).await;
}

#[tokio::test]
async fn without_scripts_people_choose_where_to_sign_in_and_try_again() {
    let Some(chromium) = Chromium::find("several providers without scripts") else {
        return;
    };
    let login = Provider::start("login", "Acme Login").await;
    let other = Provider::start("other", "The other one").await;
    let site = Site::configured(|builder| builder.identity(login.clone()).also_sign_in_with(other.clone())).await;
    let scene = Scene::of(chromium, site).await;
    let tab = scene.asked(&person(chromium).await).await;
    tab.press("Allow").await;
    tab.shows("Where do you want to sign in?").await;
    tab.press("Sign in with The other one").await;
    tab.shows(WHO).await;
    other.is_away(true);
    tab.press("Grace").await;
    tab.shows("Signing in did not work").await;
    other.is_away(false);
    tab.press("Try again").await;
    tab.shows("Where do you want to sign in?").await;
    tab.press("Sign in with The other one").await;
    assert_eq!(scene.lets_in(&tab).await, "other:grace");
}

#[tokio::test]
async fn without_scripts_people_let_a_device_in_and_turn_one_away() {
    let Some(chromium) = Chromium::find("a device without scripts") else {
        return;
    };
    let site = Site::on_this_machine().await;
    let person = person(chromium).await;
    for (button, end) in [("Allow", "You are signed in"), ("Do not allow", "You did not allow it")] {
        let device = Device::begin(&site).await;
        let tab = person.open(&format!("{}/device", site.url)).await;
        tab.shows(ENTRY).await;
        tab.write(CODE, "BBBB-BBBB").await;
        tab.press("Continue").await;
        assert!(tab.reads(ENTRY).await.contains("This code does not work"));
        tab.write(CODE, &device.user_code).await;
        tab.press("Continue").await;
        tab.shows(devices::CONSENT).await;
        tab.press(button).await;
        if button == "Allow" {
            tab.shows(MADE_UP).await;
            tab.press("Ada Lovelace").await;
        }
        tab.shows(end).await;
    }
}
