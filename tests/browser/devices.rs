//! Somebody lets a device in that has no browser.

use std::time::Duration;

use crate::chromium::{Chromium, Tab};
use crate::provider::{Provider, WHO};
use crate::site::{Device, Site};

pub(crate) const ENTRY: &str = "Connect a device";
pub(crate) const CODE: &str = "Code on your device";
pub(crate) const CONSENT: &str = "Test device asks for access";

/// A device that shows its code, and the page for it in a browser.
struct Scene {
    chromium: Chromium,
    site: Site,
    provider: Provider,
    device: Device,
    tab: Tab,
}

impl Scene {
    async fn begin(test: &str) -> Option<Self> {
        let chromium = Chromium::find(test)?;
        let provider = Provider::start("login", "Acme Login").await;
        let site = Site::on_the_web(&provider).await;
        let device = Device::begin(&site).await;
        let tab = chromium.fresh().await.open(&format!("{}/device", site.url)).await;
        tab.shows(ENTRY).await;
        Some(Self {
            chromium,
            site,
            provider,
            device,
            tab,
        })
    }

    async fn enter(&self, code: &str) {
        self.tab.write(CODE, code).await;
        self.tab.press("Continue").await;
    }

    async fn answer(&self) -> String {
        self.device.poll(&self.site).await.error()
    }
}

#[tokio::test]
async fn a_code_that_is_typed_as_people_type_lets_the_device_in() {
    let Some(scene) = Scene::begin("a device").await else {
        return;
    };
    scene
        .enter(&format!(
            " {} ",
            scene.device.user_code.replace('-', " ").to_lowercase()
        ))
        .await;
    let text = scene.tab.reads(CONSENT).await;
    assert!(text.contains(&scene.device.user_code), "{text}");
    scene.tab.press("Allow").await;
    scene.tab.shows(WHO).await;
    scene.tab.press("Ada").await;
    let text = scene.tab.reads("You are signed in").await;
    assert!(text.contains("Go back to your device"), "{text}");
    assert_eq!(scene.device.is_let_in_by(&scene.site).await, "login:ada");
}

#[tokio::test]
async fn a_device_that_is_not_allowed_in_is_told_so() {
    let Some(scene) = Scene::begin("denying a device").await else {
        return;
    };
    scene.enter(&scene.device.user_code).await;
    scene.tab.shows(CONSENT).await;
    scene.tab.press("Do not allow").await;
    scene.tab.shows("You did not allow it").await;
    assert_eq!(scene.answer().await, "access_denied");
    assert!(scene.provider.visits.all().is_empty());
}

#[tokio::test]
async fn a_wrong_code_can_be_corrected_on_the_same_page() {
    let Some(scene) = Scene::begin("a wrong code").await else {
        return;
    };
    scene.enter("BBBB-BBBB").await;
    scene.tab.arrives(&format!("{}/device", scene.site.url)).await;
    let text = scene.tab.reads(ENTRY).await;
    assert!(text.contains("This code does not work"), "{text}");
    scene.enter(&scene.device.user_code).await;
    scene.tab.shows(CONSENT).await;
}

#[tokio::test]
async fn a_page_without_a_code_is_not_sent() {
    let Some(scene) = Scene::begin("no code").await else {
        return;
    };
    scene.tab.press("Continue").await;
    assert_eq!(scene.tab.evaluate("document.activeElement.name").await, "user_code");
    assert_eq!(
        scene
            .tab
            .evaluate("document.querySelector('input').matches(':invalid')")
            .await,
        true
    );
    scene.enter(&scene.device.user_code).await;
    scene.tab.shows(CONSENT).await;
}

#[tokio::test]
async fn going_back_and_loading_again_spoil_nothing_for_a_device() {
    let Some(scene) = Scene::begin("going back with a device").await else {
        return;
    };
    scene.enter(&scene.device.user_code).await;
    scene.tab.shows(CONSENT).await;
    scene.tab.reload().await;
    scene.tab.shows(CONSENT).await;
    scene.tab.back().await;
    scene.tab.shows(ENTRY).await;
    scene.enter(&scene.device.user_code).await;
    scene.tab.shows(CONSENT).await;
    scene.tab.press_twice("Allow").await;
    scene.tab.shows(WHO).await;
    scene.tab.back().await;
    scene.tab.shows(CONSENT).await;
    scene.tab.press("Allow").await;
    scene.tab.shows(WHO).await;
    scene.tab.press("Ada").await;
    scene.tab.shows("You are signed in").await;
    assert_eq!(scene.device.is_let_in_by(&scene.site).await, "login:ada");
}

#[tokio::test]
async fn a_code_that_has_expired_while_somebody_read_the_page_is_told_to_be_so() {
    let Some(scene) = Scene::begin("an expired code").await else {
        return;
    };
    scene.site.clock.advance(Duration::from_secs(540));
    scene.enter(&scene.device.user_code).await;
    scene.tab.shows(CONSENT).await;
    scene.site.clock.advance(Duration::from_secs(61));
    scene.tab.press("Allow").await;
    let text = scene.tab.reads("This code does not work any more").await;
    assert!(text.contains("expired"), "{text}");
}

/// V-36.
#[tokio::test]
async fn the_link_of_a_device_asks_to_compare_the_code_and_lets_nobody_in_by_itself() {
    let Some(scene) = Scene::begin("a link with a code").await else {
        return;
    };
    let tab = scene.chromium.fresh().await.open("about:blank").await;
    let link = format!("{}/device?user_code={}", scene.site.url, scene.device.user_code);
    tab.open(&link).await;
    let text = tab.reads(ENTRY).await;
    assert!(text.contains("Compare this code"), "{text}");
    assert_eq!(scene.answer().await, "authorization_pending");
    tab.press("Continue").await;
    let text = tab.reads(CONSENT).await;
    assert!(
        text.contains("If somebody else sent you the link or the code"),
        "{text}"
    );
    scene.site.clock.advance(Duration::from_secs(5));
    assert_eq!(scene.answer().await, "authorization_pending");
}
