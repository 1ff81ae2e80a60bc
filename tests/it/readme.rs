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
    let documented = lines("examples/full-gateway/README.md").join("\n");
    for line in example
        .iter()
        .filter(|line| line.contains(" = ") && !line.contains("://") && !line.starts_with("# The"))
    {
        let name = line.trim_start_matches("# ").split(" = ").next().unwrap();
        let of_a_server = ["name", "command", "env", "client_id"].contains(&name);
        assert!(of_a_server || documented.contains(&format!("`{name}`")), "{name}");
    }
}
