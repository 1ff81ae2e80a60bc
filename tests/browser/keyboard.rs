//! Every form is reached and operated with a keyboard alone, and whoever uses one sees where they are.

use crate::chromium::{Chromium, Tab};
use crate::devices::{self, CODE, ENTRY};
use crate::scene::{MADE_UP, Scene};
use crate::site::{Device, Site};

/// Presses Tab until the focus is on what is called like this; all that has it on the way can be seen to have it.
pub(crate) async fn reach(tab: &Tab, name: &str) {
    let operable = tab.operable().await;
    for _ in 0..operable {
        tab.key("Tab").await;
        let focused = tab.focused().await.expect("Tab goes to what can be operated");
        assert!(focused.visible, "{focused:?}");
        if focused.name == name {
            return;
        }
    }
    panic!("{name} is not reached with Tab");
}

#[tokio::test]
async fn a_sign_in_needs_nothing_but_the_keyboard() {
    let Some(scene) = Scene::on_this_machine("a sign-in with the keyboard").await else {
        return;
    };
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    reach(&tab, "Allow").await;
    tab.key("Enter").await;
    tab.shows(MADE_UP).await;
    reach(&tab, "Grace Hopper").await;
    tab.key("Space").await;
    assert_eq!(scene.lets_in(&tab).await, "development:grace");
}

#[tokio::test]
async fn denying_needs_nothing_but_the_keyboard() {
    let Some(scene) = Scene::on_this_machine("denying with the keyboard").await else {
        return;
    };
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    reach(&tab, "Do not allow").await;
    tab.key("Enter").await;
    assert_eq!(scene.error(&tab).await, "access_denied");
}

#[tokio::test]
async fn the_field_for_a_devices_code_has_the_focus_and_enter_sends_it() {
    let Some(chromium) = Chromium::find("a device with the keyboard") else {
        return;
    };
    let site = Site::on_this_machine().await;
    let device = Device::begin(&site).await;
    let tab = chromium.fresh().await.open(&format!("{}/device", site.url)).await;
    tab.shows(ENTRY).await;
    let focused = tab.focused().await.unwrap();
    assert_eq!((focused.name.as_str(), focused.visible), (CODE, true));
    for key in device.user_code.chars() {
        tab.key(&key.to_string()).await;
    }
    tab.key("Enter").await;
    tab.shows(devices::CONSENT).await;
    reach(&tab, "Do not allow").await;
    tab.key("Enter").await;
    tab.shows("You did not allow it").await;
}

#[tokio::test]
async fn nothing_has_the_focus_on_a_consent_page_before_somebody_moves_it_there() {
    let Some(scene) = Scene::on_this_machine("the focus at first").await else {
        return;
    };
    let tab = scene.asked(&scene.chromium.fresh().await).await;
    assert_eq!(tab.focused().await, None, "so Enter agrees to nothing");
}
