//! GitHub's token endpoint: a code, or a refresh token, becomes tokens. And why it does not, which GitHub says in a way of its
//! own.

use std::borrow::Cow;

use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse, BasicTokenType};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, TokenResponse, TokenUrl,
};

use super::api::object;
use super::{GitHub, unusable};
use crate::identity::tokens::{TokensRefreshed, UpstreamTokens};
use crate::identity::{IdentityError, SignInReturn};
use crate::secret::Secret;

type OAuthClient = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

impl GitHub {
    pub(super) fn oauth_client(&self) -> OAuthClient {
        BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.client_secret.expose().to_owned()))
            // GitHub documents the credentials as parameters of the form, not as HTTP Basic.
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(self.web.join("/login/oauth/authorize").into()))
            .set_token_uri(TokenUrl::from_url(self.web.join("/login/oauth/access_token").into()))
    }

    /// Redeems the code.
    pub(super) async fn tokens(&self, returned: &SignInReturn<'_>) -> Result<UpstreamTokens, IdentityError> {
        let code = returned
            .parameters
            .require("code")
            .map_err(|_| unusable("the person came back without exactly one code; sign in again"))?;
        let client = self.oauth_client();
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(returned.code_verifier.expose().to_owned()))
            .set_redirect_uri(Cow::Owned(RedirectUrl::from_url(returned.callback.clone())));
        let token = request.request_async(&self.upstream).await.map_err(not_a_token)?;
        if *token.token_type() != BasicTokenType::Bearer {
            return Err(unusable(
                "the token is not a bearer token; check that the base URLs are those of GitHub",
            ));
        }
        Ok(self.read_tokens(&token))
    }

    fn read_tokens(&self, token: &BasicTokenResponse) -> UpstreamTokens {
        let mut tokens = UpstreamTokens::new(token.access_token().secret().as_str());
        tokens.expires_at = token.expires_in().map(|lifetime| self.upstream.clock.now() + lifetime);
        tokens.refresh_token = token.refresh_token().map(|token| Secret::from(token.secret().as_str()));
        tokens.scope = token
            .scopes()
            .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
        tokens
    }

    /// Exchanges a refresh token.
    pub(super) async fn exchange(&self, refresh_token: &Secret) -> Result<TokensRefreshed, IdentityError> {
        let client = self.oauth_client();
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        match client
            .exchange_refresh_token(&refresh_token)
            .request_async(&self.upstream)
            .await
        {
            Ok(token) => Ok(TokensRefreshed::Tokens(Box::new(self.read_tokens(&token)), None)),
            Err(error) => match refusal(error)?.as_deref() {
                Some("bad_refresh_token" | "invalid_grant") => Ok(TokensRefreshed::Refused),
                code => Err(why_refused(code)),
            },
        }
    }
}

/// Why there is no token. What GitHub wrote is looked at and left behind: it may hold anything, a token included.
fn not_a_token(error: RequestTokenError<IdentityError, BasicErrorResponse>) -> IdentityError {
    match refusal(error) {
        Ok(code) => why_refused(code.as_deref()),
        Err(error) => error,
    }
}

/// The code of a refusal, if GitHub has answered at all.
fn refusal(error: RequestTokenError<IdentityError, BasicErrorResponse>) -> Result<Option<String>, IdentityError> {
    let refusal: Option<BasicErrorResponse> = match error {
        RequestTokenError::Request(error) => return Err(error),
        RequestTokenError::ServerResponse(response) => Some(response),
        // GitHub refuses with status 200, so its errors come as tokens that cannot be read.
        RequestTokenError::Parse(_, body) => object(&body),
        RequestTokenError::Other(_) => None,
    };
    Ok(refusal.map(|refusal| refusal.error().as_ref().to_owned()))
}

fn why_refused(code: Option<&str>) -> IdentityError {
    match code {
        Some("access_denied") => IdentityError::Denied,
        Some("bad_verification_code" | "invalid_grant") => {
            unusable("the code has expired, was used before or is somebody else's; sign in again")
        }
        // An unknown client ID is "Not Found".
        Some("incorrect_client_credentials" | "invalid_client" | "unauthorized_client" | "Not Found") => {
            unusable("the client ID or the client secret is wrong; compare them with the OAuth app at GitHub")
        }
        Some("redirect_uri_mismatch") => unusable(
            "the OAuth app at GitHub has another callback URL; enter the issuer of this server followed by /callback there",
        ),
        Some("unverified_user_email") => unusable(
            "the account has no verified e-mail address; verify the primary address at GitHub and sign in again",
        ),
        Some(_) => {
            unusable("the code was refused; sign in again, and if that does not help, look at the OAuth app at GitHub")
        }
        None => unusable("the token endpoint did not answer as GitHub does; sign in again, and check the base URLs"),
    }
}
