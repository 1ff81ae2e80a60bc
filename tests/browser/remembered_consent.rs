//! Somebody is not asked again what they were asked in this browser, and anything else they are.

use std::time::Duration;

use crate::chromium::{Chromium, Profile, Settings, Tab};
use crate::provider::{Provider, WHO};
use crate::scene::{CLIENT, CONSENT, Scene};
use crate::site::{Client, Site};
use crate::web::OtherSite;

/// Ada, who has had the consent for a client on the web remembered.
struct Remembered {
    scene: Scene,
    provider: Provider,
    person: Profile,
    tab: Tab,
}

impl Remembered {
    async fn begin(test: &str, scripts: bool) -> Option<Self> {
        let chromium = Chromium::find(test)?;
        let provider = Provider::start("login", "Acme Login").await;
        let ten_days = Duration::from_secs(10 * 24 * 60 * 60);
        let site = Site::configured(|builder| builder.identity(provider.clone()).remember_consent(ten_days)).await;
        let mut scene = Scene::of(chromium, site).await;
        scene.home = OtherSite::client("app.example").await;
        scene.client = Client::register(&scene.site, CLIENT, &format!("{}/callback", scene.home.url)).await;
        let settings = Settings {
            scripts,
            ..Settings::default()
        };
        let person = chromium.profile(settings).await;
        let tab = scene.asked(&person).await;
        // axe is a script itself.
        if scripts {
            tab.inspect("consent-remember").await;
        }
        tab.tick().await;
        tab.press("Allow").await;
        tab.shows(WHO).await;
        tab.press("Ada").await;
        assert_eq!(scene.lets_in(&tab).await, "login:ada");
        Some(Self {
            scene,
            provider,
            person,
            tab,
        })
    }
}

/// V-33.
#[tokio::test]
async fn what_was_ticked_is_not_asked_again_and_any_other_client_is() {
    let Some(remembered) = Remembered::begin("remembered consent", true).await else {
        return;
    };
    let Remembered { scene, person, tab, .. } = &remembered;
    tab.open(&scene.authorization_url()).await;
    assert_eq!(scene.lets_in(tab).await, "login:ada");
    let elsewhere = OtherSite::client("elsewhere.example").await;
    let visits = remembered.provider.visits.all().len();
    for redirect_uri in [
        format!("{}/callback", elsewhere.url),
        format!("{}/other", scene.home.url),
    ] {
        let other = Client::register(&scene.site, CLIENT, &redirect_uri).await;
        person
            .open(&other.authorization_url(&scene.site))
            .await
            .shows(CONSENT)
            .await;
    }
    assert_eq!(
        remembered.provider.visits.all().len(),
        visits,
        "nobody went past the page"
    );
    assert!(elsewhere.visits.all().is_empty());
    // And in another browser nothing is remembered.
    scene.asked(&scene.chromium.fresh().await).await;
}

#[tokio::test]
async fn whoever_ends_the_access_is_asked_again() {
    // Without scripts, which nothing of this needs.
    let Some(remembered) = Remembered::begin("forgotten consent", false).await else {
        return;
    };
    let tab = &remembered.tab;
    tab.open(&format!("{}/account", remembered.scene.site.url)).await;
    tab.press("Sign in with Acme Login").await;
    tab.shows("What you have let in").await;
    tab.press(&format!("End access of {CLIENT}")).await;
    tab.shows("Nothing has access").await;
    remembered.scene.asked(&remembered.person).await;
}
