//! What the README shows is what there is.

use std::path::Path;

/// The lines of a file of the workspace, without their indentation.
fn lines(path: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join(path)).unwrap();
    text.lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn the_program_in_the_readme_is_the_embedded_example() {
    let readme = lines("README.md");
    let program = readme
        .iter()
        .skip_while(|line| *line != "```rust,ignore")
        .skip(1)
        .take_while(|line| *line != "```");
    let example = lines("examples/embedded/main.rs");
    let mut rest = example.iter();
    let mut shown = 0;
    for line in program {
        shown += 1;
        assert!(
            rest.any(|known| known == line),
            "not in examples/embedded/main.rs, or not in this order: {line}"
        );
    }
    assert!(shown >= 15, "the README shows {shown} lines");
}

#[test]
fn the_example_of_a_configuration_has_only_settings_that_exist() {
    let example = lines("examples/full-gateway/gateway.example.toml");
    let documents = ["README.md", "OBSERVING.md"].map(|name| lines(&format!("examples/full-gateway/{name}")));
    let documented = documents.concat().join("\n");
    for line in example
        .iter()
        .filter(|line| line.contains(" = ") && !line.contains("://") && !line.starts_with("# The"))
    {
        let name = line.trim_start_matches("# ").split(" = ").next().unwrap();
        let of_a_server = ["name", "command", "env", "client_id"].contains(&name);
        // By its own name, or with that of its table in front.
        let told = [format!("`{name}`"), format!(".{name}`")];
        assert!(
            of_a_server || told.iter().any(|name| documented.contains(name)),
            "{name}"
        );
    }
}

#[test]
fn every_feature_is_explained_on_the_front_page_of_its_crate() {
    for folder in [
        "mcp-oauth-core",
        "mcp-oauth-store",
        "mcp-oauth-tower",
        "mcp-stdio-bridge",
    ] {
        let manifest: toml::Table = lines(&format!("{folder}/Cargo.toml")).join("\n").parse().unwrap();
        let page = lines(&format!("{folder}/src/lib.rs"));
        let page: Vec<_> = page.iter().filter(|line| line.starts_with("//!")).collect();
        for feature in manifest["features"].as_table().unwrap().keys() {
            let named = format!("`{feature}`");
            assert!(
                feature == "default" || page.iter().any(|line| line.contains(&named)),
                "{folder}: {feature}"
            );
        }
    }
}

/// Every Markdown file of the workspace, without those of other people's packages.
fn documents(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                documents(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_to_a_file_in_a_document_leads_to_one() {
    let mut found = Vec::new();
    documents(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &mut found);
    let link = regex::Regex::new(r"\]\(([^)#\s]+)").unwrap();
    let mut links = 0;
    for document in &found {
        let text = std::fs::read_to_string(document).unwrap();
        for target in link.captures_iter(&text).map(|captures| captures[1].to_owned()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let path = document.parent().unwrap().join(&target);
            assert!(path.exists(), "{}: {target}", document.display());
        }
    }
    assert!(
        found.len() >= 10 && links >= 30,
        "{} documents, {links} links",
        found.len()
    );
}
