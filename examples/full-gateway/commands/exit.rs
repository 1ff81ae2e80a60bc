//! How a command ends, for scripts.
//!
//! | code | means |
//! |---|---|
//! | 0 | it is done |
//! | 1 | it failed: the message says why |
//! | 2 | it was not asked rightly: a wrong argument, or a question that nobody is there to answer |
//! | 3 | what was named is not there |
//! | 4 | something does not answer: the store, or the gateway; or `health` has found something that is not in order |
//! | 5 | whoever was asked said no, and nothing was changed |

use std::process::ExitCode;

use mcp_oauth_core::server::keys::KeyRingError;
use mcp_oauth_core::server::operator::OperatorError;
use mcp_oauth_core::store::StoreError;

use super::doctor::Diagnosis;

/// An end that scripts tell from a plain failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// It was not asked rightly.
    #[error("{0}")]
    Usage(String),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// Something does not answer, or is not in order.
    #[error("{0}")]
    NotReady(String),
    /// Whoever was asked said no.
    #[error("nothing was changed")]
    Declined,
    /// Whoever reads what is printed has read enough, and closed the pipe.
    #[error("nobody reads on")]
    Unread,
}

/// Whether there is nothing to say about it.
pub(crate) fn is_silent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(End::Unread))
}

/// The code for an error.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    error.chain().find_map(known).unwrap_or(1).into()
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(end) = error.downcast_ref::<End>() {
        return Some(match end {
            End::Usage(_) => 2,
            End::NotFound(_) => 3,
            End::NotReady(_) => 4,
            End::Declined => 5,
            End::Unread => 0,
        });
    }
    if let Some(diagnosis) = error.downcast_ref::<Diagnosis>() {
        return Some(diagnosis.code());
    }
    let away = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
    let does_not_answer = match error.downcast_ref::<OperatorError>() {
        Some(OperatorError::Store(error) | OperatorError::Keys(KeyRingError::Store(error))) => away(error),
        Some(OperatorError::Keys(KeyRingError::UnknownKey(_))) => return Some(3),
        _ => match error.downcast_ref::<KeyRingError>() {
            Some(KeyRingError::Store(error)) => away(error),
            Some(KeyRingError::UnknownKey(_)) => return Some(3),
            _ => match error.downcast_ref::<reqwest::Error>() {
                Some(error) => error.is_connect() || error.is_timeout(),
                None => error.downcast_ref::<StoreError>().is_some_and(away),
            },
        },
    };
    does_not_answer.then_some(4)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn number(error: impl Into<anyhow::Error>) -> String {
        format!("{:?}", code(&error.into()))
    }

    #[test]
    fn a_store_that_is_away_is_told_from_other_failures_however_deep_it_is_said() {
        let away = || StoreError::Unavailable("no connection".into());
        let four = format!("{:?}", ExitCode::from(4));
        assert_eq!(number(away()), four);
        assert_eq!(number(OperatorError::Store(away())), four);
        assert_eq!(number(OperatorError::Keys(KeyRingError::Store(away()))), four);
        assert_eq!(number(KeyRingError::Store(away())), four);
        let wrapped = Err::<(), _>(OperatorError::Store(away())).context("the clients cannot be listed");
        assert_eq!(number(wrapped.unwrap_err()), four);
        assert_eq!(number(OperatorError::NotEmpty), format!("{:?}", ExitCode::from(1)));
        let unknown = KeyRingError::UnknownKey("a".to_owned());
        assert_eq!(number(unknown), format!("{:?}", ExitCode::from(3)));
    }
}
