//! What `examples/full-gateway/compose` says, as docker-compose understands it: that it accepts every combination of servers,
//! that nothing in it is open by default, and what Traefik makes of its labels.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcp_oauth_tests::tools;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::traefik::{Dynamic, EntryPoint, Http};

/// The domain that the files are filled in with.
pub(crate) const DOMAIN: &str = "mcp.example";

/// Every server that there is a file for.
pub(crate) const SERVERS: [&str; 11] = [
    "echo-stateful",
    "echo-stateless",
    "everything",
    "fetch",
    "fetchs",
    "filesystem",
    "memory",
    "playwright",
    "sequentialthinking",
    "time",
    "tmux",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/full-gateway/compose")
}

/// A copy of the folder, with an `.env` that switches nothing on.
pub(crate) struct Folder {
    root: TempDir,
    python: String,
}

impl Folder {
    /// `None` where docker-compose is not installed.
    pub(crate) fn copy(test: &str) -> Option<Self> {
        let program = tools::proxy(test, "docker-compose", "version")?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|folder| folder.join(&program))
            .find(|path| path.is_file())?;
        // Debian's is a script, whose first line names the Python that has its modules.
        let script = std::fs::read_to_string(program).unwrap();
        let python = script.lines().next()?.strip_prefix("#!")?.to_owned();
        let root = TempDir::new().unwrap();
        // The files look for the whole repository three folders above.
        let copy = root.path().join("examples/full-gateway/compose");
        std::fs::create_dir_all(copy.join("services")).unwrap();
        std::fs::copy(source().join("compose"), copy.join("compose")).unwrap();
        std::fs::copy(source().join("docker-compose.yml"), copy.join("docker-compose.yml")).unwrap();
        for name in SERVERS {
            let file = format!("services/{name}.yml");
            std::fs::copy(source().join(&file), copy.join(&file)).unwrap();
        }
        let settings = std::fs::read_to_string(source().join("example.env")).unwrap();
        let settings = settings
            .replace("example.com", DOMAIN)
            .replace("=true", "=false")
            .replace("REDIS_PASSWORD=", "REDIS_PASSWORD=of-redis")
            .replace("GITHUB_CLIENT_SECRET=", "GITHUB_CLIENT_SECRET=of-github")
            .replace("SEALING_SECRET=", "SEALING_SECRET=of-keys");
        let dotenv = copy.join(".env");
        std::fs::write(&dotenv, settings).unwrap();
        if std::fs::metadata(&dotenv).unwrap().uid() == 0 {
            std::os::unix::fs::chown(&dotenv, Some(65532), Some(65532)).unwrap();
        }
        Some(Self { root, python })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join("examples/full-gateway/compose")
    }

    fn ask(&self, command: &str, names: &[&str]) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxies/docker_compose.py");
        let output = Command::new(&self.python)
            .arg(script)
            .arg(command)
            .arg(self.path())
            .args(names)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "docker-compose refuses {names:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What docker-compose makes of the files with these servers switched on.
    pub(crate) fn with(&self, names: &[&str]) -> Composition {
        Composition(self.ask("show", names))
    }
}

/// A configuration as docker-compose has resolved it.
pub(crate) struct Composition(pub(crate) Value);

impl Composition {
    pub(crate) fn services(&self) -> &Map<String, Value> {
        self.0["services"].as_object().unwrap()
    }

    pub(crate) fn environment(&self, service: &str) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.0["services"][service]["environment"].as_object();
        let variables = variables.into_iter().flatten();
        variables.map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
    }

    /// Traefik's arguments.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        let command = self.0["services"]["traefik"]["command"].as_array().unwrap();
        command.iter().map(|argument| argument.as_str().unwrap()).collect()
    }

    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let begin = format!("--{name}=");
        self.arguments()
            .into_iter()
            .find_map(|argument| argument.strip_prefix(&begin))
    }

    /// What Traefik routes for requests that come by https. `place` says where a container's port is.
    pub(crate) fn routes(&self, place: impl Fn(&str, u64) -> String) -> Http {
        let mut http = json!({"routers": {}, "services": {}, "middlewares": {}});
        for (container, service) in self.services() {
            let Some(labels) = service["labels"].as_object() else {
                continue;
            };
            assert_eq!(labels["traefik.enable"], "true", "{container}");
            for (label, value) in labels {
                if let Some(path) = label.strip_prefix("traefik.http.") {
                    set(&mut http, path, value.as_str().unwrap(), |port| place(container, port));
                }
            }
        }
        let mut dynamic: Dynamic = serde_json::from_value(json!({ "http": http })).unwrap();
        dynamic.http.entry_point = EntryPoint {
            name: "websecure",
            scheme: "https",
            middlewares: list(self.argument("entrypoints.websecure.http.middlewares").unwrap()),
        };
        dynamic.http
    }
}

fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(|one| one.trim().trim_end_matches("@docker").to_owned())
        .collect()
}

/// Puts a label where the file provider has it. One that is spelt wrong is found here, as Traefik finds it.
fn set(http: &mut Value, label: &str, value: &str, place: impl Fn(u64) -> String) {
    let parts: Vec<&str> = label.split('.').collect();
    let text = Value::from(value);
    let number = || Value::from(value.parse::<u64>().unwrap());
    let truth = || Value::from(value.parse::<bool>().unwrap());
    let texts = || Value::from(list(value));
    let [kind, name, ..] = parts.as_slice() else {
        panic!("{label}")
    };
    let at = &mut http[*kind][*name];
    match (*kind, parts[2..].join(".").to_lowercase().as_str()) {
        ("routers", "rule") => at["rule"] = text,
        ("routers", "service") => at["service"] = value.trim_end_matches("@docker").into(),
        ("routers", "priority") => at["priority"] = number(),
        ("routers", "entrypoints") => at["entryPoints"] = texts(),
        ("routers", "middlewares") => at["middlewares"] = texts(),
        ("routers", "tls.certresolver") => at["tls"]["certResolver"] = text,
        ("services", "loadbalancer.server.port") => {
            at["loadBalancer"]["servers"] = json!([{ "url": place(value.parse().unwrap()) }]);
        }
        ("middlewares", "forwardauth.address") => {
            let port = value.strip_prefix("http://gateway:").unwrap().split_once('/').unwrap();
            at["forwardAuth"]["address"] = format!("{}/{}", place(port.0.parse().unwrap()), port.1).into();
        }
        ("middlewares", "forwardauth.trustforwardheader") => at["forwardAuth"]["trustForwardHeader"] = truth(),
        ("middlewares", "forwardauth.authresponseheadersregex") => at["forwardAuth"]["authResponseHeadersRegex"] = text,
        ("middlewares", "ipallowlist.sourcerange") => at["ipAllowList"]["sourceRange"] = texts(),
        ("middlewares", "redirectregex.regex") => at["redirectRegex"]["regex"] = text,
        ("middlewares", "redirectregex.replacement") => at["redirectRegex"]["replacement"] = text,
        ("middlewares", "redirectregex.permanent") => at["redirectRegex"]["permanent"] = truth(),
        ("middlewares", "headers.accesscontrolalloworiginlist") => {
            at["headers"]["accessControlAllowOriginList"] = texts();
        }
        ("middlewares", "headers.accesscontrolallowmethods") => at["headers"]["accessControlAllowMethods"] = texts(),
        ("middlewares", "headers.accesscontrolallowheaders") => at["headers"]["accessControlAllowHeaders"] = texts(),
        ("middlewares", "headers.accesscontrolexposeheaders") => at["headers"]["accessControlExposeHeaders"] = texts(),
        ("middlewares", "headers.accesscontrolmaxage") => at["headers"]["accessControlMaxAge"] = number(),
        ("middlewares", "headers.addvaryheader") => at["headers"]["addVaryHeader"] = truth(),
        ("middlewares", "headers.stsseconds") => at["headers"]["stsSeconds"] = number(),
        ("middlewares", "headers.contenttypenosniff") => at["headers"]["contentTypeNosniff"] = truth(),
        ("middlewares", "headers.referrerpolicy") => at["headers"]["referrerPolicy"] = text,
        ("middlewares", other) if other.starts_with("headers.customrequestheaders.") => {
            at["headers"]["customRequestHeaders"][parts[4]] = text;
        }
        ("middlewares", other) if other.starts_with("headers.customresponseheaders.") => {
            at["headers"]["customResponseHeaders"][parts[4]] = text;
        }
        _ => panic!("the double knows no label {label}"),
    }
}

#[test]
fn docker_compose_accepts_every_combination_of_servers() {
    let Some(folder) = Folder::copy("every combination of servers") else {
        return;
    };
    let files: BTreeSet<String> = std::fs::read_dir(source().join("services"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, SERVERS.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(
        folder.ask("combinations", &[]),
        json!({ "servers": SERVERS, "accepted": 1 << SERVERS.len() })
    );
}

#[test]
fn a_server_is_there_where_its_variable_says_so_and_nowhere_else() {
    let Some(folder) = Folder::copy("servers switched on and off") else {
        return;
    };
    let always = ["gateway", "redis", "socket-proxy", "traefik"];
    for names in [&[][..], &["time"], &["echo-stateful", "fetchs"], &SERVERS] {
        let expected: BTreeSet<&str> = always.iter().chain(names).copied().collect();
        let composition = folder.with(names);
        assert_eq!(
            composition
                .services()
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            expected
        );
    }
}

#[test]
fn the_script_refuses_what_would_be_open() {
    let Some(folder) = Folder::copy("what the script refuses") else {
        return;
    };
    let run = |switch: &str| {
        let mut command = Command::new("./compose");
        command.current_dir(folder.path()).arg("config").env("COMPOSE", "true");
        let output = command.env("MCP_TIME_ENABLED", switch).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(run("true").0);
    assert!(run("ture").1.contains("MCP_TIME_ENABLED is ture"));
    std::fs::rename(folder.path().join(".env"), folder.path().join("elsewhere")).unwrap();
    assert!(run("true").1.contains("there is no .env"));
}

/// Each row of the README's table, against the file of the server and the packages of its image.
#[test]
fn the_readme_says_of_each_server_what_its_file_does() {
    let Some(folder) = Folder::copy("the table of servers") else {
        return;
    };
    let composition = folder.with(&SERVERS);
    let read = |file: &str| std::fs::read_to_string(source().join(file)).unwrap();
    let pins = ["node/package.json", "python/requirements.txt", "tmux/requirements.txt"]
        .map(|file| read(&format!("images/{file}")))
        .concat();
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(
        rows.iter().map(|row| row[0].trim_matches('`')).collect::<Vec<_>>(),
        SERVERS
    );
    for row in rows {
        let [name, variable, command, version, _, keeps, internet] = row.as_slice() else {
            panic!("{row:?}")
        };
        let name = name.trim_matches('`');
        let expected = format!("`MCP_{}_ENABLED`", name.to_uppercase().replace('-', "_"));
        assert_eq!(**variable, expected);
        assert!(read("example.env").contains(expected.trim_matches('`')), "{name}");
        let service = &composition.0["services"][name];
        let words = service["command"].as_array().unwrap().iter();
        let words: Vec<_> = words.filter_map(Value::as_str).filter(|word| *word != "--").collect();
        let command = command.trim_matches('`').trim_start_matches("full-gateway ");
        assert!(words.join(" ").starts_with(command), "{name} runs {words:?}");
        let ours = service["build"]["target"] == "gateway";
        assert!(
            if ours {
                *version == "this one"
            } else {
                pins.contains(version)
            },
            "{name}: {version} is not pinned"
        );
        let mut volumes = service["volumes"].as_array().into_iter().flatten();
        let volume = volumes
            .find_map(Value::as_str)
            .map(|volume| volume.split(':').next().unwrap());
        match volume {
            Some(volume) => assert_eq!(**keeps, format!("volume `{volume}`"), "{name}"),
            None => assert!(!keeps.contains("volume"), "{name} keeps nothing in a volume"),
        }
        let internal = composition.0["networks"][name]["internal"] == true;
        assert_eq!(*internet == "no", internal, "{name}");
    }
}

/// Defect S16, and what else a stranger would look for.
#[test]
fn nothing_is_open_that_need_not_be() {
    let Some(folder) = Folder::copy("what is open by default") else {
        return;
    };
    let composition = folder.with(&SERVERS);
    for (name, service) in composition.services() {
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{name}: {image} has no version"));
        assert!(
            tag.starts_with(|first: char| first.is_ascii_digit() || first == 'v'),
            "{name}: {image}"
        );
        assert!(tag.matches('.').count() == 2, "{name}: {image} is no exact version");
        assert_eq!(service["read_only"], true, "{name} can write to its file system");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert!(
            service["cap_add"].is_null() && service["privileged"].is_null(),
            "{name}"
        );
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        let user = service["user"].as_str().unwrap();
        assert!(
            !user.starts_with('0') && user.contains(':') && !user.starts_with("root"),
            "{name} runs as {user}"
        );
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no health check");
        assert!(
            name == "traefik" || service["ports"].is_null(),
            "{name} is open to the network"
        );
        assert!(service["network_mode"].is_null() && service["pid"].is_null(), "{name}");
        let text = service.to_string();
        assert_eq!(text.contains("docker.sock"), name == "socket-proxy", "{name}");
        assert_eq!(
            text.contains("of-redis"),
            name == "redis",
            "{name} shows the password of Redis"
        );
        for secret in ["of-github", "of-keys"] {
            assert!(
                !text.contains(secret),
                "{name} shows {secret} to whoever looks at containers"
            );
        }
    }
    // The gateway reads its secrets from the file, which it cannot write.
    let volumes = composition.0["services"]["gateway"]["volumes"].to_string();
    assert!(volumes.contains("/.env:/gateway/.env:ro"), "{volumes}");
    assert!(
        composition.0["services"]["socket-proxy"]["volumes"]
            .to_string()
            .contains(":ro")
    );
    assert_eq!(
        composition.0["services"]["traefik"]["ports"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn nobody_is_in_a_network_with_more_than_they_need() {
    let Some(folder) = Folder::copy("networks") else {
        return;
    };
    let composition = folder.with(&SERVERS);
    let members = |network: &str| -> Vec<&str> {
        let services = composition.services().iter();
        let in_it = services.filter(|(_, service)| !service["networks"][network].is_null());
        in_it.map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(members("store"), ["gateway", "redis"]);
    assert_eq!(members("docker-api"), ["socket-proxy", "traefik"]);
    assert_eq!(members("verify"), ["gateway", "traefik"]);
    assert_eq!(members("public"), ["traefik"]);
    for server in SERVERS {
        let mut both = [server, "traefik"];
        both.sort_unstable();
        assert_eq!(members(server), both);
        // What has no business on the internet cannot reach it.
        let reaches_the_internet = matches!(server, "fetch" | "fetchs" | "playwright");
        let internal = composition.0["networks"][server]["internal"] == true;
        assert_eq!(internal, !reaches_the_internet, "{server}");
    }
    for network in ["store", "docker-api"] {
        assert_eq!(composition.0["networks"][network]["internal"], true, "{network}");
    }
    // Who may ask at /verify is whoever is in the network with Traefik alone.
    let subnet = &composition.0["networks"]["verify"]["ipam"]["config"][0]["subnet"];
    let trusted = composition
        .environment("gateway")
        .find(|(name, _)| *name == "GATEWAY_TRUSTED_PROXIES");
    assert_eq!(trusted.unwrap().1, subnet.as_str().unwrap());
}

#[test]
fn traefik_shows_nothing_and_keeps_no_token_in_its_log() {
    let Some(folder) = Folder::copy("Traefik's own settings") else {
        return;
    };
    let composition = folder.with(&["time"]);
    assert!(
        composition
            .arguments()
            .iter()
            .all(|argument| !argument.starts_with("--api"))
    );
    assert!(
        composition
            .arguments()
            .iter()
            .all(|argument| !argument.contains("forwardedheaders"))
    );
    for (name, value) in [
        ("providers.docker.exposedbydefault", "false"),
        ("providers.docker.endpoint", "tcp://socket-proxy:2375"),
        ("accesslog.fields.headers.defaultmode", "drop"),
        ("accesslog.fields.names.RequestPath", "drop"),
        ("accesslog.fields.names.RequestLine", "drop"),
        ("certificatesresolvers.letsencrypt.acme.httpchallenge.entrypoint", "web"),
        ("entrypoints.web.http.redirections.entrypoint.to", ":443"),
        ("entrypoints.web.http.redirections.entrypoint.scheme", "https"),
        ("entrypoints.web.http.redirections.entrypoint.permanent", "true"),
    ] {
        assert_eq!(composition.argument(name), Some(value), "{name}");
    }
    let asked = composition.0["services"]["socket-proxy"]["command"].to_string();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert!(!asked.contains(method), "{asked}");
    }
}
