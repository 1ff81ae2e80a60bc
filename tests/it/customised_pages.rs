//! Pages as an operator has made them: their name, logo, colours, footer, texts and templates.

use axum::Router;
use http::Method;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, request};
use mcp_oauth_tests::client::{Client, public_metadata};
use mcp_oauth_tower::Routes;
use mcp_oauth_tower::pages::{Brand, DefaultTemplates, Frame, Page, Pages, Palette, RenderError, Templates, Texts};
use serde_json::json;

use crate::pages::{HOSTILE, assert_is_a_safe_page};

fn routes(application: &Application, pages: Pages) -> Router {
    Routes::new(&application.server).pages(pages).into_router()
}

async fn open(router: &Router, path: &str) -> Answer {
    Answer::from(router, request(Method::GET, path, &[("accept", "text/html")], "")).await
}

async fn consent_url(application: &Application, name: &str) -> String {
    let mut metadata = public_metadata();
    metadata["client_name"] = json!(name);
    Client::register(application, &metadata).await.authorization_url(&[])
}

#[tokio::test]
async fn name_footer_and_colours_are_on_every_page() {
    let application = Application::default();
    let brand = Brand::new("Acme & Söhne <b>")
        .light(Palette::LIGHT.accent("#7a1fa2".parse().unwrap()))
        .unwrap()
        .footer("Acme Inc.")
        .footer_link("Privacy", "https://acme.example/privacy?a=1&b=2")
        .unwrap();
    let router = routes(&application, Pages::default().brand(brand));
    let consent = consent_url(&application, "Editor").await;
    for path in [&*consent, "/account", "/success", "/authorize"] {
        let page = open(&router, path).await;
        assert_is_a_safe_page(&page);
        assert!(!page.body.contains("<b>"), "{path}");
        for part in ["Acme", "Söhne", "#7a1fa2", "Acme Inc.", r#"rel="noreferrer"#, "Privacy"] {
            assert!(page.body.contains(part), "{part} at {path}");
        }
    }
}

#[tokio::test]
async fn a_logo_is_the_one_thing_that_a_page_loads_and_from_here() {
    let application = Application::default();
    let svg = &b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..];
    let handed_in = routes(
        &application,
        Pages::default().brand(Brand::default().logo(svg).unwrap()),
    );
    let served_beside = Brand::default().logo_at("/static/logo.svg").unwrap();
    let served_beside = routes(&application, Pages::default().brand(served_beside));
    for (router, path) in [(&handed_in, "/pages/logo"), (&served_beside, "/static/logo.svg")] {
        let page = open(router, "/account").await;
        assert!(page.body.contains(&format!(r#"<img src="{path}""#)), "{}", page.body);
        let policy = page.header("content-security-policy");
        assert!(policy.contains(&format!("img-src {ISSUER}{path};")), "{policy}");
        assert!(policy.contains("default-src 'none'"), "{policy}");
    }
    let logo = open(&handed_in, "/pages/logo").await;
    assert_eq!(
        (logo.status.as_u16(), logo.header("content-type")),
        (200, "image/svg+xml")
    );
    assert_eq!(logo.header("x-content-type-options"), "nosniff");
    let policy = logo.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("sandbox"),
        "{policy}"
    );
    assert_eq!(open(&served_beside, "/pages/logo").await.status, 404);
}

#[tokio::test]
async fn a_translation_is_on_the_pages_in_its_own_direction_and_what_it_lacks_is_english() {
    let application = Application::default();
    let arabic = json!({"lang": "ar", "dir": "rtl", "consent_heading": "{client} يطلب الوصول", "consent_allow": "سماح",
        "account_sign_in_heading": "ماذا سمحت به؟ <b>"});
    let texts: Texts = serde_json::from_value(arabic).unwrap();
    let router = routes(&application, Pages::default().texts(texts).unwrap());
    let url = consent_url(&application, HOSTILE).await;
    let page = open(&router, &url).await;
    assert_is_a_safe_page(&page);
    for part in [
        r#"<html lang="ar" dir="rtl">"#,
        "</bdi> يطلب الوصول",
        "سماح",
        "Do not allow",
    ] {
        assert!(page.body.contains(part), "{part} in {}", page.body);
    }
    let account = open(&router, "/account").await;
    assert!(
        account.body.contains("ماذا") && !account.body.contains("<b>"),
        "{}",
        account.body
    );
}

#[tokio::test]
async fn a_translation_that_hides_who_asks_is_refused() {
    let texts: Texts = serde_json::from_value(json!({"consent_heading": "Allow?"})).unwrap();
    assert!(Pages::default().texts(texts).is_err());
    assert!(serde_json::from_value::<Texts>(json!({"consent_haeding": "{client}"})).is_err());
}

/// Another page where there is an error, and the others as they are.
#[derive(Debug)]
struct Own;

impl Templates for Own {
    fn render(&self, page: &Page<'_>, frame: &Frame<'_>) -> Result<String, RenderError> {
        match page {
            Page::Error(error) => Ok(format!(
                "<!doctype html><title>Own</title><p>{}<script>1</script>",
                error.reference
            )),
            Page::AccountSignIn(_) => Err("this one is broken".into()),
            page => DefaultTemplates.render(page, frame),
        }
    }
}

#[tokio::test]
async fn templates_of_ones_own_have_the_same_policy_and_one_that_fails_shows_nothing() {
    let application = Application::default();
    let router = routes(&application, Pages::default().templates(Own));
    let error = open(&router, "/success").await;
    assert!(error.body.contains("<title>Own</title>"));
    let policy = error.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("script-src"),
        "{policy}"
    );
    assert_eq!(error.header("cache-control"), "no-store");
    let consent = open(&router, &consent_url(&application, "Editor").await).await;
    assert!(consent.body.contains("<bdi>Editor</bdi> asks for access"));
    let broken = open(&router, "/account").await;
    assert_eq!((broken.status.as_u16(), &*broken.body), (503, ""));
}

#[tokio::test]
async fn names_of_any_script_are_shown_as_they_are_and_turn_nothing_around() {
    let application = Application::default();
    let router = routes(&application, Pages::default());
    for name in [
        "编辑器",
        "エディター",
        "편집기",
        "محرر",
        "עורך",
        "संपादक",
        "บรรณาธิการ",
        "Редактор",
        "Επεξεργαστής",
        "Trình soạn thảo",
        "რედაქტორი",
        "Ձևաչափիչ",
    ] {
        let page = open(&router, &consent_url(&application, name).await).await;
        assert!(
            page.body.contains(&format!("<bdi>{name}</bdi>")),
            "{name} in {}",
            page.body
        );
    }
    let turned = "Editor\u{202e}gnirts\u{2066}";
    let page = open(&router, &consent_url(&application, turned).await).await;
    if page.status == 200 {
        assert!(!page.body.contains('\u{202e}') && !page.body.contains('\u{2066}'));
    }
}

#[tokio::test]
async fn an_error_page_has_a_reference_that_is_another_each_time() {
    let application = Application::default();
    let reference = |page: &Answer| {
        let at = page
            .body
            .find("Reference: <bdi>")
            .unwrap_or_else(|| panic!("no reference in {page:?}"));
        page.body[at + "Reference: <bdi>".len()..][..9].to_owned()
    };
    let one = reference(&application.get("/success").await);
    let other = reference(&application.get("/success").await);
    assert_ne!(one, other);
    let is_one = |character: char| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '-';
    assert!(one.chars().all(is_one) && one.as_bytes()[4] == b'-', "{one}");
}
