//! The clients that there are.

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, ClientSource, ClientView, Cursor, MAXIMUM_PAGE, Operator, OperatorError, Page, Unreadable};
use crate::audit::Command;
use crate::client::registration::RegistrationRequest;
use crate::client::{Client, ClientId};
use crate::error::OAuthError;
use crate::revocation::Holder;
use crate::secret::Secret;
use crate::server::client_key;
use crate::server::register::{ClientInformation, credential};
use crate::store::{self, Key, Kind, Loaded, StoreError};

impl Operator {
    /// A page of the clients: those of the configuration, then those that have registered themselves, then those with a
    /// document. `limit` is about how many.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn clients(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Page<ClientView>, OperatorError> {
        let outcome = self.page_of_clients(cursor, limit.clamp(1, MAXIMUM_PAGE)).await;
        self.audited(self.event(Command::ListClients), outcome)
    }

    async fn page_of_clients(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Page<ClientView>, OperatorError> {
        let mut page = Page::default();
        if cursor.is_none() {
            let configured = self.server.0.clients.preregistered.values();
            let view = |client: &Client| ClientView::of(client.clone(), ClientSource::Configuration);
            page.items = configured.map(|known| view(&known.client)).collect();
            page.items
                .sort_by(|one, other| one.client_id.as_str().cmp(other.client_id.as_str()));
        }
        let kind = cursor.map_or(Kind::Client, |cursor| cursor.kind);
        let kind = if kind == Kind::Document { kind } else { Kind::Client };
        let from = cursor.filter(|cursor| cursor.kind == kind);
        let (keys, next) = self
            .keys(kind, from.and_then(|cursor| cursor.position.clone()), limit)
            .await?;
        page.next = match (next, kind) {
            (Some(position), kind) => Some((kind, Some(position))),
            (None, Kind::Client) => Some((Kind::Document, None)),
            (None, _) => None,
        }
        .map(|(kind, position)| Cursor { kind, position });
        for read in self.read_clients(keys).await {
            match read {
                Ok(Some(client)) => page.items.push(ClientView::of(client.record, source(kind))),
                Ok(None) => {}
                Err(error) => page.unreadable.push(Unreadable::from_error(error)?),
            }
        }
        Ok(page)
    }

    /// Reads clients, several at the same time.
    pub(super) async fn read_clients(&self, keys: Vec<Key>) -> Vec<Result<Option<Loaded<Client>>, StoreError>> {
        let read = |key: Key| async move { store::load(self.server.store(), &key).await };
        stream::iter(keys).map(read).buffered(AT_ONCE).collect().await
    }

    /// One client; `None` if there is none with this identifier.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or the record cannot be read.
    pub async fn client(&self, client_id: &ClientId) -> Result<Option<ClientView>, OperatorError> {
        let outcome = self.one_client(client_id).await;
        self.audited(self.event(Command::ShowClient).with_client(client_id), outcome)
    }

    async fn one_client(&self, client_id: &ClientId) -> Result<Option<ClientView>, OperatorError> {
        let view = if let Some(known) = self.server.0.clients.preregistered.get(client_id) {
            Some(ClientView::of(known.client.clone(), ClientSource::Configuration))
        } else {
            let found = self.server.load_client(client_id).await?;
            found.map(|found| ClientView::of(found.record, source(client_key(client_id).kind())))
        };
        let Some(mut view) = view else { return Ok(None) };
        let mark = self.server.not_before(&Holder::Client(client_id.clone())).await?;
        view.ended_up_to = mark.map(|mark| mark.at);
        Ok(Some(view))
    }

    /// Makes a client, for software that cannot register itself or must not. `metadata` is what it would register: the JSON of
    /// RFC 7591 §2, with redirect URIs that the [policy](crate::client::redirect_uri_policy) takes. Nobody has to be admitted,
    /// no quota is spent, and a software statement is ignored, since it is the operator who vouches.
    ///
    /// The client has a record in the store as those have that register, and an identifier that is drawn at random. It never
    /// expires, and nobody manages it over the network: there is no registration access token. Its secret, if it has one, is
    /// in the answer, and is not kept: this is the only time it can be seen.
    ///
    /// # Errors
    ///
    /// One of the four errors of RFC 7591 §3.2.2, as [`Refused`](OperatorError::Refused); when the store does not answer, or is
    /// full.
    pub async fn create_client(&self, metadata: &[u8]) -> Result<ClientInformation, OperatorError> {
        let outcome = self.creation(metadata).await;
        let event = self.event(Command::CreateClient);
        let event = match &outcome {
            Ok(made) => event.with_client(&made.client_id),
            Err(_) => event,
        };
        self.audited(event, outcome)
    }

    async fn creation(&self, metadata: &[u8]) -> Result<ClientInformation, OperatorError> {
        let server = &self.server;
        let request = RegistrationRequest::parse(metadata).map_err(OAuthError::from)?;
        let accepted = request.accept(&server.0.registration.redirect_uris);
        let limited = accepted.and_then(|metadata| metadata.limited_to(server.grant_types()));
        let metadata = limited.map_err(OAuthError::from)?;
        server.check_keys(metadata.keys.as_ref()).map_err(OAuthError::from)?;
        let method = metadata.token_endpoint_auth_method;
        let secret = method.needs_secret().then(|| Secret::drawn_from(server.randomness()));
        let client = Client {
            client_id: ClientId::drawn_from(server.randomness()),
            client_id_issued_at: server.now(),
            expires_at: None,
            credential: credential(method, secret.as_ref()),
            registration_access_token: None,
            document_fresh_until: None,
            metadata,
        };
        store::insert(server.store(), &client_key(&client.client_id), &client, None).await?;
        Ok(server.client_information(client, secret, None))
    }

    /// Deletes a client, and ends all that it had been granted. Says whether there was one. A client with a document is back
    /// as soon as somebody signs in with it, and has to ask for everything anew.
    ///
    /// # Errors
    ///
    /// When the client is one of the configuration; when the store does not answer, and then the client is still there or
    /// this can be called again.
    pub async fn delete_client(&self, client_id: &ClientId) -> Result<bool, OperatorError> {
        let outcome = self.deletion(client_id).await;
        self.audited(self.event(Command::DeleteClient).with_client(client_id), outcome)
    }

    async fn deletion(&self, client_id: &ClientId) -> Result<bool, OperatorError> {
        if self.server.0.clients.preregistered.contains_key(client_id) {
            return Err(OperatorError::Configured(client_id.clone()));
        }
        match self.server.load_client(client_id).await {
            Ok(None) => Ok(false),
            Ok(Some(loaded)) => Ok(self.server.end_client(&loaded.record).await?),
            // What cannot be read can be removed all the same.
            Err(StoreError::Unreadable { .. }) => {
                self.server.end_all(Holder::Client(client_id.clone())).await?;
                Ok(self.server.store().remove(&client_key(client_id)).await?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn source(kind: Kind) -> ClientSource {
    match kind {
        Kind::Document => ClientSource::Document,
        _ => ClientSource::Registration,
    }
}
