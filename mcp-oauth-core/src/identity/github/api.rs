//! The REST API of a GitHub, as somebody who has a token sees it.

use http::{HeaderValue, header};
use oauth2::HttpResponse;
use reqwest::Request;
use serde::de::DeserializeOwned;
use url::Url;

use super::base_url::BaseUrl;
use super::upstream::Upstream;
use crate::identity::IdentityError;

/// The version of the REST API that github.com and every supported Enterprise Server know
/// (<https://docs.github.com/en/rest/about-the-rest-api/api-versions>).
const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");

/// The API, seen with a token. It has no `Debug`, so that the token is never shown.
#[derive(Clone, Copy)]
pub(super) struct Api<'a> {
    pub(super) base: &'a BaseUrl,
    pub(super) upstream: &'a Upstream,
    pub(super) token: &'a str,
}

impl Api<'_> {
    /// Asks for `path`, which begins with a slash. A redirect is an error.
    pub(super) async fn get(&self, path: &str) -> Result<HttpResponse, IdentityError> {
        self.upstream.send(self.request(path, None)?).await
    }

    /// Asks for one page of a list.
    pub(super) async fn get_page(
        &self,
        path: &str,
        page: usize,
        per_page: usize,
    ) -> Result<HttpResponse, IdentityError> {
        let query = format!("per_page={per_page}&page={page}");
        self.upstream.send(self.request(path, Some(&query))?).await
    }

    /// Asks for `path`. A redirect, which is not followed, is an answer like any other: something has another name now.
    pub(super) async fn get_by_name(&self, path: &str) -> Result<HttpResponse, IdentityError> {
        self.upstream.exchange(self.request(path, None)?).await
    }

    fn request(&self, path: &str, query: Option<&str>) -> Result<Request, IdentityError> {
        let (version_header, version) = API_VERSION;
        let mut url = Url::from(self.base.join(path));
        url.set_query(query);
        self.upstream
            .client()?
            .get(url)
            .bearer_auth(self.token)
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .header(version_header, HeaderValue::from_static(version))
            .build()
            .map_err(|_| {
                let what = "the token cannot stand in a header; check that the base URLs are those of GitHub";
                IdentityError::Unusable(what.to_owned())
            })
    }
}

/// Reads a JSON object. Without the look at its first character, an array whose elements happen to fit would do as
/// well.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(body).ok()).flatten()
}
