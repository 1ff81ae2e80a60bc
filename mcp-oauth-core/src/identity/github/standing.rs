//! How people stand who are away, as a token of the operator's own tells.
//!
//! | asked | where |
//! |---|---|
//! | whether there is the account, and its login | [`/user/{id}`](https://docs.github.com/en/rest/users/users#get-a-user-using-their-id) |
//! | whether it is in an organisation | [`/orgs/{org}/memberships/{login}`](https://docs.github.com/en/rest/orgs/members#get-organization-membership-for-a-user) |
//! | whether it is in a team, or in one below it | [`/orgs/{org}/teams/{team}/memberships/{login}`](https://docs.github.com/en/rest/teams/members#get-team-membership-for-a-user) |
//!
//! Here a wrong answer would end somebody's session. So only what GitHub documents as a no is one, and everything else is
//! an error.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;
use http::StatusCode;
use oauth2::HttpResponse;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, object};
use super::memberships::{AT_ONCE, is_active};
use crate::clock::UnixTime;
use crate::identity::membership::{Kind, Membership};
use crate::identity::{Identity, IdentityError, Standing};
use crate::secret::Secret;

/// The operator's token. Clones wait together.
#[derive(Clone, Debug)]
pub(super) struct MembershipToken {
    secret: Secret,
    /// Until when GitHub does not want to be asked with this token, in seconds since 1970.
    paused_until: Arc<AtomicU64>,
}

/// What this crate reads of a user, whoever it is that asks.
#[derive(Deserialize)]
struct User {
    id: NonZeroU64,
    login: String,
    name: Option<String>,
    /// Told by an Enterprise Server to its administrators; elsewhere an account that is suspended is not found.
    #[serde(default)]
    suspended_at: Option<Value>,
}

/// Whom a membership is of, where GitHub says so.
#[derive(Deserialize)]
struct Member {
    user: Option<MemberId>,
}

#[derive(Deserialize)]
struct MemberId {
    id: NonZeroU64,
}

impl MembershipToken {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            paused_until: Arc::default(),
        }
    }

    pub(super) fn expose(&self) -> &str {
        self.secret.expose()
    }

    /// Asks, unless GitHub has said that it does not want to be asked now.
    pub(super) async fn standing(
        &self,
        api: &Api<'_>,
        identity: &Identity,
        wanted: &[Membership],
    ) -> Result<Standing, IdentityError> {
        let clock = &api.upstream.clock;
        let pause = UnixTime::from_seconds(self.paused_until.load(Ordering::Relaxed)).since(clock.now());
        if !pause.is_zero() {
            return Err(IdentityError::Unavailable {
                retry_after: Some(pause),
                source: Some("it has asked to wait".into()),
            });
        }
        let standing = ask(api, identity, wanted).await;
        if let Err(IdentityError::Unavailable {
            retry_after: Some(wait),
            ..
        }) = &standing
        {
            let until = clock.now() + *wait;
            self.paused_until.fetch_max(until.as_seconds(), Ordering::Relaxed);
        }
        standing
    }
}

async fn ask(api: &Api<'_>, identity: &Identity, wanted: &[Membership]) -> Result<Standing, IdentityError> {
    let id: NonZeroU64 = identity
        .id
        .parse()
        .map_err(|_| unusable("the account's number is none; the person has to sign in again"))?;
    let Some(user) = user(api, id).await? else {
        return Ok(Standing::Gone);
    };
    let mut memberships = Vec::new();
    for some in wanted.chunks(AT_ONCE) {
        let answers = try_join_all(some.iter().map(|membership| membership_of(api, &user, membership))).await?;
        memberships.extend(answers.into_iter().flatten());
    }
    let mut now = identity.clone();
    now.login = Some(user.login);
    now.name = user.name.filter(|name| !name.is_empty());
    now.memberships = memberships;
    Ok(if now == *identity {
        Standing::Confirmed
    } else {
        Standing::Changed(now)
    })
}

async fn user(api: &Api<'_>, id: NonZeroU64) -> Result<Option<User>, IdentityError> {
    let answer = api.get(&format!("/user/{id}")).await?;
    if is_not_found(&answer) {
        return Ok(None);
    }
    if answer.status() != StatusCode::OK {
        return Err(refused(answer.status()));
    }
    // The login becomes part of a path.
    let plain = |login: &str| !login.is_empty() && !login.contains('/') && !login.bytes().all(|byte| byte == b'.');
    let user: User = object(answer.body())
        .filter(|user: &User| user.id == id && plain(&user.login))
        .ok_or_else(|| unusable("the account cannot be read; check that the API's base URL is GitHub's"))?;
    Ok(Some(user).filter(|user| user.suspended_at.is_none()))
}

async fn membership_of(api: &Api<'_>, user: &User, wanted: &Membership) -> Result<Option<Membership>, IdentityError> {
    let login = &user.login;
    let path = match wanted.kind() {
        Kind::Organization(name) => format!("/orgs/{name}/memberships/{login}"),
        Kind::Team { organization, team } => format!("/orgs/{organization}/teams/{team}/memberships/{login}"),
        Kind::Group(_) => return Ok(None),
    };
    let answer = api.get_by_name(&path).await?;
    // An organisation that has another name now is not the one that was meant: its old name is anybody's to take.
    if is_not_found(&answer) || answer.status().is_redirection() {
        return Ok(None);
    }
    if answer.status() != StatusCode::OK {
        return Err(refused(answer.status()));
    }
    // Between two calls a login can have become somebody else's.
    let is_theirs = |member: Member| member.user.is_none_or(|named| named.id == user.id);
    let is_member = is_active(answer.body()) && object(answer.body()).is_some_and(is_theirs);
    Ok(is_member.then(|| wanted.clone()))
}

/// Whether GitHub itself says that there is no such thing, and not somebody in between, or at a wrong address.
fn is_not_found(answer: &HttpResponse) -> bool {
    let is_of_github = |body: Value| body["message"].is_string();
    answer.status() == StatusCode::NOT_FOUND && object(answer.body()).is_some_and(is_of_github)
}

fn refused(status: StatusCode) -> IdentityError {
    match status {
        StatusCode::UNAUTHORIZED => unusable("the membership token is not accepted; make a new one at GitHub"),
        StatusCode::FORBIDDEN => unusable(
            "the membership token may not read members; give it the scope read:org, and let the organisation allow it",
        ),
        status => IdentityError::Unusable(format!(
            "the API answered with status {}; check that the API's base URL is GitHub's",
            status.as_u16()
        )),
    }
}

fn unusable(what: &str) -> IdentityError {
    IdentityError::Unusable(what.to_owned())
}
