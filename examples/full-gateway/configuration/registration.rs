//! Who may register, how often, and where codes may be sent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use mcp_oauth_core::client::redirect_uri_policy::{Localhost, RedirectUriPolicy, Unfit};
use mcp_oauth_core::client::registration::statement::{SoftwareStatements, TrustedIssuers};
use mcp_oauth_core::client::registration_policy::{Admission, InitialAccessTokens, RegistrationPolicy, Repeats};
use mcp_oauth_core::jwt::keys::JwkSet;
use mcp_oauth_core::limits::{Limits, Quota};
use mcp_oauth_core::server::builder::Lifetimes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hidden::Hidden;
use super::lists::{Texts, texts};

/// `[registration]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistrationSettings {
    /// Who may register; everybody, or whoever has a token if there are tokens.
    open_to: Option<OpenTo>,
    /// The tokens.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    initial_access_tokens: Vec<Hidden>,
    /// Whether the same public client again is the same record.
    idempotent: bool,
    /// One redirect URI among several that is not taken.
    unfit_redirect_uris: UnfitRedirectUris,
    /// Redirect URIs with the name `localhost`.
    localhost: LocalhostRedirectUris,
    /// Whether the apps of well-known clients may come back by their own schemes.
    well_known_apps: bool,
    /// Whether codes may be shown to people, to be copied.
    out_of_band: bool,
    /// The only hosts to which codes may be sent by https; empty means any.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    redirect_hosts: Vec<String>,
    /// What becomes of software statements.
    software_statements: Statements,
    /// Whose software statements are believed.
    trusted_publishers: Vec<Publisher>,
    /// For how long a client is kept that nobody has signed in with yet: in seconds.
    unused_lifetime: u64,
    /// The same, when very many come.
    unused_lifetime_in_a_flood: u64,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        let lifetimes = Lifetimes::default();
        Self {
            open_to: None,
            initial_access_tokens: Vec::new(),
            idempotent: false,
            unfit_redirect_uris: UnfitRedirectUris::default(),
            localhost: LocalhostRedirectUris::default(),
            // Every client has to be able to sign in, and these are the very addresses that their vendors publish. What
            // another program could catch there is a code without its verifier, and the consent page names the scheme.
            well_known_apps: true,
            out_of_band: true,
            redirect_hosts: Vec::new(),
            software_statements: Statements::default(),
            trusted_publishers: Vec::new(),
            unused_lifetime: lifetimes.unused_client.as_secs(),
            unused_lifetime_in_a_flood: lifetimes.unused_client_in_a_flood.as_secs(),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OpenTo {
    Everybody,
    InitialAccessToken,
    Nobody,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum UnfitRedirectUris {
    #[default]
    LeaveOut,
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum LocalhostRedirectUris {
    #[default]
    AnyPort,
    SamePort,
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Statements {
    #[default]
    Ignore,
    Refuse,
    Trust,
    Require,
}

/// Somebody whose word for software is believed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Publisher {
    /// As it stands in `iss`.
    issuer: String,
    /// A file with its public keys: a JWK set.
    jwks_file: PathBuf,
}

impl RegistrationSettings {
    /// What the core is told; `allowed` are redirect URIs that are taken word for word.
    pub(crate) fn policy(&self, allowed: &[String]) -> anyhow::Result<RegistrationPolicy> {
        let mut policy = RegistrationPolicy::default();
        policy.admission = self.admission()?;
        if self.idempotent {
            policy.repeats = Repeats::OneRecord;
        }
        policy.software_statements = self.software_statements()?;
        policy.redirect_uris = self.redirect_uris(allowed);
        policy
            .redirect_uris
            .check()
            .context("allowed_redirect_uris cannot be used")?;
        Ok(policy)
    }

    fn admission(&self) -> anyhow::Result<Admission> {
        match (self.open_to, self.initial_access_tokens.as_slice()) {
            (None | Some(OpenTo::Everybody), []) => Ok(Admission::Everybody),
            (Some(OpenTo::Nobody), []) => Ok(Admission::Nobody),
            (Some(OpenTo::Everybody | OpenTo::Nobody), _) => anyhow::bail!(
                "registration.initial_access_tokens are of no use while registration.open_to is everybody or nobody: \
                 remove one of the two"
            ),
            (None | Some(OpenTo::InitialAccessToken), tokens) => {
                let tokens = InitialAccessTokens::new(tokens.iter().map(|token| token.secret().clone()))
                    .context("registration.initial_access_tokens cannot be used")?;
                Ok(Admission::InitialAccessToken(tokens))
            }
        }
    }

    fn software_statements(&self) -> anyhow::Result<SoftwareStatements> {
        let believes = matches!(self.software_statements, Statements::Trust | Statements::Require);
        if believes == self.trusted_publishers.is_empty() {
            anyhow::bail!(
                "registration.trusted_publishers and registration.software_statements = \"trust\" or \"require\" need each \
                 other"
            );
        }
        let mut trusted = TrustedIssuers::default();
        for Publisher { issuer, jwks_file } in &self.trusted_publishers {
            let document = std::fs::read(jwks_file).with_context(|| {
                format!(
                    "the keys of the publisher {issuer} cannot be read from {}",
                    jwks_file.display()
                )
            })?;
            let keys = JwkSet::parse(&document).with_context(|| format!("the keys of the publisher {issuer}"))?;
            trusted = trusted.trust(issuer, keys);
        }
        Ok(match self.software_statements {
            Statements::Ignore => SoftwareStatements::Ignored,
            Statements::Refuse => SoftwareStatements::Refused,
            Statements::Trust => SoftwareStatements::Trusted(trusted),
            Statements::Require => SoftwareStatements::Required(trusted),
        })
    }

    fn redirect_uris(&self, allowed: &[String]) -> RedirectUriPolicy {
        let mut policy = RedirectUriPolicy::default()
            .out_of_band(self.out_of_band)
            .localhost(match self.localhost {
                LocalhostRedirectUris::AnyPort => Localhost::AnyPort,
                LocalhostRedirectUris::SamePort => Localhost::SamePort,
                LocalhostRedirectUris::Refuse => Localhost::Refused,
            })
            .unfit(match self.unfit_redirect_uris {
                UnfitRedirectUris::LeaveOut => Unfit::LeftOut,
                UnfitRedirectUris::Refuse => Unfit::Refused,
            });
        if self.well_known_apps {
            policy = policy.allow_well_known_apps();
        }
        if !self.redirect_hosts.is_empty() {
            policy = policy.only_hosts(&self.redirect_hosts);
        }
        allowed.iter().fold(policy, RedirectUriPolicy::allow)
    }

    /// Sets how long clients are kept that nobody has signed in with yet.
    pub(super) fn set_lifetimes(&self, lifetimes: &mut Lifetimes) {
        lifetimes.unused_client = Duration::from_secs(self.unused_lifetime);
        lifetimes.unused_client_in_a_flood = Duration::from_secs(self.unused_lifetime_in_a_flood);
    }
}

/// `[limits]`; 0 means that there is no limit.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitSettings {
    registrations_of_a_network_per_minute: u64,
    registrations_per_minute: u64,
    lasting_registrations_per_hour: u64,
    authorizations_of_a_network_per_minute: u64,
    authorizations_per_minute: u64,
    failed_authentications_of_a_network_per_minute: u64,
    failed_authentications_of_a_client_per_minute: u64,
    assertions_of_a_client_per_minute: u64,
    assertions_of_a_network_per_minute: u64,
    assertions_per_minute: u64,
    device_authorizations_of_a_network_per_minute: u64,
    device_authorizations_per_minute: u64,
    wrong_user_codes_of_a_network_per_10_minutes: u64,
    wrong_user_codes_per_10_minutes: u64,
    wrong_user_codes_in_a_flood: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            registrations_of_a_network_per_minute: limits.registrations_of_a_network.count,
            registrations_per_minute: limits.registrations.count,
            lasting_registrations_per_hour: limits.lasting_registrations.count,
            authorizations_of_a_network_per_minute: limits.authorizations_of_a_network.count,
            authorizations_per_minute: limits.authorizations.count,
            failed_authentications_of_a_network_per_minute: limits.failed_authentications_of_a_network.count,
            failed_authentications_of_a_client_per_minute: limits.failed_authentications_of_a_client.count,
            assertions_of_a_client_per_minute: limits.assertions_of_a_client.count,
            assertions_of_a_network_per_minute: limits.assertions_of_a_network.count,
            assertions_per_minute: limits.assertions.count,
            device_authorizations_of_a_network_per_minute: limits.device_authorizations_of_a_network.count,
            device_authorizations_per_minute: limits.device_authorizations.count,
            wrong_user_codes_of_a_network_per_10_minutes: limits.wrong_user_codes_of_a_network.count,
            wrong_user_codes_per_10_minutes: limits.wrong_user_codes.count,
            wrong_user_codes_in_a_flood: limits.wrong_user_codes_in_a_flood,
        }
    }
}

impl LimitSettings {
    /// What the core is told.
    pub(crate) fn limits(&self) -> Limits {
        let within = |count: u64, quota: fn(u64) -> Quota| if count == 0 { Quota::unlimited() } else { quota(count) };
        let per_minute = |count| within(count, Quota::per_minute);
        let per_10_minutes = |count| within(count, |count| Quota::within(count, Duration::from_secs(10 * 60)));
        let mut limits = Limits::default();
        limits.registrations_of_a_network = per_minute(self.registrations_of_a_network_per_minute);
        limits.registrations = per_minute(self.registrations_per_minute);
        limits.lasting_registrations = within(self.lasting_registrations_per_hour, Quota::per_hour);
        limits.authorizations_of_a_network = per_minute(self.authorizations_of_a_network_per_minute);
        limits.authorizations = per_minute(self.authorizations_per_minute);
        limits.failed_authentications_of_a_network = per_minute(self.failed_authentications_of_a_network_per_minute);
        limits.failed_authentications_of_a_client = per_minute(self.failed_authentications_of_a_client_per_minute);
        limits.assertions_of_a_client = per_minute(self.assertions_of_a_client_per_minute);
        limits.assertions_of_a_network = per_minute(self.assertions_of_a_network_per_minute);
        limits.assertions = per_minute(self.assertions_per_minute);
        limits.device_authorizations_of_a_network = per_minute(self.device_authorizations_of_a_network_per_minute);
        limits.device_authorizations = per_minute(self.device_authorizations_per_minute);
        limits.wrong_user_codes_of_a_network = per_10_minutes(self.wrong_user_codes_of_a_network_per_10_minutes);
        limits.wrong_user_codes = per_10_minutes(self.wrong_user_codes_per_10_minutes);
        limits.wrong_user_codes_in_a_flood = match self.wrong_user_codes_in_a_flood {
            0 => u64::MAX,
            tries => tries,
        };
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refusal};
    use super::*;

    /// The variable in which tokens stand.
    const TOKENS: &str = "GATEWAY_REGISTRATION__INITIAL_ACCESS_TOKENS";

    const TOKEN: &str = "1234567890123456789012345678901234567890";

    fn policy(toml: &str, environment: &[(&str, &str)]) -> RegistrationPolicy {
        let configuration = read(toml, &[], environment).unwrap();
        let allowed = &configuration.allowed_redirect_uris;
        configuration.registration.policy(allowed).unwrap()
    }

    #[test]
    fn everybody_may_register_and_cursor_gets_all_that_it_asks_for() {
        let policy = policy("", &[]);
        assert!(matches!(policy.admission, Admission::Everybody));
        assert_eq!(policy.repeats, Repeats::Apart);
        for uri in [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "urn:ietf:wg:oauth:2.0:oob",
            "https://a.example/",
        ] {
            assert!(policy.redirect_uris.take(uri).is_ok(), "{uri}");
        }
        assert!(policy.redirect_uris.take("cursor://elsewhere").is_err());
    }

    #[test]
    fn tokens_close_registration_to_everybody_else() {
        let admission = |toml: &str, environment: &[(&str, &str)]| match policy(toml, environment).admission {
            Admission::InitialAccessToken(tokens) => tokens,
            other => panic!("{other:?}"),
        };
        let both = format!("{TOKEN}, a-token-that-is-long-enough");
        let tokens = admission("", &[(TOKENS, &both)]);
        assert!(tokens.include(&TOKEN.into()) && tokens.include(&"a-token-that-is-long-enough".into()));
        let digits = admission("", &[(TOKENS, TOKEN)]);
        assert!(digits.include(&TOKEN.into()), "digits are no number");
        let list = admission(&format!("[registration]\ninitial_access_tokens = [\"{TOKEN}\"]"), &[]);
        assert!(list.include(&TOKEN.into()));
        let configuration = read("", &[], &[(TOKENS, TOKEN)]).unwrap();
        assert!(!format!("{configuration:?}").contains(TOKEN));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (toml, says) in [
            (
                "[registration]\nopen_to = \"initial-access-token\"",
                "initial access token",
            ),
            ("[registration]\nopen_to = \"somebody\"", "somebody"),
            ("[registration]\ninitial_access_tokens = \"short\"", "22"),
            ("[registration]\nsoftware_statements = \"trust\"", "trusted_publishers"),
            ("[registration]\nlocalhost = \"yes\"", "yes"),
            ("[registration]\nopen = true", "open"),
            ("[limits]\nregistrations = 5", "registrations"),
            ("[limits]\nregistrations_per_minute = \"many\"", "many"),
            ("allowed_redirect_uris = [\"javascript:alert(1)\"]", "javascript"),
        ] {
            assert!(refusal(toml, &[]).contains(says), "{toml}: {}", refusal(toml, &[]));
        }
        let closed = "[registration]\nopen_to = \"nobody\"";
        assert!(refusal(closed, &[(TOKENS, TOKEN)]).contains("open_to"));
        assert!(!refusal(closed, &[(TOKENS, TOKEN)]).contains(TOKEN));
    }

    #[test]
    fn everything_can_be_set_in_the_file_and_in_the_environment() {
        let toml = "[registration]\nopen_to = \"nobody\"\nidempotent = true\nunfit_redirect_uris = \"refuse\"\n\
                    localhost = \"same-port\"\nwell_known_apps = false\nout_of_band = false\nsoftware_statements = \"refuse\"\n\
                    redirect_hosts = [\"claude.ai\", \"*.example.com\"]\nunused_lifetime = 60\n";
        let policy = policy(toml, &[]);
        assert!(matches!(policy.admission, Admission::Nobody));
        assert!(matches!(policy.software_statements, SoftwareStatements::Refused));
        assert_eq!(policy.repeats, Repeats::OneRecord);
        let expected = RedirectUriPolicy::default()
            .out_of_band(false)
            .localhost(Localhost::SamePort)
            .unfit(Unfit::Refused)
            .only_hosts(["claude.ai", "*.example.com"]);
        assert_eq!(policy.redirect_uris, expected);

        let environment = [
            ("GATEWAY_REGISTRATION__IDEMPOTENT", "true"),
            ("GATEWAY_REGISTRATION__REDIRECT_HOSTS", "claude.ai, vscode.dev"),
            ("GATEWAY_REGISTRATION__UNUSED_LIFETIME", "60"),
            ("GATEWAY_LIMITS__REGISTRATIONS_PER_MINUTE", "0"),
            ("GATEWAY_LIMITS__LASTING_REGISTRATIONS_PER_HOUR", "7"),
        ];
        let configuration = read("", &[], &environment).unwrap();
        assert_eq!(configuration.lifetimes().unused_client, Duration::from_secs(60));
        let limits = configuration.limits.limits();
        assert_eq!(limits.registrations, Quota::unlimited());
        assert_eq!(limits.lasting_registrations, Quota::per_hour(7));
        let policy = configuration.registration.policy(&[]).unwrap();
        assert!(policy.redirect_uris.take("https://vscode.dev/redirect").is_ok());
        assert!(policy.redirect_uris.take("https://evil.example/").is_err());
    }

    #[test]
    fn every_limit_is_the_cores_unless_it_is_set() {
        assert_eq!(LimitSettings::default().limits(), Limits::default());
        let nothing = "[limits]
registrations_of_a_network_per_minute = 0
registrations_per_minute = 0
lasting_registrations_per_hour = 0
authorizations_of_a_network_per_minute = 0
authorizations_per_minute = 0
failed_authentications_of_a_network_per_minute = 0
failed_authentications_of_a_client_per_minute = 0
assertions_of_a_client_per_minute = 0
assertions_of_a_network_per_minute = 0
assertions_per_minute = 0
device_authorizations_of_a_network_per_minute = 0
device_authorizations_per_minute = 0
wrong_user_codes_of_a_network_per_10_minutes = 0
wrong_user_codes_per_10_minutes = 0
wrong_user_codes_in_a_flood = 0
";
        let limits = |toml: &str| read(toml, &[], &[]).unwrap().limits.limits();
        assert_eq!(limits(nothing), Limits::unlimited());
        let some = "[limits]\nauthorizations_per_minute = 5\nwrong_user_codes_per_10_minutes = 6\n\
                    wrong_user_codes_in_a_flood = 7\nassertions_of_a_client_per_minute = 8\ndevice_authorizations_per_minute = 9\n";
        let mut expected = Limits::default();
        expected.authorizations = Quota::per_minute(5);
        expected.wrong_user_codes = Quota::within(6, Duration::from_secs(600));
        expected.wrong_user_codes_in_a_flood = 7;
        expected.assertions_of_a_client = Quota::per_minute(8);
        expected.device_authorizations = Quota::per_minute(9);
        assert_eq!(limits(some), expected);
    }

    #[test]
    fn publishers_are_trusted_by_their_keys() {
        let mut keys = tempfile::NamedTempFile::new().unwrap();
        let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        std::io::Write::write_all(&mut keys, set.as_bytes()).unwrap();
        let toml = |path: &str| {
            format!(
                "[registration]\nsoftware_statements = \"require\"\n\
                 [[registration.trusted_publishers]]\nissuer = \"https://publisher.example\"\njwks_file = \"{path}\"\n"
            )
        };
        let trusting = policy(&toml(keys.path().to_str().unwrap()), &[]);
        assert!(matches!(trusting.software_statements, SoftwareStatements::Required(_)));
        assert!(refusal(&toml("nowhere.json"), &[]).contains("nowhere.json"));
    }
}
