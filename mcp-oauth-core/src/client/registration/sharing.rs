//! One identifier for the same metadata: how repeats of a registration come to be one record.
//!
//! The identifier of a shared client follows from everything that was registered, with the defaults filled in and with the
//! order of lists that have none taken out. So the same client is found again by whoever says the same, on any node, without
//! an index; and whoever says anything else, be it another name or one redirect URI more, is another client.

use super::{ClientMetadata, InvalidRegistration, TokenEndpointAuthMethod, refuse};
use crate::client::ClientId;
use crate::secret::digest_name;

impl ClientMetadata {
    /// Whether several may share one record: public clients, which have nothing to keep from each other.
    pub(crate) fn can_be_shared(&self) -> bool {
        self.token_endpoint_auth_method == TokenEndpointAuthMethod::None
    }

    /// The identifier of all clients that register this.
    pub(crate) fn shared_id(&self) -> Result<ClientId, InvalidRegistration> {
        let mut canonical = self.clone();
        canonical
            .redirect_uris
            .sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        canonical
            .grant_types
            .sort_unstable_by_key(|grant_type| grant_type.as_str());
        canonical.contacts.sort_unstable();
        canonical.contacts.dedup();
        match serde_json::to_string(&canonical) {
            // The words in front keep these digests apart from all others.
            Ok(written) => Ok(ClientId(format!(
                "client_{}",
                digest_name(&format!("shared registration\n{written}"))
            ))),
            Err(_) => refuse("the metadata cannot be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::RegistrationRequest;
    use super::*;
    use crate::client::redirect_uri_policy::RedirectUriPolicy;

    fn id(members: &Value) -> ClientId {
        let mut request = json!({
            "redirect_uris": ["http://127.0.0.1/a", "http://127.0.0.1/b"],
            "token_endpoint_auth_method": "none",
            "client_name": "Notes",
            "grant_types": ["authorization_code", "refresh_token"],
            "contacts": ["ada@a.example", "grace@a.example"],
        });
        for (name, value) in members.as_object().unwrap() {
            request[name] = value.clone();
        }
        let request = RegistrationRequest::parse(request.to_string().as_bytes()).unwrap();
        request
            .accept(&RedirectUriPolicy::default())
            .unwrap()
            .shared_id()
            .unwrap()
    }

    #[test]
    fn what_means_the_same_has_one_identifier() {
        let plain = id(&json!({}));
        assert!(plain.as_str().parse::<ClientId>().is_ok());
        for same in [
            json!({"redirect_uris": ["http://127.0.0.1/b", "http://127.0.0.1/a", "http://127.0.0.1/a"]}),
            json!({"contacts": ["grace@a.example", "ada@a.example"]}),
            json!({"grant_types": ["refresh_token", "authorization_code"], "response_types": ["code"]}),
            json!({"scope": "", "logo_uri": null, "x": 5, "application_type": "something new"}),
        ] {
            assert_eq!(id(&same), plain, "{same}");
        }
    }

    #[test]
    fn whatever_else_is_said_makes_another_client() {
        let mut seen = vec![id(&json!({}))];
        for other in [
            json!({"redirect_uris": ["http://127.0.0.1/a"]}),
            json!({"client_name": "notes"}),
            json!({"client_name#de": "Notizen"}),
            json!({"contacts": []}),
            json!({"grant_types": ["authorization_code"]}),
            json!({"application_type": "native"}),
            json!({"scope": "a"}),
            json!({"client_uri": "https://a.example"}),
            json!({"tos_uri": "https://a.example"}),
            json!({"software_id": "x"}),
            json!({"software_version": "x"}),
        ] {
            let id = id(&other);
            assert!(!seen.contains(&id), "{other}");
            seen.push(id);
        }
    }
}
