//! Settings that nobody is shown.

use std::borrow::Cow;
use std::fmt;

use mcp_oauth_core::secret::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands in place of one, wherever settings are shown.
pub(crate) const MASK: &str = "(hidden)";

/// A secret, or what may hold one, such as a variable for a program. It is shown neither by `Debug` nor when the settings are
/// printed.
#[derive(Clone)]
pub(crate) struct Hidden(Secret);

impl Hidden {
    /// The secret itself.
    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }

    /// The text of it.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Secret::from(text))
    }
}

/// Whether a reload has changed it. Both sides are the operator's, so it does not matter how long that takes.
impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl JsonSchema for Hidden {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Hidden".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "writeOnly": true})
    }
}
