//! How every page looks: nothing that axe finds serious in light or dark, nothing wider than the narrowest screen, nothing from
//! elsewhere, and a picture of each.

use std::time::Duration;

use mcp_oauth_tower::Pages;
use mcp_oauth_tower::pages::Brand;
use serde_json::json;

use crate::chromium::{Chromium, Settings};
use crate::devices::{self, CODE, ENTRY};
use crate::provider::{Provider, WHO};
use crate::scene::{CLIENT, CONSENT, MADE_UP, STOPPED, Scene};
use crate::site::{Client, Device, OUT_OF_BAND, Site};
use crate::web::OtherSite;

#[tokio::test]
async fn the_pages_of_a_sign_in_can_be_read_by_everybody() {
    let Some((scene, provider)) = Scene::on_the_web("the pages of a sign-in").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    tab.inspect("consent").await;
    tab.press("Allow").await;
    tab.shows(WHO).await;
    provider.is_away(true);
    tab.press("Ada").await;
    tab.shows("Signing in did not work").await;
    tab.inspect("try-again").await;

    let app = OtherSite::client("app.example").await;
    let client = Client::register(&scene.site, "Weather App", &format!("{}/callback", app.url)).await;
    let tab = person.open(&client.authorization_url(&scene.site)).await;
    tab.shows(CONSENT).await;
    tab.inspect("consent-web").await;
    let success = Client::register(&scene.site, "Weather App", OUT_OF_BAND).await;
    let tab = person.open(&success.authorization_url(&scene.site)).await;
    tab.shows(CONSENT).await;
    tab.inspect("consent-copy").await;
}

#[tokio::test]
async fn the_pages_with_made_up_people_can_be_read_by_everybody() {
    let Some(mut scene) = Scene::on_this_machine("the pages with made-up people").await else {
        return;
    };
    scene.client = Client::register(&scene.site, "Weather App", OUT_OF_BAND).await;
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    tab.inspect("consent-development").await;
    tab.press("Allow").await;
    tab.shows(MADE_UP).await;
    tab.inspect("development").await;
    tab.press("Ada Lovelace").await;
    tab.shows("You are signed in").await;
    tab.inspect("success").await;
}

#[tokio::test]
async fn the_choice_of_a_provider_can_be_read_by_everybody() {
    let Some((scene, _)) = Scene::with_two_providers("the choice of a provider").await else {
        return;
    };
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    tab.press("Allow").await;
    tab.shows("Where do you want to sign in?").await;
    tab.inspect("providers").await;
}

#[tokio::test]
async fn the_pages_of_a_device_can_be_read_by_everybody() {
    let Some(chromium) = Chromium::find("the pages of a device") else {
        return;
    };
    let provider = Provider::start("login", "Acme Login").await;
    let site = Site::on_the_web(&provider).await;
    let (device, other) = (Device::begin(&site).await, Device::begin(&site).await);
    let address = format!("{}/device", site.url);
    let person = chromium.fresh().await;
    let tab = person.open(&address).await;
    tab.shows(ENTRY).await;
    tab.inspect("device").await;
    tab.write(CODE, "BBBB-BBBB").await;
    tab.press("Continue").await;
    tab.arrives(&address).await;
    tab.reads(ENTRY).await;
    tab.inspect("device-wrong-code").await;
    tab.open(&format!("{address}?user_code={}", device.user_code)).await;
    tab.shows(ENTRY).await;
    tab.inspect("device-link").await;
    tab.press("Continue").await;
    tab.shows(devices::CONSENT).await;
    tab.inspect("device-consent").await;
    tab.press("Allow").await;
    tab.shows(WHO).await;
    tab.press("Ada").await;
    tab.shows("You are signed in").await;
    tab.inspect("device-let-in").await;
    let late = person.open("about:blank").await;
    for tab in [&tab, &late] {
        tab.open(&format!("{address}?user_code={}", other.user_code)).await;
        tab.press("Continue").await;
        tab.shows(devices::CONSENT).await;
    }
    tab.press("Do not allow").await;
    tab.shows("You did not allow it").await;
    tab.inspect("device-turned-away").await;
    late.press("Allow").await;
    late.shows("This code does not work any more").await;
    late.inspect("device-closed").await;
}

#[tokio::test]
async fn the_pages_that_say_what_went_wrong_can_be_read_by_everybody() {
    let Some(scene) = Scene::on_this_machine("the pages of errors").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    scene.site.clock.advance(Duration::from_secs(601));
    tab.press("Allow").await;
    tab.shows(STOPPED).await;
    tab.inspect("error-expired").await;
    for (name, path) in [
        ("error-client", "/authorize?client_id=nobody".to_owned()),
        ("error-no-code", "/success".to_owned()),
        ("error-callback", "/callback?state=x".to_owned()),
        (
            "error-redirect",
            scene
                .authorization_url()
                .replace(&scene.site.url, "")
                .replace("callback", "elsewhere"),
        ),
    ] {
        let tab = person.open(&format!("{}{path}", scene.site.url)).await;
        assert!(!tab.title().await.is_empty(), "{name}");
        tab.inspect(name).await;
    }
}

#[tokio::test]
async fn long_names_and_those_of_every_script_break_no_page() {
    let Some(scene) = Scene::on_this_machine("names of every script").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    // Words of twelve scripts, and Hebrew.
    let scripts =
        "Weather, Καιρός, Погода, ამინდი, Եղանակ, मौसम, আবহাওয়া, อากาศ, 天气, 天気アプリ, 날씨, የአየር ሁኔታ, מזג אוויר";
    let long = "Donaudampfschifffahrtsgesellschaft".repeat(2);
    for (name, called) in [("long", long.as_str()), ("arabic", "تطبيق الطقس"), ("scripts", scripts)] {
        let client = Client::register(&scene.site, called, &scene.client.redirect_uri).await;
        let tab = person.open(&client.authorization_url(&scene.site)).await;
        tab.shows(&format!("{called} asks for access")).await;
        tab.inspect(&format!("consent-{name}")).await;
    }
}

/// An operator's logo, with a script that somebody has left in it.
const LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="96" height="32" viewBox="0 0 96 32">
<rect width="96" height="32" rx="6" fill="#0a7d5a"/><circle cx="16" cy="16" r="8" fill="#ffffff"/>
<script>document.documentElement.setAttribute("id", "owned")</script></svg>"##;

#[tokio::test]
async fn an_operators_brand_and_texts_from_right_to_left_break_no_page() {
    let Some(chromium) = Chromium::find("an operator's pages") else {
        return;
    };
    let texts = json!({
        "lang": "ar", "dir": "rtl", "consent_heading": "{client} يطلب الوصول",
        "consent_allow": "السماح", "consent_deny": "عدم السماح", "device_heading": "توصيل جهاز",
    });
    let brand = Brand::new("شركة المثال")
        .logo(LOGO)
        .unwrap()
        .footer("شركة المثال")
        .footer_link("الخصوصية", "https://acme.example/privacy")
        .unwrap();
    let texts = serde_json::from_value(texts).unwrap();
    let site = Site::with_pages(Pages::default().brand(brand).texts(texts).unwrap()).await;
    let scene = Scene::of(chromium, site).await;
    let person = chromium.fresh().await;
    let tab = person.open(&scene.authorization_url()).await;
    tab.shows(&format!("{CLIENT} يطلب الوصول")).await;
    assert_eq!(
        tab.evaluate("document.images[0].naturalWidth").await,
        96,
        "the logo is shown"
    );
    tab.inspect("brand-consent").await;
    tab.open(&format!("{}/device", scene.site.url)).await;
    tab.shows("توصيل جهاز").await;
    tab.inspect("brand-device").await;
    let logo = person.open(&format!("{}/pages/logo", scene.site.url)).await;
    assert_eq!(logo.evaluate("document.documentElement.localName").await, "svg");
    assert_eq!(
        logo.evaluate("document.documentElement.id").await,
        "",
        "and runs no script"
    );
}

#[tokio::test]
async fn whoever_opens_a_protected_server_in_a_browser_is_told_what_it_is_for() {
    let Some(chromium) = Chromium::find("a protected server in a browser") else {
        return;
    };
    let site = Site::behind_a_proxy().await;
    let host = site.url.strip_prefix("http://").unwrap();
    let settings = Settings {
        headers: &[
            ("x-forwarded-method", "GET"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", host),
            ("x-forwarded-uri", "/notes/mcp"),
        ],
        ..Settings::default()
    };
    let tab = chromium
        .profile(settings)
        .await
        .open(&format!("{}/verify", site.url))
        .await;
    let text = tab.reads("Sign in with an app").await;
    assert!(text.contains("/notes/mcp"), "{text}");
    tab.inspect("protected").await;
}

#[tokio::test]
async fn no_page_has_the_browser_ask_anybody_else_for_anything() {
    let Some((scene, provider)) = Scene::on_the_web("requests to others").await else {
        return;
    };
    let person = scene.chromium.profile(Settings::default()).await;
    let tab = scene.approved(&person).await;
    tab.press("Ada").await;
    scene.returned(&tab).await;
    person.open(&format!("{}/device", scene.site.url)).await;
    person.open(&format!("{}/callback", scene.site.url)).await;
    for address in person.asked().await {
        let known = [&scene.site.url, &provider.url, &scene.home.url];
        assert!(known.iter().any(|site| address.starts_with(*site)), "{address}");
    }
}
