//! What a person does with what there is: look at it, give it back, and change the registration.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::client::Client;
use super::super::discovery;
use super::super::registration::{self, RegistrationError};
use super::super::storage;
use super::super::tokens::{self, TokenError, seconds};
use super::Authorizer;
use super::error::AuthorizationError;
use super::kept::{Held, client_key};

/// What is known of the tokens for a server.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The server.
    pub server: String,
    /// Who gave the token.
    pub issuer: Option<String>,
    /// The client that it was given to.
    pub client_id: Option<String>,
    /// What it allows.
    pub scope: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// In how many seconds that is; 0 if it has ended.
    pub expires_in: Option<u64>,
    /// Whether it can be renewed without anybody signing in.
    pub refreshable: bool,
}

/// What is done with a registration.
#[derive(Debug)]
pub(crate) enum Management {
    Show,
    Update(Map<String, Value>),
    Delete,
}

impl Authorizer {
    /// What is known of the tokens.
    pub(crate) async fn status(&self) -> Result<Status, AuthorizationError> {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.kept()?;
        }
        let now = seconds(SystemTime::now());
        let tokens = current.as_ref().map(|held| &held.tokens);
        let expires_at = tokens.and_then(|tokens| tokens.expires_at);
        Ok(Status {
            server: self.resource.clone(),
            issuer: current.as_ref().map(|held| held.issuer.clone()),
            client_id: tokens.map(|tokens| tokens.client_id.clone()),
            scope: tokens.and_then(|tokens| tokens.scope.clone()),
            expires_at,
            expires_in: expires_at.map(|end| end.saturating_sub(now)),
            refreshable: tokens.is_some_and(|tokens| tokens.refresh_token.is_some()),
        })
    }

    /// Gives the tokens back (RFC 7009), and forgets them. The registration stays.
    pub(crate) async fn log_out(&self) -> Result<bool, AuthorizationError> {
        let mut current = self.current.lock().await;
        let _lock = storage::lock(&*self.storage, &self.note_key()).await?;
        let Some(held) = self.kept()? else {
            *current = None;
            return Ok(false);
        };
        if let Err(error) = self.revoke(&held).await {
            tracing::warn!(%error, "the authorization server could not be told; the tokens are forgotten here all the same");
        }
        self.forget_tokens(&held.issuer)?;
        self.storage.remove(&self.note_key())?;
        *current = None;
        Ok(true)
    }

    async fn revoke(&self, held: &Held) -> Result<(), AuthorizationError> {
        let fetcher = self.fetcher().await?;
        let server = discovery::authorization_server(fetcher, &held.issuer).await?;
        let (Some(endpoint), Some(client)) = (&server.revocation_endpoint, self.known_client(&server)?) else {
            return Ok(());
        };
        let refresh = held.tokens.refresh_token.as_ref().map(|token| (token, "refresh_token"));
        for (token, kind) in refresh.into_iter().chain([(held.access_token(), "access_token")]) {
            let who = client
                .identify(&server.issuer, SystemTime::now())
                .ok_or(TokenError::Signing)?;
            let mut fields = vec![("token", token.expose()), ("token_type_hint", kind)];
            fields.extend(who.fields.iter().map(|(name, value)| (*name, value.expose())));
            let mut request = fetcher.form(endpoint, &fields);
            if let Some(value) = &who.header {
                request = request.header(http::header::AUTHORIZATION, tokens::sensitive(value.expose()));
            }
            let answer = fetcher.send(request).await?;
            if !answer.status.is_success() {
                let code = format!("status {}", answer.status.as_u16());
                return Err(TokenError::Refused {
                    code,
                    description: None,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Reads, changes or ends this program's own registration with the authorization server of this server.
    pub(crate) async fn manage(&self, what: Management) -> Result<Map<String, Value>, AuthorizationError> {
        let issuer = match self.settings.issuer.clone() {
            Some(issuer) => issuer,
            None => self.note()?.ok_or(RegistrationError::NotManaged)?,
        };
        let key = client_key(&issuer);
        let mut current = self.current.lock().await;
        let _lock = storage::lock(&*self.storage, &key).await?;
        let client: Option<Client> = storage::read(&*self.storage, &key)?;
        let mut client = client.ok_or(RegistrationError::NotManaged)?;
        let fetcher = self.fetcher().await?;
        let metadata = match what {
            Management::Show => registration::show(fetcher, &issuer, &mut client).await?,
            Management::Update(changes) => registration::update(fetcher, &issuer, &mut client, changes).await?,
            Management::Delete => {
                registration::delete(fetcher, &issuer, &client).await?;
                self.storage.remove(&key)?;
                self.forget_tokens(&issuer)?;
                self.storage.remove(&self.note_key())?;
                *current = None;
                return Ok(Map::new());
            }
        };
        storage::write(&*self.storage, &key, &client)?;
        Ok(metadata)
    }
}
