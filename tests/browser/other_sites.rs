//! What other sites, which people visit with the same browser, cannot make it do here. Rows V-31 to V-44.

use crate::chromium::{Chromium, Profile, Settings};
use crate::devices::{self, ENTRY};
use crate::provider::{Provider, WHO};
use crate::scene::{CONSENT, MADE_UP, STOPPED, Scene};
use crate::site::{Client, Device, Site, parameter};
use crate::web::OtherSite;

/// What an attacker has who signs in as themselves and stops before the last step: the link that finishes it.
struct Trap {
    link: String,
    attacker: Profile,
}

impl Trap {
    async fn set(scene: &Scene) -> Self {
        let attacker = scene.chromium.fresh().await;
        let at_the_provider = scene.approved(&attacker).await.url().await.parse().unwrap();
        let state = parameter(&at_the_provider, "state").unwrap();
        let link = format!("{}/callback?state={state}&code=mallory", scene.site.url);
        Self { link, attacker }
    }
}

/// A page that sends this form as soon as it is opened.
pub(crate) fn sends(action: &str, fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("<input type=hidden name={name} value={value}>");
    let fields: String = fields.iter().map(field).collect();
    format!("<form method=post action={action}>{fields}</form><script>document.forms[0].submit()</script>")
}

/// V-32, V-34.
#[tokio::test]
async fn the_link_that_finishes_somebodys_sign_in_is_of_no_use_in_another_browser() {
    let Some((scene, _provider)) = Scene::on_the_web("somebody else's callback").await else {
        return;
    };
    let trap = Trap::set(&scene).await;
    let page = format!("<a href='{}'>Look</a>", trap.link);
    let site = OtherSite::attacker("attacker.example", &page, &[]).await;
    let victim = scene.chromium.fresh().await;
    // In the middle of something of their own.
    let own = scene.approved(&victim).await;
    let tab = victim.open(&site.url).await;
    tab.follow("Look").await;
    let text = tab.reads(STOPPED).await;
    assert!(text.contains("another browser"), "{text}");
    tab.open(&trap.link).await;
    tab.shows(STOPPED).await;
    assert!(scene.home.visits.all().is_empty(), "no code was sent anywhere");
    own.press("Ada").await;
    assert_eq!(scene.lets_in(&own).await, "login:ada");
    // It was good, and still is where it was begun.
    let tab = trap.attacker.open(&trap.link).await;
    assert_eq!(scene.lets_in(&tab).await, "login:mallory");
}

/// V-34.
#[tokio::test]
async fn no_site_signs_people_in_as_somebody_else_behind_their_back() {
    let Some((scene, _provider)) = Scene::on_the_web("login CSRF").await else {
        return;
    };
    let trap = Trap::set(&scene).await;
    let link = &trap.link;
    let page = format!("<img src='{link}'><iframe src='{link}'></iframe><script>location = '{link}'</script>");
    let site = OtherSite::attacker("attacker.example", &page, &[]).await;
    let victim = scene.chromium.fresh().await;
    let tab = victim.open(&site.url).await;
    tab.shows(STOPPED).await;
    assert!(victim.cookie_names().await.is_empty());
    assert!(scene.home.visits.all().is_empty());
}

/// V-37.
#[tokio::test]
async fn a_neighbouring_host_cannot_plant_the_cookies_of_a_sign_in() {
    let Some((scene, _provider)) = Scene::on_the_web("planted cookies").await else {
        return;
    };
    let trap = Trap::set(&scene).await;
    let mut cookies = Vec::new();
    for (name, value) in trap.attacker.cookies().await {
        for name in [name.as_str(), name.trim_start_matches("__Host-")] {
            cookies.push(format!("{name}={value}; Domain=acme.example; Path=/; Secure"));
            cookies.push(format!("{name}={value}; Path=/; Secure"));
        }
    }
    let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
    let neighbour = OtherSite::attacker("evil.acme.example", "", &cookies).await;
    let victim = scene.chromium.fresh().await;
    let tab = victim.open(&neighbour.url).await;
    let planted = victim.cookie_names().await;
    assert!(
        planted.iter().any(|name| name.starts_with("mcp-oauth-sign-in-")),
        "the browser keeps what has no prefix: {planted:?}"
    );
    tab.open(&trap.link).await;
    let text = tab.reads(STOPPED).await;
    assert!(text.contains("another browser"), "{text}");
    assert!(scene.home.visits.all().is_empty());
}

/// V-37, V-38.
#[tokio::test]
async fn what_lets_a_browser_finish_is_new_after_consent_and_worthless_when_it_is_over() {
    let Some((scene, _provider)) = Scene::on_the_web("the cookies of a sign-in").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.asked(&person).await;
    let names = async || {
        let mut names = person.cookie_names().await;
        names.sort();
        let kind = |name: String| name.split_inclusive('-').take(4).collect::<String>();
        names.into_iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["__Host-mcp-oauth-browser-"]);
    assert_eq!(tab.evaluate("document.cookie").await, "", "no script can read it");
    tab.press("Allow").await;
    tab.shows(WHO).await;
    assert_eq!(names().await, ["__Host-mcp-oauth-browser-", "__Host-mcp-oauth-sign-"]);
    let kept = person.all_cookies().await;
    let state = parameter(&tab.url().await.parse().unwrap(), "state").unwrap();
    tab.press("Ada").await;
    scene.returned(&tab).await;
    let arrivals = scene.home.visits.all().len();

    // Somebody has copied all of them, and has the address from the history.
    let thief = scene.chromium.fresh().await;
    thief.plant(&kept).await;
    let tab = thief
        .open(&format!("{}/callback?state={state}&code=ada", scene.site.url))
        .await;
    let text = tab.reads(STOPPED).await;
    assert!(text.contains("already finished"), "{text}");
    assert_eq!(scene.home.visits.all().len(), arrivals);
}

/// V-35.
#[tokio::test]
async fn the_last_address_of_a_sign_in_leads_nowhere_when_it_is_opened_from_the_history() {
    let Some((scene, provider)) = Scene::on_the_web("an address from the history").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.approved(&person).await;
    tab.press("Ada").await;
    scene.returned(&tab).await;
    let callback = format!("{}/callback", scene.site.url);
    let asked = person.asked().await;
    let callback = asked.iter().find(|address| address.starts_with(&callback)).unwrap();
    tab.open(callback).await;
    tab.shows(STOPPED).await;
    // The provider's page from the history makes such an address anew.
    let begun = asked.iter().find(|address| address.starts_with(&provider.url)).unwrap();
    tab.open(begun).await;
    tab.shows(STOPPED).await;
    assert_eq!(scene.home.visits.all().len(), 1);
}

/// V-31: the form is sent with the identifier that it needs, and even so not with the cookie.
#[tokio::test]
async fn no_site_sends_the_consent_form_for_somebody() {
    let Some((scene, provider)) = Scene::on_the_web("a forged consent").await else {
        return;
    };
    let victim = scene.chromium.fresh().await;
    let own = scene.asked(&victim).await;
    let transaction = own.evaluate("document.querySelector('[name=transaction]').value").await;
    let fields = [("transaction", transaction.as_str().unwrap()), ("decision", "approve")];
    let page = sends(&format!("{}/consent", scene.site.url), &fields);
    let site = OtherSite::attacker("attacker.example", &page, &[]).await;
    let tab = victim.open(&site.url).await;
    tab.shows(STOPPED).await;
    assert!(provider.visits.all().is_empty());
    own.press("Allow").await;
    own.shows(WHO).await;
}

/// V-36.
#[tokio::test]
async fn no_site_takes_somebody_past_the_question_whose_device_it_is() {
    let Some((scene, _provider)) = Scene::on_the_web("a forged device").await else {
        return;
    };
    let device = Device::begin(&scene.site).await;
    let page = sends(
        &format!("{}/device", scene.site.url),
        &[("user_code", &device.user_code)],
    );
    let victim = scene.chromium.fresh().await;
    for name in ["attacker.example", "evil.acme.example"] {
        let site = OtherSite::attacker(name, &page, &[]).await;
        let tab = victim.open(&site.url).await;
        let text = tab.reads(ENTRY).await;
        assert!(text.contains("If somebody sent you this link"), "{text}");
    }
    assert!(victim.cookie_names().await.is_empty());
    assert_eq!(device.poll(&scene.site).await.error(), "authorization_pending");
}

/// V-40.
#[tokio::test]
async fn no_site_can_show_a_page_within_its_own() {
    let Some((scene, _provider)) = Scene::on_the_web("framing").await else {
        return;
    };
    let device = Device::begin(&scene.site).await;
    let victim = scene.chromium.fresh().await;
    let own = victim
        .open(&format!("{}/device?user_code={}", scene.site.url, device.user_code))
        .await;
    own.press("Continue").await;
    own.shows(devices::CONSENT).await;
    let pages = [
        scene.authorization_url(),
        own.url().await,
        format!("{}/device", scene.site.url),
        format!("{}/success", scene.site.url),
        format!("{}/callback?state=x", scene.site.url),
    ];
    let frame = |address: &String| format!("<iframe src='{address}'></iframe>");
    let frames: String = pages.iter().map(frame).collect();
    let object = format!("<object data='{}'></object>", scene.authorization_url());
    for name in ["attacker.example", "evil.acme.example"] {
        let site = OtherSite::attacker(name, &(frames.clone() + &object), &[]).await;
        let tab = victim.open(&site.url).await;
        let shown = tab.frames().await;
        assert!(shown.len() >= pages.len(), "{shown:?}");
        for address in shown {
            assert!(address.starts_with("chrome-error:"), "{address} is shown within {name}");
        }
    }
}

/// V-40.
#[tokio::test]
async fn a_site_that_opens_the_consent_page_sees_nothing_of_it() {
    let Some((scene, _provider)) = Scene::on_the_web("an opener").await else {
        return;
    };
    let site = OtherSite::attacker("attacker.example", "", &[]).await;
    let victim = scene.chromium.fresh().await;
    let tab = victim.open(&site.url).await;
    let opened = tab.opens(&scene.authorization_url()).await;
    opened.shows(CONSENT).await;
    for expression in [
        "opened.document.title",
        "opened.document.forms[0].submit()",
        "opened.location.href",
    ] {
        let attempt = format!("(() => {{ try {{ return {expression} }} catch (e) {{ return e.name }} }})()");
        assert_eq!(tab.evaluate(&attempt).await, "SecurityError", "{expression}");
    }
}

#[tokio::test]
async fn whatever_gets_written_into_a_page_runs_no_script_and_loads_nothing() {
    let Some(scene) = Scene::on_this_machine("injected markup").await else {
        return;
    };
    let site = OtherSite::attacker("attacker.example", "", &[]).await;
    let url = &site.url;
    let markup = format!(
        "<p>Injected</p><script>document.title = 'owned'</script><svg onload=\"document.title = 'owned'\"></svg>\
         <script src='{url}/script'></script><img src='{url}/image' onerror=\"document.title = 'owned'\">\
         <link rel=stylesheet href='{url}/style'><style>h1 {{ display: none }} p {{ background: url('{url}/background') }}</style>\
         <p style=\"background: url('{url}/attribute')\">Styled</p><iframe src='{url}/frame'></iframe>\
         <object data='{url}/object'></object><video src='{url}/video' autoplay></video><base href='{url}'>\
         <a href=\"javascript:document.title = 'owned'\">Press me</a>"
    );
    let tab = scene.chromium.fresh().await.open("about:blank").await;
    tab.inject(&markup).await;
    tab.open(&scene.authorization_url()).await;
    let text = tab.reads(CONSENT).await;
    assert!(text.contains("Injected"), "{text}");
    tab.follow("Press me").await;
    assert_eq!(tab.title().await, "Allow access?");
    // The forms still lead to where they did.
    tab.press("Allow").await;
    tab.shows(MADE_UP).await;
    assert!(site.visits.all().is_empty(), "{:?}", site.visits.all());
}

#[tokio::test]
async fn a_client_that_is_called_like_a_script_is_shown_as_text() {
    let Some((scene, _provider)) = Scene::on_the_web("a hostile name").await else {
        return;
    };
    let name = "<script>document.title='owned'</script>";
    let client = Client::register(&scene.site, name, &scene.client.redirect_uri).await;
    let person = scene.chromium.fresh().await;
    let tab = person.open(&client.authorization_url(&scene.site)).await;
    tab.shows(&format!("{name} asks for access")).await;
    assert_eq!(tab.title().await, "Allow access?");
}

#[tokio::test]
async fn nobody_learns_from_the_browser_where_the_person_comes_from() {
    let Some((mut scene, provider)) = Scene::on_the_web("the referrer").await else {
        return;
    };
    scene.home = OtherSite::client("app.example").await;
    scene.client = Client::register(&scene.site, "Weather App", &format!("{}/callback", scene.home.url)).await;
    let tab = scene.approved(&scene.chromium.fresh().await).await;
    let referrer = |visits: Vec<crate::web::Visit>| visits[0].headers.get("referer").cloned();
    assert_eq!(
        referrer(provider.visits.all()),
        None,
        "the provider from the consent page"
    );
    tab.press("Ada").await;
    scene.returned(&tab).await;
    let arrived = scene.home.visits.all();
    assert!(
        arrived[0].target.starts_with("/callback?code="),
        "{}",
        arrived[0].target
    );
    assert_eq!(referrer(arrived), None, "the client from the provider");
    assert_eq!(tab.evaluate("document.referrer").await, "");
}

/// V-39.
#[tokio::test]
async fn whoever_comes_back_brings_the_issuer_along_with_a_code_and_with_an_error() {
    let Some((scene, _provider)) = Scene::on_the_web("the issuer").await else {
        return;
    };
    let person = scene.chromium.fresh().await;
    let tab = scene.approved(&person).await;
    tab.press("Ada").await;
    let with_a_code = scene.returned(&tab).await;
    let tab = scene.asked(&person).await;
    tab.press("Do not allow").await;
    let with_an_error = scene.returned(&tab).await;
    for arrival in [with_a_code, with_an_error] {
        assert_eq!(parameter(&arrival, "iss").as_ref(), Some(&scene.site.url));
        assert_eq!(parameter(&arrival, "state").as_deref(), Some(crate::site::STATE));
    }
}

/// V-44.
#[tokio::test]
async fn headers_that_name_another_host_take_nobody_there() {
    let Some(chromium) = Chromium::find("forwarded headers") else {
        return;
    };
    let (login, other) = (
        Provider::start("login", "Acme Login").await,
        Provider::start("other", "The other one").await,
    );
    let site = Site::configured(|builder| builder.identity(login.clone()).also_sign_in_with(other.clone())).await;
    let scene = Scene::of(chromium, site).await;
    let settings = Settings {
        headers: &[
            ("x-forwarded-host", "attacker.example"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-prefix", "/elsewhere"),
            ("forwarded", "host=attacker.example;proto=http"),
        ],
        ..Settings::default()
    };
    let person = chromium.profile(settings).await;
    let tab = scene.asked(&person).await;
    tab.press("Allow").await;
    tab.shows("Where do you want to sign in?").await;
    tab.press("Sign in with Acme Login").await;
    tab.shows(WHO).await;
    tab.press("Ada").await;
    assert_eq!(scene.lets_in(&tab).await, "login:ada");
    let device = Device::begin(&scene.site).await;
    let tab = person.open(&format!("{}/device", scene.site.url)).await;
    tab.write(devices::CODE, &device.user_code).await;
    tab.press("Continue").await;
    tab.shows(devices::CONSENT).await;
    for address in person.asked().await {
        let known = [&scene.site.url, &login.url, &scene.home.url];
        assert!(known.iter().any(|site| address.starts_with(*site)), "{address}");
    }
}
