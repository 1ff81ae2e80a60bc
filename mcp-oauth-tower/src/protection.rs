//! What a layer protects, and what it decides about a request.

use http::{HeaderMap, HeaderName, Method, Request, Response, Uri, header};
use mcp_oauth_core::resource::Resource;
use mcp_oauth_core::scope::ScopeSet;
use mcp_oauth_core::scope::operation::{Operation, has_checked_headers, operations};
use mcp_oauth_core::scope::rules::{AccessRules, Requirement};
use mcp_oauth_core::secret::{MarkingKey, Secret};

use crate::authenticator::{Authenticator, Decision};
use crate::bearer::{self, Bearer};
use crate::bodies::BodyRefused;
use crate::caller::Caller;
use crate::decisions::Decisions;
use crate::refusal::{Challenges, Denied, Refusal, RefusalBody};
use crate::session;

const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What the layer and its services share.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    pub(crate) authenticator: Authenticator,
    rules: AccessRules,
    pub(crate) challenges: Challenges,
    session_key: MarkingKey,
    pub(crate) decisions: Decisions,
}

/// What is known of who calls, before it is known what for.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Caller(Caller),
    /// Nobody, and something here is open to everybody.
    Nobody,
}

impl Standing {
    fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Caller(caller) => Some(caller),
            Self::Nobody => None,
        }
    }
}

impl Protection {
    pub(crate) fn new(resource: &Resource, authenticator: Authenticator) -> Result<Self, header::InvalidHeaderValue> {
        let rules = resource.access_rules();
        Ok(Self {
            authenticator,
            challenges: Challenges::new(resource, &rules)?,
            decisions: Decisions::about(resource.uri().as_str()),
            rules,
            session_key: MarkingKey::random(),
        })
    }

    pub(crate) fn with_session_secret(&self, secret: &Secret) -> Self {
        Self {
            session_key: MarkingKey::from_secret(secret),
            ..self.clone()
        }
    }

    /// Who calls, by the token in the `Authorization` header. Without a token that is [`Refusal::Unauthenticated`].
    pub(crate) fn authenticate(&self, headers: &HeaderMap, uri: &Uri) -> Decision {
        match bearer::read(headers, uri) {
            Bearer::Absent => Decision::Ready(Err(Refusal::Unauthenticated)),
            Bearer::Malformed => Decision::Ready(Err(Refusal::InvalidRequest)),
            // Most of what is presented has been here before, and then it is known to be a token without being read.
            Bearer::Presented(presented) => {
                if let Some(caller) = self.authenticator.recall(presented) {
                    return Decision::Ready(Ok(caller));
                }
                match bearer::token(presented) {
                    Some(token) => self.authenticator.authenticate(token),
                    None => Decision::Ready(Err(Refusal::InvalidRequest)),
                }
            }
        }
    }

    /// What the answer to that means where something may be open to everybody.
    pub(crate) fn standing(&self, answer: Result<Caller, Refusal>) -> Result<Standing, Refusal> {
        match answer {
            Ok(caller) => Ok(Standing::Caller(caller)),
            Err(Refusal::Unauthenticated) if self.rules.open_anything() => Ok(Standing::Nobody),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether it takes the body to know what is needed.
    pub(crate) fn depends_on_the_body(&self, method: &Method) -> bool {
        self.rules.depend_on_the_operation() && method == Method::POST
    }

    /// What is needed, as far as the headers tell. Where they do not, that is everything.
    ///
    /// Headers count where the client says that it speaks a version in which servers hold them against the body. A server
    /// that knows no such version has to refuse that one; one that goes on as if nothing had been said must not have rules.
    pub(crate) fn required_by_headers(&self, method: &Method, headers: &HeaderMap) -> Requirement {
        if !self.rules.depend_on_the_operation() {
            return Requirement::Scopes(self.rules.baseline().clone());
        }
        if method != Method::POST {
            return self.rules.required([&Operation::Session]);
        }
        match claimed(headers) {
            Some(operation) => self.rules.required([&operation]),
            None => Requirement::Scopes(self.rules.everything().clone()),
        }
    }

    /// What is needed, by the body. Headers that a modern server would hold against it are held against it here, so that it
    /// does not matter whether the server does.
    pub(crate) fn required_by_body(&self, headers: &HeaderMap, body: &[u8]) -> Result<Requirement, Refusal> {
        let operations = operations(body).map_err(|reason| {
            tracing::debug!(%reason, "a message was refused");
            Refusal::InvalidMessage
        })?;
        let modern = matches!(only(headers, &MCP_PROTOCOL_VERSION), Ok(Some(version)) if has_checked_headers(version));
        if modern
            && headers.contains_key(&MCP_METHOD)
            && Some(&operations[..]) != claimed(headers).as_ref().map(std::slice::from_ref)
        {
            return Err(Refusal::HeaderMismatch);
        }
        Ok(self.rules.required(&operations))
    }

    pub(crate) fn refuse_body(reason: BodyRefused) -> Refusal {
        match reason {
            BodyRefused::TooLong => Refusal::TooLarge,
            BodyRefused::Broken => Refusal::InvalidMessage,
        }
    }

    /// Gives the request the form in which the server behind may see it, if whoever calls may do what they want to do.
    pub(crate) fn admit<B>(
        &self,
        request: &mut Request<B>,
        standing: &Standing,
        required: &Requirement,
    ) -> Result<(), Denied> {
        match (standing.caller(), required) {
            (_, Requirement::Open) => {}
            (None, Requirement::Scopes(_)) => return Err(Refusal::Unauthenticated.into()),
            (Some(caller), Requirement::Scopes(needed)) => self.check_scopes(caller, needed)?,
        }
        self.hand_over(request, standing)?;
        self.decisions.admitted();
        Ok(())
    }

    /// The same where everything needs the same.
    pub(crate) fn admit_plainly<B>(&self, request: &mut Request<B>, caller: Caller) -> Result<Standing, Denied> {
        self.check_scopes(&caller, self.rules.baseline())?;
        let standing = Standing::Caller(caller);
        self.hand_over(request, &standing)?;
        self.decisions.admitted();
        Ok(standing)
    }

    /// The answer to a request that is refused.
    pub(crate) fn refuse<R>(&self, denied: &Denied, body: &impl RefusalBody<R>) -> Response<R> {
        self.decisions.refused(denied.refusal());
        self.challenges.respond(denied, body)
    }

    /// Whether the request of whoever this is may go on, by its method and headers, for somebody else who passes it on. `None`
    /// is nobody, who may.
    #[cfg(feature = "axum")]
    pub(crate) fn permit(
        &self,
        answer: Result<Caller, Refusal>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<Caller>, Denied> {
        if let (Ok(caller), true) = (&answer, self.is_plain()) {
            self.check_scopes(caller, self.rules.baseline())?;
            return Ok(answer.ok());
        }
        match (self.standing(answer)?, self.required_by_headers(method, headers)) {
            (Standing::Caller(caller), Requirement::Open) => Ok(Some(caller)),
            (Standing::Caller(caller), Requirement::Scopes(needed)) => {
                self.check_scopes(&caller, &needed)?;
                Ok(Some(caller))
            }
            (Standing::Nobody, Requirement::Open) => Ok(None),
            (Standing::Nobody, Requirement::Scopes(_)) => Err(Refusal::Unauthenticated.into()),
        }
    }

    /// Whether what is needed is the same for everything.
    pub(crate) fn is_plain(&self) -> bool {
        !self.rules.depend_on_the_operation()
    }

    fn check_scopes(&self, caller: &Caller, needed: &ScopeSet) -> Result<(), Denied> {
        if self.rules.suffice(caller.scopes(), needed) {
            Ok(())
        } else {
            Err(Denied::for_lack_of(needed))
        }
    }

    fn hand_over<B>(&self, request: &mut Request<B>, standing: &Standing) -> Result<(), Refusal> {
        let resource = self.authenticator.resource();
        session::unmark(request.headers_mut(), &self.session_key, standing.caller(), resource)
            .map_err(|_| Refusal::UnknownSession)?;
        request.headers_mut().remove(header::AUTHORIZATION);
        match standing {
            Standing::Caller(caller) => {
                request.extensions_mut().insert(caller.clone());
            }
            Standing::Nobody => {
                request.extensions_mut().remove::<Caller>();
            }
        }
        Ok(())
    }

    /// Binds the session that the server has opened to whoever called.
    pub(crate) fn bind_session(&self, headers: &mut HeaderMap, standing: &Standing) {
        session::mark(
            headers,
            &self.session_key,
            standing.caller(),
            self.authenticator.resource(),
        );
    }
}

/// What the headers say is called, where they count.
fn claimed(headers: &HeaderMap) -> Option<Operation> {
    let version = only(headers, &MCP_PROTOCOL_VERSION).ok()??;
    let method = only(headers, &MCP_METHOD).ok()??;
    Operation::of_headers(version, method, only(headers, &MCP_NAME).ok()?)
}

/// The only value of a header, as text; an error if there are several or it is none.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}
