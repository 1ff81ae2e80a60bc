//! The manifests in `examples/full-gateway/kubernetes`: valid by the schema of Kubernetes, as closed as the composition, and with
//! the same routes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcp_oauth_tests::tools;
use mcp_oauth_tower::forward_auth::IDENTITY_HEADERS;
use regex::Regex;
use serde_json::{Value, json};

/// The documents, of which those of Kubernetes itself are valid; `None` where the schemas are not installed.
fn documents(test: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("MCP_TEST_SERVICES").map(PathBuf::from);
    let python = folder
        .map(|folder| folder.join("kubernetes/bin/python"))
        .filter(|python| python.exists());
    let Some(python) = python else {
        tools::skip(
            test,
            "install tests/clients/kubernetes/requirements.txt as .ci/run does, and set MCP_TEST_SERVICES",
        );
        return None;
    };
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/full-gateway/kubernetes");
    let output = Command::new(python)
        .arg(tools::clients().join("kubernetes/check.py"))
        .arg(manifests)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the manifests are not valid");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let all = documents.iter().map(|document| &document["document"]);
    let found: Vec<_> = all.filter(|document| document["kind"] == kind).collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

#[test]
fn the_manifests_are_valid_and_run_nothing_that_may_do_more_than_it_has_to() {
    let Some(documents) = documents("the manifests are valid") else {
        return;
    };
    assert!(documents.iter().filter(|document| document["checked"] == true).count() >= 12);
    let deployments = of_kind(&documents, "Deployment");
    for workload in deployments.iter().chain(&of_kind(&documents, "StatefulSet")) {
        let name = &workload["metadata"]["name"];
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
            assert!(
                container["readinessProbe"].is_object() && container["livenessProbe"].is_object(),
                "{name}"
            );
            let image = container["image"].as_str().unwrap();
            assert!(
                image.rsplit_once(':').unwrap().1.matches('.').count() == 2,
                "{image} is no exact version"
            );
        }
        // Who may connect is said for each.
        let policies = of_kind(&documents, "NetworkPolicy");
        let own = policies.iter().find(|policy| policy["metadata"]["name"] == *name);
        assert!(own.is_some(), "whoever likes may connect to {name}");
    }
    let gateway = deployments
        .iter()
        .find(|one| one["metadata"]["name"] == "gateway")
        .unwrap();
    assert_eq!(gateway["spec"]["replicas"], 2);
}

#[test]
fn both_proxies_of_the_manifests_ask_and_replace_every_identity_header() {
    let Some(documents) = documents("the proxies of the manifests") else {
        return;
    };
    let middlewares = of_kind(&documents, "Middleware");
    let forward_auth = middlewares
        .iter()
        .find(|one| one["spec"]["forwardAuth"].is_object())
        .unwrap();
    let forward_auth = &forward_auth["spec"]["forwardAuth"];
    assert_eq!(forward_auth["trustForwardHeader"], false);
    let pattern = forward_auth["authResponseHeadersRegex"].as_str().unwrap();
    let pattern = Regex::new(&pattern.replacen("^(?i)", "(?i)^", 1)).unwrap();
    let policy = &of_kind(&documents, "SecurityPolicy")[0]["spec"]["extAuth"];
    assert_eq!(policy["failOpen"], false);
    for &name in IDENTITY_HEADERS {
        assert!(pattern.is_match(name), "Traefik does not replace {name}");
        assert!(
            pattern.is_match(&name.replace('-', "_")),
            "Traefik lets {name} through with underscores"
        );
        let told = policy["http"]["headersToBackend"].as_array().unwrap();
        assert!(
            told.iter().any(|one| one.as_str().unwrap().eq_ignore_ascii_case(name)),
            "Envoy does not replace {name}"
        );
    }
    // What asks takes the token away afterwards, and every other way to a server is closed.
    let routes = of_kind(&documents, "IngressRoute");
    let time = routes.iter().find(|one| one["metadata"]["name"] == "time").unwrap();
    for route in time["spec"]["routes"].as_array().unwrap() {
        let to_the_server = route["services"][0]["name"] == "time";
        let names: Vec<_> = route["middlewares"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| &one["name"])
            .collect();
        assert_eq!(names.contains(&&json!("mcp-auth")), to_the_server, "{route}");
        assert_eq!(names.contains(&&json!("mcp-no-token")), to_the_server, "{route}");
    }
}
