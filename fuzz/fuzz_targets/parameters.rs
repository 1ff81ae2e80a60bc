//! Queries and forms: what is read is what was written, once or not at all.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_oauth_core::parameters::{MAXIMUM_PARAMETERS, Parameters};

fuzz_target!(|encoded: &[u8]| {
    let Ok(parameters) = Parameters::parse(encoded) else {
        return;
    };
    let pairs: Vec<(String, String)> = form_urlencoded::parse(encoded).into_owned().collect();
    assert!(pairs.len() <= MAXIMUM_PARAMETERS);
    for (name, _) in &pairs {
        let values: Vec<&str> = pairs
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| &**value)
            .collect();
        let filled: Vec<&str> = values.iter().copied().filter(|value| !value.is_empty()).collect();
        assert_eq!(parameters.all(name).collect::<Vec<_>>(), filled);
        match parameters.get(name) {
            Ok(value) => assert_eq!((values.len(), value), (1, filled.first().copied())),
            Err(_) => assert!(values.len() > 1),
        }
    }
    // A name can be a secret's, a value can be a secret: only names are shown.
    let _ = format!("{parameters:?}");
});
