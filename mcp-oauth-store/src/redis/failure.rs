//! What can go wrong between here and Redis, and what it means.
//!
//! Redis repeats what it was sent in some of its errors, and what it is sent are records. So nothing of an answer but
//! its code gets into a [`Failure`], and no text of a configuration.

use mcp_oauth_core::store::{Key, StoreError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why Redis did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("Redis did not answer in time")]
    TimedOut,
    /// Nothing is known of whether a command took place that was on its way.
    #[error("the connection to Redis failed: {0}")]
    Disconnected(String),
    #[error("Redis does not accept user name and password")]
    Unauthenticated,
    /// The node does not take commands of this kind now: nothing took place.
    #[error("this Redis is read-only: it is a replica")]
    ReadOnly,
    #[error("Redis does not know the script")]
    UnknownScript,
    #[error("Redis has no memory left")]
    OutOfMemory,
    #[error("the key holds another type of value")]
    WrongType,
    #[error("it is not a number")]
    NotANumber,
    #[error("{have} replicas have the write, and {wanted} should")]
    TooFewReplicas { have: i64, wanted: u32 },
    #[error("Redis refused with {0}")]
    Refused(String),
    #[error("Redis gave an answer that does not fit the command")]
    UnexpectedAnswer,
    /// The client library could not do its part.
    #[error("{0}")]
    Client(String),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Self::TimedOut,
            // Of an I/O error the text is the operating system's, or the library's own.
            ErrorKind::Io => Self::Disconnected(error.to_string()),
            ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => Self::Disconnected(error.category().to_owned()),
            ErrorKind::AuthenticationFailed => Self::Unauthenticated,
            ErrorKind::UnexpectedReturnType => Self::UnexpectedAnswer,
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::UnknownScript,
            ErrorKind::Server(_) | ErrorKind::Extension => Self::answered(&error),
            _ => Self::Client(error.category().to_owned()),
        }
    }
}

impl Failure {
    /// Reads an error of the server. Up to version 6.2 the error of a command in a script is told as an error of the
    /// script, with the code in its text.
    fn answered(error: &RedisError) -> Self {
        let code = error.code().unwrap_or("ERR");
        let text = error.detail().unwrap_or_default();
        let says = |word: &str| code == word || (code == "ERR" && text.contains(word));
        if says("OOM") {
            Self::OutOfMemory
        } else if says("READONLY") {
            Self::ReadOnly
        } else if says("WRONGTYPE") {
            Self::WrongType
        } else if text.contains("not an integer") || text.contains("would overflow") {
            Self::NotANumber
        } else if says("NOAUTH") || says("WRONGPASS") {
            Self::Unauthenticated
        } else {
            // Codes are words of Redis and its modules, such as LOADING, CLUSTERDOWN, TRYAGAIN, MISCONF, NOREPLICAS.
            let word = code.chars().filter(char::is_ascii_alphanumeric).take(30).collect();
            Self::Refused(word)
        }
    }

    /// Whether the connection is of no more use: it is gone, hangs, or leads to the wrong node.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::TimedOut | Self::Disconnected(_) | Self::ReadOnly | Self::Unauthenticated => true,
            Self::Refused(code) => code == "MASTERDOWN" || code == "UNBLOCKED",
            _ => false,
        }
    }

    /// Whether a second attempt, over another connection, may do better at once. `repeatable` says that doing it twice
    /// is doing it once.
    pub(super) fn is_worth_another_attempt(&self, repeatable: bool) -> bool {
        match self {
            Self::Disconnected(_) => repeatable,
            Self::ReadOnly => true,
            _ => false,
        }
    }

    /// What it means for whoever asked the store about a record.
    pub(super) fn about(self, key: &Key) -> StoreError {
        match self {
            Self::WrongType | Self::NotANumber => StoreError::Unreadable {
                key: key.clone(),
                reason: self.to_string(),
            },
            _ => self.into(),
        }
    }

    /// What it means for whoever wanted to store a new record.
    pub(super) fn about_new(self, key: &Key) -> StoreError {
        match self {
            Self::OutOfMemory => StoreError::Full(key.kind()),
            _ => self.about(key),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(Box::new(failure))
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn told(answer: &str) -> Failure {
        let value = parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err().into()
    }

    #[test]
    fn errors_of_redis_mean_the_same_inside_a_script_and_outside_in_any_version() {
        for (word, failure) in [
            ("OOM", Failure::OutOfMemory),
            ("READONLY", Failure::ReadOnly),
            ("WRONGTYPE", Failure::WrongType),
        ] {
            for answer in [
                format!("{word} something"),
                format!("{word} something script: 0123, on @user_script:2."),
                format!(
                    "ERR Error running script (call to f_0123): @user_script:2: @user_script: 2: -{word} something"
                ),
            ] {
                assert_eq!(told(&answer), failure, "{answer}");
            }
        }
    }

    #[test]
    fn nothing_of_an_answer_but_its_code_is_repeated() {
        let failure = told("ERR unknown command 'SET', with args beginning with: 'key' 'the record'");
        assert_eq!(failure.to_string(), "Redis refused with ERR");
        assert_eq!(
            told("CLUSTERDOWN the cluster is down"),
            Failure::Refused("CLUSTERDOWN".to_owned())
        );
    }
}
