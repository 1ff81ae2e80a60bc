//! What the person who has just signed in belongs to, as their own token tells.
//!
//! GitHub answers for one organisation at a time
//! (<https://docs.github.com/en/rest/orgs/members#get-an-organization-membership-for-the-authenticated-user>), and with a
//! list of all teams (<https://docs.github.com/en/rest/teams/teams#list-teams-for-the-authenticated-user>). Only what
//! somebody wants to know is kept. Whatever GitHub does not say in so many words is taken for a no; that it cannot say
//! anything now is passed on, so that nobody is turned away for it.

use futures_util::future::{try_join, try_join_all};
use http::header::LINK;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, object};
use crate::identity::IdentityError;
use crate::identity::membership::{Kind, Membership};

/// How many calls take place at the same time.
pub(super) const AT_ONCE: usize = 8;

/// As many as GitHub puts on a page.
const TEAMS_PER_PAGE: usize = 100;

/// Who is in more teams than these pages hold is taken to be in no others.
const MAXIMUM_PAGES: usize = 10;

/// What this crate reads of a membership, of an organisation or of a team.
#[derive(Deserialize)]
struct MembershipState {
    /// `active`, or `pending` while an invitation was not accepted.
    state: String,
}

/// Which of these the person belongs to.
pub(super) async fn of_signed_in(api: &Api<'_>, wanted: &[Membership]) -> Result<Vec<Membership>, IdentityError> {
    let (organizations, teams) = try_join(organizations(api, wanted), teams(api, wanted)).await?;
    let belongs_to = |membership: &&Membership| organizations.contains(membership) || teams.contains(membership);
    Ok(wanted.iter().filter(belongs_to).cloned().collect())
}

/// Whether an answer about a membership says that there is one.
pub(super) fn is_active(body: &[u8]) -> bool {
    object(body).is_some_and(|membership: MembershipState| membership.state == "active")
}

async fn organizations(api: &Api<'_>, wanted: &[Membership]) -> Result<Vec<Membership>, IdentityError> {
    let mut found = Vec::new();
    for some in wanted.chunks(AT_ONCE) {
        let answers = try_join_all(some.iter().map(|membership| organization(api, membership))).await?;
        found.extend(answers.into_iter().flatten());
    }
    Ok(found)
}

async fn organization(api: &Api<'_>, wanted: &Membership) -> Result<Option<Membership>, IdentityError> {
    let Kind::Organization(name) = wanted.kind() else {
        return Ok(None);
    };
    let answer = api.get_by_name(&format!("/user/memberships/orgs/{name}")).await?;
    match answer.status() {
        StatusCode::OK => Ok(is_active(answer.body()).then(|| wanted.clone())),
        StatusCode::NOT_FOUND => Ok(None),
        status => {
            tracing::warn!(
                organization = name,
                status = status.as_u16(),
                "GitHub does not say whether somebody is in an organisation, so they are taken not to be: does it let the \
                 app in, and is this still its name?"
            );
            Ok(None)
        }
    }
}

async fn teams(api: &Api<'_>, wanted: &[Membership]) -> Result<Vec<Membership>, IdentityError> {
    let mut found = Vec::new();
    if !wanted
        .iter()
        .any(|membership| matches!(membership.kind(), Kind::Team { .. }))
    {
        return Ok(found);
    }
    for page in 1..=MAXIMUM_PAGES {
        let answer = api.get_page("/user/teams", page, TEAMS_PER_PAGE).await?;
        let entries: Option<Vec<Value>> = serde_json::from_slice(answer.body()).ok();
        let (StatusCode::OK, Some(entries)) = (answer.status(), entries) else {
            tracing::warn!(
                status = answer.status().as_u16(),
                "GitHub does not list the teams of somebody, so they are taken to be in none"
            );
            return Ok(Vec::new());
        };
        // The entries are looked at one by one, so that what is wrong with one of them spoils no other.
        found.extend(entries.iter().flat_map(team));
        if !has_next(answer.headers()) {
            return Ok(found);
        }
    }
    tracing::warn!("somebody is in more teams than are looked at; the others are left out");
    Ok(found)
}

/// The team of an entry, and the one above it, whose members its members are.
fn team(entry: &Value) -> impl Iterator<Item = Membership> {
    let organization = entry["organization"]["login"].as_str().unwrap_or_default();
    let slugs = [&entry["slug"], &entry["parent"]["slug"]];
    slugs
        .into_iter()
        .filter_map(move |slug| Membership::team(organization, slug.as_str()?).ok())
}

/// Whether there is a page after this one
/// (<https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api>). Its address is not looked at.
fn has_next(headers: &HeaderMap) -> bool {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links
        .flat_map(|links| links.split(','))
        .any(|link| link.contains("rel=\"next\""))
}
