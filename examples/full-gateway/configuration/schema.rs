//! The JSON Schema of the file, for editors: `gateway.schema.json` beside the example.

use schemars::Schema;
use schemars::generate::SchemaSettings;

use super::Configuration;

/// The schema, as it is committed.
pub(crate) fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Configuration>();
    schema.insert(
        "title".to_owned(),
        "The file gateway.toml of the MCP OAuth gateway".into(),
    );
    schema
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;

    fn beside(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("full-gateway").join(name)
    }

    fn problems(toml: &str) -> Vec<String> {
        let schema = serde_json::to_value(schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let file: Value = toml::from_str(toml).unwrap();
        validator.iter_errors(&file).map(|error| error.to_string()).collect()
    }

    /// To write it anew: `cargo run --example full-gateway -- check --schema > examples/full-gateway/gateway.schema.json`.
    #[test]
    fn the_committed_schema_is_that_of_the_settings() {
        let committed = std::fs::read_to_string(beside("gateway.schema.json")).unwrap();
        assert_eq!(committed, format!("{:#}\n", serde_json::to_value(schema()).unwrap()));
    }

    #[test]
    fn the_example_file_is_valid() {
        let example = std::fs::read_to_string(beside("gateway.example.toml")).unwrap();
        assert_eq!(problems(&example), Vec::<String>::new());
    }

    #[test]
    fn what_the_gateway_refuses_the_schema_refuses_too() {
        for toml in [
            "lisen = \"127.0.0.1:1\"",
            "client_lifetime = \"soon\"",
            "[servers.time]\ncommand = \"uvx\"",
            "[servers.time]\nshare = \"per-person\"",
            "[registration]\nopen_to = \"friends\"",
        ] {
            assert!(!problems(toml).is_empty(), "{toml}");
        }
    }
}
