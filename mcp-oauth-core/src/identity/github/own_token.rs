//! How somebody stands as their own token tells, where a [vault](crate::server::vault) keeps it.
//!
//! As with the [operator's token](super::standing), only what GitHub documents as a no is one: a token that it takes no
//! longer (401), an account that is suspended, an organisation that knows no such member. Everything else is an error.

use futures_util::future::try_join;
use http::StatusCode;
use serde_json::Value;

use super::account::{Account, is_suspension};
use super::api::{Api, object};
use super::memberships;
use crate::identity::membership::Membership;
use crate::identity::{Identity, IdentityError, Standing};

/// Asks `/user`, and then what it belongs to.
pub(super) async fn standing(
    api: &Api<'_>,
    identity: &Identity,
    wanted: &[Membership],
    email: impl Future<Output = Option<String>>,
) -> Result<Standing, IdentityError> {
    let answer = api.get("/user").await?;
    match answer.status() {
        StatusCode::OK => {}
        // The person, or their organisation, has revoked the app.
        StatusCode::UNAUTHORIZED => return Ok(Standing::Revoked),
        StatusCode::FORBIDDEN if is_suspension(answer.body()) => return Ok(Standing::Gone),
        status => {
            return Err(IdentityError::Unusable(format!(
                "the API answered with status {} to the token of a person who was away",
                status.as_u16()
            )));
        }
    }
    // The account is told with its own state to itself.
    if object::<Value>(answer.body()).is_some_and(|account| !account["suspended_at"].is_null()) {
        return Ok(Standing::Gone);
    }
    let account: Account = object(answer.body())
        .filter(|account: &Account| !account.login.is_empty() && account.id.to_string() == identity.id)
        .ok_or_else(|| IdentityError::Unusable("the account cannot be read, or is another one".to_owned()))?;
    let email = async { Ok(email.await) };
    let (memberships, email) = try_join(memberships::of_signed_in(api, wanted), email).await?;
    let mut now = identity.clone();
    now.login = Some(account.login);
    now.name = account.name.filter(|name| !name.is_empty());
    now.memberships = memberships;
    now.email = email;
    Ok(if now == *identity {
        Standing::Confirmed
    } else {
        Standing::Changed(now)
    })
}
