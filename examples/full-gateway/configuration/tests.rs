//! What an operator can set, taken together.

use std::io::Write as _;

use base64::Engine as _;

use std::collections::HashMap;
use std::path::Path;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub(crate) fn read(toml: &str, dotenv: &[(&str, &str)], environment: &[(&str, &str)]) -> anyhow::Result<Configuration> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    file.write_all(toml.as_bytes())?;
    let configuration = Loaded::read(file.path().to_str(), &pairs(dotenv), &pairs(environment))?.configuration;
    configuration.check()?;
    Ok(configuration)
}

pub(crate) fn refusal(toml: &str, environment: &[(&str, &str)]) -> String {
    format!("{:#}", read(toml, &[], environment).unwrap_err())
}

#[test]
fn nothing_needs_to_be_set() {
    let configuration = read("", &[], &[]).unwrap();
    assert_eq!(configuration.issuer(), "http://127.0.0.1:8080");
    assert!(configuration.github_app().unwrap().is_none());
}

#[test]
fn redis_is_used_when_its_url_is_set() {
    assert!(read("", &[], &[]).unwrap().redis().unwrap().is_none());
    let environment = [("REDIS_URL", "redis://cache/1"), ("REDIS_PASSWORD", "0070")];
    let configuration = read("", &[("REDIS_PASSWORD", "weaker")], &environment).unwrap();
    assert_eq!(configuration.redis.password.as_ref().map(Hidden::expose), Some("0070"));
    assert!(configuration.redis().unwrap().is_some());
    assert!(!format!("{configuration:?}").contains("0070"));
    let from_file = read("[redis]\nurl = \"redis://cache\"\nkey_prefix = \"staging:\"", &[], &[]).unwrap();
    assert!(from_file.redis().unwrap().is_some());

    assert!(refusal("", &[("REDIS_PASSWORD", "alone")]).contains("REDIS_URL"));
    assert!(refusal("", &[("REDIS_URL", "http://cache")]).contains("redis://"));
    assert!(refusal("", &[("REDIS_URL", "redis://a"), ("REDIS_KEY_PREFIX", "{a}")]).contains("REDIS_KEY_PREFIX"));
    assert!(refusal("", &[("REDIS_URL", "rediss://a"), ("REDIS_CA_FILE", "/nowhere")]).contains("REDIS_CA_FILE"));
}

#[test]
fn text_that_looks_like_a_number_or_a_word_of_yes_or_no_is_text_letter_by_letter() {
    for text in [
        "0070",
        "1e5",
        "1.50",
        "+7",
        "TRUE",
        "0x10",
        "inf",
        "12345678901234567890",
        "-0",
    ] {
        let environment = [
            ("GITHUB_CLIENT_ID", text),
            ("GITHUB_CLIENT_SECRET", text),
            ("GATEWAY_GITHUB__MEMBERSHIP_TOKEN", text),
            ("REDIS_URL", "redis://cache"),
            ("REDIS_USERNAME", text),
            ("REDIS_PASSWORD", text),
            ("REDIS_KEY_PREFIX", text),
            ("REDIS_CA_FILE", text),
            ("ALLOWED_GITHUB_USERS", text),
            ("GATEWAY_BUILT_IN_ALLOWED_USERS", text),
            ("GATEWAY_PUBLIC_URL", text),
            ("GATEWAY_LOG", text),
            ("JWT_PRIVATE_KEY_B64", text),
            ("GATEWAY_KEY_SEALING_SECRET", text),
            ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", text),
            ("GATEWAY_ALLOWED_REDIRECT_URIS", text),
            ("GATEWAY_TRUSTED_CLIENT_HOSTS", text),
            ("GATEWAY_DISTRUSTED_CLIENT_HOSTS", text),
            ("GATEWAY_TRUSTED_PROXIES", text),
        ];
        for (dotenv, environment) in [(&[][..], &environment[..]), (&environment, &[])] {
            let read = Loaded::read(None, &pairs(dotenv), &pairs(environment))
                .unwrap()
                .configuration;
            let some = Some(text);
            let github = &read.github;
            assert_eq!(github.client_id.as_deref(), some);
            assert_eq!(github.client_secret.as_ref().map(Hidden::expose), some);
            assert_eq!(github.membership_token.as_ref().map(Hidden::expose), some);
            let redis = &read.redis;
            assert_eq!(redis.username.as_deref(), some);
            assert_eq!(redis.password.as_ref().map(Hidden::expose), some);
            assert_eq!(redis.key_prefix.as_deref(), some);
            assert_eq!(redis.ca_file.as_deref(), Some(Path::new(text)));
            assert_eq!(read.allowed_users.as_deref(), some);
            assert_eq!(read.built_in_allowed_users.as_deref(), some);
            assert_eq!(read.issuer(), text);
            assert_eq!(read.log, text);
            assert_eq!(read.signing_key.as_ref().map(Hidden::expose), some);
            assert_eq!(read.key_sealing_secret.as_ref().map(Hidden::expose), some);
            assert_eq!(read.previous_key_sealing_secrets[0].expose(), text);
            assert_eq!(read.allowed_redirect_uris, [text]);
            assert_eq!(read.trusted_client_hosts.as_deref(), Some(&[text.to_owned()][..]));
            assert_eq!(read.distrusted_client_hosts, [text]);
            assert_eq!(read.trusted_proxies, text);
        }
    }
}

#[test]
fn text_is_read_as_what_a_setting_is() {
    let environment = [
        ("CLIENT_LIFETIME", "070"),
        ("GATEWAY_DEVICE_AUTHORIZATION", "FALSE"),
        ("GATEWAY_BUILT_IN_SERVERS", "yes"),
        ("GATEWAY_ALLOWED_REDIRECT_URIS", "a:/x, b:/y"),
    ];
    let configuration = Loaded::read(None, &HashMap::new(), &pairs(&environment))
        .unwrap()
        .configuration;
    assert_eq!(configuration.client_lifetime, 70);
    assert!(!configuration.device_authorization && configuration.built_in_servers);
    assert_eq!(configuration.allowed_redirect_uris, ["a:/x", "b:/y"]);
    for (name, value) in [("CLIENT_LIFETIME", "1.5"), ("GATEWAY_DEVICE_AUTHORIZATION", "perhaps")] {
        assert!(refusal("", &[(name, value)]).contains(value), "{name}");
    }
}

#[test]
fn the_environment_is_stronger_than_dotenv_and_dotenv_than_the_file() {
    let toml = "listen = \"127.0.0.1:1\"\nlog = \"from the file\"\nclient_lifetime = 1";
    let dotenv = [("GATEWAY_LISTEN", "127.0.0.1:2"), ("GATEWAY_LOG", "from dotenv")];
    let configuration = read(toml, &dotenv, &[("GATEWAY_LISTEN", "127.0.0.1:3")]).unwrap();
    assert_eq!(configuration.listen.port(), 3);
    assert_eq!(configuration.log, "from dotenv");
    assert_eq!(configuration.lifetimes().client, Some(Duration::from_secs(1)));
}

#[test]
fn unknown_names_are_refused_by_name() {
    assert!(refusal("lisen = \"127.0.0.1:1\"", &[]).contains("lisen"));
    assert!(refusal("", &[("GATEWAY_LISEN", "127.0.0.1:1")]).contains("lisen"));
    assert!(refusal("[github]\nid = \"x\"", &[]).contains("id"));
    assert!(refusal("[servers.time]\ncommand = [\"x\"]\nargs = []", &[]).contains("args"));
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    assert!(refusal("listen = \"everywhere\"", &[]).contains("invalid socket address"));
    assert!(refusal("", &[("CLIENT_LIFETIME", "soon")]).contains("soon"));
    assert!(refusal("signing_algorithm = \"HS256\"", &[]).contains("HS256"));
}

#[test]
fn half_a_github_app_is_refused() {
    assert!(refusal("", &[("GITHUB_CLIENT_ID", "x")]).contains("GITHUB_CLIENT_SECRET"));
    assert!(refusal("", &[("GITHUB_CLIENT_SECRET", "x")]).contains("GITHUB_CLIENT_ID"));
}

#[test]
fn with_github_somebody_has_to_be_allowed_in_so_many_words() {
    let github = [("GITHUB_CLIENT_ID", "x"), ("GITHUB_CLIENT_SECRET", "y")];
    assert!(refusal("", &github).contains("ALLOWED_GITHUB_USERS"));
    let allowed = read("allowed_users = \"ada\"", &[], &github).unwrap();
    assert_eq!(allowed.allowed_users().unwrap(), Some(AllowList::parse("ada").unwrap()));
}

#[test]
fn each_list_is_read_and_what_is_wrong_with_one_is_told_with_its_name() {
    let toml = "allowed_users = \"org=acme\"\nbuilt_in_allowed_users = \"\"\n\
                [servers.time]\ncommand = [\"x\"]\nallowed_users = \"team=acme/ops\"";
    let configuration = read(toml, &[], &[]).unwrap();
    let list = |text: &str| Some(AllowList::parse(text).unwrap());
    assert_eq!(configuration.allowed_users().unwrap(), list("org=acme"));
    assert_eq!(configuration.built_in_allowed_users().unwrap(), list(""));
    let time = &configuration.servers["time"];
    assert_eq!(time.allowed_users("time").unwrap(), list("team=acme/ops"));

    let told = refusal("", &[("ALLOWED_GITHUB_USERS", "ada orgs=acme")]);
    assert!(told.contains("allowed_users") && told.contains("orgs=acme"), "{told}");
    let told = refusal("[servers.time]\ncommand = [\"x\"]\nallowed_users = \"team=acme\"", &[]);
    assert!(told.contains("[servers.time]") && told.contains("team=acme"), "{told}");
}

#[test]
fn made_up_people_stay_on_loopback() {
    assert!(refusal("listen = \"0.0.0.0:8080\"", &[]).contains("GITHUB_CLIENT_ID"));
}

#[test]
fn a_proxy_is_an_address_or_a_network() {
    assert!(refusal("trusted_proxies = \"10.0.0.0/8, traefik\"", &[]).contains("traefik"));
}

/// A key for tests alone.
fn key(name: &str) -> String {
    let path = format!("../mcp-oauth-core/tests/keys/{name}.pem");
    let pem = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    base64::engine::general_purpose::STANDARD.encode(pem)
}

const SECRET: &str = "yTbDSpVfX7Ak3zL8cUhMdQnYrGxKo1WeJtvBiP0sZm4=";
const OTHER: &str = "a3f1c58e90b7246d13fe8ca57b20d9461c0e8fb3592ad674e1805bcf37d9a246";

#[test]
fn without_any_setting_a_key_is_made() {
    assert!(matches!(
        read("", &[], &[]).unwrap().keys().unwrap(),
        Keys::Made(Algorithm::Es256)
    ));
}

#[test]
fn the_variables_of_the_predecessor_name_the_key_that_signs() {
    let rsa = key("rsa2048.pkcs8");
    for environment in [
        &[("JWT_PRIVATE_KEY_B64", &*rsa), ("JWT_ALGORITHM", "RS256")][..],
        &[("JWT_PRIVATE_KEY_B64", &rsa)],
        &[("GATEWAY_SIGNING_KEY", &rsa)],
    ] {
        let keys = read("", &[], environment).unwrap().keys().unwrap();
        assert!(matches!(keys, Keys::Own(key) if key.algorithm() == Algorithm::Rs256));
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_what_to_do() {
    for (key, expected) in [
        (key("rsa1024.pkcs8"), "2048"),
        (key("p384.pkcs8"), "P-256"),
        ("-----BEGIN".to_owned(), "base64 -w0"),
    ] {
        let refused = refusal("", &[("JWT_PRIVATE_KEY_B64", &key)]);
        assert!(refused.contains("JWT_PRIVATE_KEY_B64"), "{refused}");
        assert!(refused.contains(expected), "{refused}");
        assert!(
            !refused.contains(&key[..key.len().min(40)]) || key.len() < 40,
            "{refused}"
        );
    }
    let other = [("JWT_PRIVATE_KEY_B64", &*key("p256.pkcs8")), ("JWT_ALGORITHM", "RS256")];
    assert!(refusal("", &other).contains("leave JWT_ALGORITHM out"));
    assert!(refusal("", &[("JWT_ALGORITHM", "HS256")]).contains("use ES256, RS256 or EdDSA"));
}

#[test]
fn keys_are_sealed_in_the_store_with_secrets_that_nobody_guesses() {
    let environment = [
        ("GATEWAY_KEY_SEALING_SECRET", SECRET),
        ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", OTHER),
        ("GATEWAY_KEY_LIFETIME", "0"),
        ("JWT_ALGORITHM", "EdDSA"),
    ];
    let keys = read("", &[], &environment).unwrap().keys().unwrap();
    assert!(matches!(keys, Keys::Stored(Algorithm::EdDsa, _, rotation) if rotation.every.is_none()));
    let weak = [("GATEWAY_KEY_SEALING_SECRET", "password")];
    assert!(refusal("", &weak).contains("openssl rand -base64 32"));
    let alone = [("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", OTHER)];
    assert!(refusal("", &alone).contains("GATEWAY_KEY_SEALING_SECRET"));
    let both = [
        ("GATEWAY_KEY_SEALING_SECRET", SECRET),
        ("JWT_PRIVATE_KEY_B64", &*key("p256.pkcs8")),
    ];
    assert!(refusal("", &both).contains("one of the two"));
}

#[test]
fn no_secret_is_shown_in_debug_output() {
    let environment = [
        ("GATEWAY_KEY_SEALING_SECRET", SECRET),
        ("GATEWAY_PREVIOUS_KEY_SEALING_SECRETS", OTHER),
    ];
    let shown = format!("{:?}", read("", &[], &environment).unwrap());
    assert!(!shown.contains(SECRET) && !shown.contains(OTHER), "{shown}");
}

#[test]
fn a_server_needs_a_plain_name_and_a_command() {
    assert!(refusal("[servers.\"a/b\"]\ncommand = [\"x\"]", &[]).contains("a/b"));
    assert!(refusal("[servers.time]\ncommand = []", &[]).contains("command"));
    let toml = "[servers.time]\ncommand = [\"uvx\", \"mcp-server-time\"]\nenv = { TZ = \"UTC\" }";
    let configuration = read(toml, &[], &[]).unwrap();
    let served_by = configuration.servers["time"].served_by().unwrap();
    assert!(matches!(served_by, ServedBy::Program("uvx", [argument]) if argument == "mcp-server-time"));
}

#[test]
fn clients_and_enterprises_are_tables_of_the_file() {
    let toml = r#"
        trusted_client_hosts = ["claude.ai", "*.example.com"]
        [[clients]]
        id = "nightly-job"
        secret = "hunter2"
        grant_types = ["client_credentials"]
        servers = ["notes"]
        [[clients]]
        id = "editor"
        redirect_uris = ["editor:/callback"]
        [[enterprises]]
        name = "acme"
        issuer = "https://acme.idp.example"
        jwks_uri = "https://acme.idp.example/jwks"
    "#;
    let configuration = read(toml, &[], &[]).unwrap();
    assert!(!format!("{configuration:?}").contains("hunter2"));
    let uri = |server: &str| format!("https://mcp.example/{server}/mcp");
    let clients: Vec<_> = configuration
        .clients
        .iter()
        .map(|client| client.client(uri).unwrap())
        .collect();
    assert_eq!(clients[0].client_id(), "nightly-job");
    assert_eq!(
        configuration.enterprises[0].issuer().unwrap().issuer(),
        "https://acme.idp.example"
    );
    let hosts = crate::clients::hosts(configuration.trusted_client_hosts.as_deref(), &[]).unwrap();
    assert!(hosts.trusts("a.example.com") && !hosts.trusts("example.com"));
}

#[test]
fn a_client_proves_itself_in_one_way() {
    let client = |settings: &str| {
        let configuration = read(&format!("[[clients]]\nid = \"x\"\n{settings}"), &[], &[])?;
        configuration.clients[0].client(str::to_owned)
    };
    let error = client("secret = \"a\"\njwks_uri = \"https://a.example\"").unwrap_err();
    assert!(error.to_string().contains("keep one"), "{error}");
    assert!(client("grant_types = [\"password\"]").is_err());
    assert!(client("secrets = \"a\"").is_err());
    let missing = client("jwks_file = \"nowhere.json\"").unwrap_err();
    assert!(format!("{missing:#}").contains("nowhere.json"));
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let error = Loaded::read(Some("nowhere.toml"), &HashMap::new(), &HashMap::new()).unwrap_err();
    assert!(format!("{error:#}").contains("nowhere.toml"));
}

#[test]
fn a_public_url_that_is_no_issuer_is_refused_by_its_own_name() {
    for url in ["http://mcp.example.com", "https://mcp.example.com/", "mcp.example.com"] {
        let refused = refusal(&format!("public_url = {url:?}\n[servers.time]\ncommand = [\"x\"]"), &[]);
        assert!(refused.starts_with("public_url (GATEWAY_PUBLIC_URL)"), "{refused}");
    }
}

#[test]
fn what_others_reach_has_tls_or_a_proxy_in_front_and_an_address() {
    let github = [
        ("GITHUB_CLIENT_ID", "x"),
        ("GITHUB_CLIENT_SECRET", "y"),
        ("ALLOWED_GITHUB_USERS", "*"),
    ];
    let public = "listen = \"0.0.0.0:443\"\npublic_url = \"https://mcp.example.com\"\n";
    assert!(refusal(public, &github).contains("tls.certificate_file"));
    assert!(read(&format!("{public}trusted_proxies = \"10.0.0.0/8\""), &[], &github).is_ok());
    let tls = "[tls]\ncertificate_file = \"a\"\nkey_file = \"b\"";
    assert!(read(&format!("{public}{tls}"), &[], &github).is_ok());
    assert!(refusal(&format!("listen = \"0.0.0.0:443\"\n{tls}"), &github).contains("GATEWAY_PUBLIC_URL"));
    assert!(refusal(&format!("public_url = \"http://localhost\"\n{tls}"), &[]).contains("make it https"));
    let own = read(&format!("listen = \"127.0.0.1:443\"\n{tls}"), &[], &[]).unwrap();
    assert_eq!(own.issuer(), "https://127.0.0.1");
}

#[test]
fn an_origin_is_scheme_and_host() {
    let origins = |text: &str| read(&format!("cors_origins = [{text:?}]"), &[], &[]);
    assert!(origins("*").unwrap().cors_origins().unwrap().is_none());
    let list = origins("https://app.example.com").unwrap().cors_origins().unwrap();
    assert_eq!(list.unwrap().len(), 1);
    for wrong in [
        "app.example.com",
        "https://app.example.com/",
        "https://App.example.com",
        "null",
    ] {
        assert!(origins(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
    }
}
