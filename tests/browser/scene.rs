//! Where most stories begin: a site, a client that wants in, and a browser.

use crate::chromium::{Chromium, Profile, Tab};
use crate::provider::{Provider, WHO};
use crate::site::{Client, Site, parameter};
use crate::web::{AT_THE_CLIENT, OtherSite};
use url::Url;

/// What the client is called.
pub(crate) const CLIENT: &str = "Weather App";

/// How its consent page begins.
pub(crate) const CONSENT: &str = "Weather App asks for access";

/// How every page begins on which a sign-in ends that nobody can go on with.
pub(crate) const STOPPED: &str = "This sign-in does not go on";

/// Where people choose whom to be, on a developer's machine.
pub(crate) const MADE_UP: &str = "Who do you want to be?";

/// All of them, with the provider where there is one.
pub(crate) struct Scene {
    pub(crate) chromium: Chromium,
    pub(crate) site: Site,
    pub(crate) client: Client,
    /// Where the client has people come back to.
    pub(crate) home: OtherSite,
}

impl Scene {
    /// On a developer's machine.
    pub(crate) async fn on_this_machine(test: &str) -> Option<Self> {
        let chromium = Chromium::find(test)?;
        Some(Self::of(chromium, Site::on_this_machine().await).await)
    }

    /// On https, with a provider on a site of its own.
    pub(crate) async fn on_the_web(test: &str) -> Option<(Self, Provider)> {
        let chromium = Chromium::find(test)?;
        let provider = Provider::start("login", "Acme Login").await;
        let site = Site::on_the_web(&provider).await;
        Some((Self::of(chromium, site).await, provider))
    }

    /// With two providers to choose from, on a developer's machine.
    pub(crate) async fn with_two_providers(test: &str) -> Option<(Self, [Provider; 2])> {
        let chromium = Chromium::find(test)?;
        let login = Provider::start("login", "Acme Login").await;
        let other = Provider::start("other", "The other one").await;
        let site = Site::configured(|builder| builder.identity(login.clone()).also_sign_in_with(other.clone())).await;
        Some((Self::of(chromium, site).await, [login, other]))
    }

    /// At this site, with a client on the person's own machine.
    pub(crate) async fn of(chromium: Chromium, site: Site) -> Self {
        let home = OtherSite::client_here().await;
        let client = Client::register(&site, CLIENT, &format!("{}/callback", home.url)).await;
        Self {
            chromium,
            site,
            client,
            home,
        }
    }

    pub(crate) fn authorization_url(&self) -> String {
        self.client.authorization_url(&self.site)
    }

    /// The consent page in a new tab.
    pub(crate) async fn asked(&self, person: &Profile) -> Tab {
        let tab = person.open(&self.authorization_url()).await;
        tab.shows(CONSENT).await;
        tab
    }

    /// The provider's page in a new tab, after consent.
    pub(crate) async fn approved(&self, person: &Profile) -> Tab {
        let tab = self.asked(person).await;
        tab.press("Allow").await;
        tab.shows(WHO).await;
        tab
    }

    /// Waits until somebody is back at the client, and says where they have arrived.
    pub(crate) async fn returned(&self, tab: &Tab) -> Url {
        let arrival = tab.arrives(&self.client.redirect_uri).await;
        tab.shows(AT_THE_CLIENT).await;
        arrival
    }

    /// Waits until somebody is back at the client, and says whom that lets in.
    pub(crate) async fn lets_in(&self, tab: &Tab) -> String {
        let arrival = self.returned(tab).await;
        self.client.lets_in(&self.site, &arrival).await
    }

    /// Waits until somebody is back at the client, and says which error they bring along.
    pub(crate) async fn error(&self, tab: &Tab) -> String {
        let arrival = self.returned(tab).await;
        assert_eq!(parameter(&arrival, "code"), None);
        parameter(&arrival, "error").unwrap()
    }
}

impl Tab {
    /// Goes on from the consent page as one of the made-up people.
    pub(crate) async fn allow_as(&self, name: &str) {
        self.press("Allow").await;
        self.shows(MADE_UP).await;
        self.press(name).await;
    }
}
