//! What a site says that programs may read: `robots.txt` (RFC 9309).
//!
//! Two kinds of lines count, groups and their rules, and two signs in a pattern, `*` and `$`. Patterns are a stranger's, so
//! they are matched by hand, in time that grows with the pattern and the path and nothing else.

use url::Url;

/// How many rules are read.
const MOST_RULES: usize = 10_000;

/// A file.
#[derive(Debug, Default)]
pub(super) struct Robots<'a> {
    groups: Vec<Group<'a>>,
}

#[derive(Debug, Default)]
struct Group<'a> {
    agents: Vec<&'a str>,
    rules: Vec<(bool, &'a str)>,
}

impl<'a> Robots<'a> {
    /// Reads a file. Lines that mean nothing are passed over.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut rules = 0;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "user-agent" => {
                    // Agents that stand below each other share what comes after them.
                    if groups.last().is_none_or(|group| !group.rules.is_empty()) {
                        groups.push(Group::default());
                    }
                    if let Some(group) = groups.last_mut() {
                        group.agents.push(value);
                    }
                }
                name @ ("allow" | "disallow") if rules < MOST_RULES => {
                    if let Some(group) = groups.last_mut() {
                        rules += 1;
                        group.rules.push((name == "allow", value));
                    }
                }
                _ => {}
            }
        }
        Self { groups }
    }

    /// Whether an agent of this name may read this: the longest pattern decides, and of two that are as long the one that
    /// allows.
    pub(super) fn permit(&self, agent: &str, url: &Url) -> bool {
        let product = agent.split(['/', ' ']).next().unwrap_or_default();
        let named = |group: &&Group<'_>| group.agents.iter().any(|agent| agent.eq_ignore_ascii_case(product));
        let mut groups: Vec<_> = self.groups.iter().filter(named).collect();
        if groups.is_empty() {
            groups = self.groups.iter().filter(|group| group.agents.contains(&"*")).collect();
        }
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let rules = groups.iter().flat_map(|group| &group.rules);
        let longest = rules
            .filter(|(_, pattern)| !pattern.is_empty() && matches(pattern.as_bytes(), path.as_bytes()))
            .max_by_key(|(allow, pattern)| (pattern.len(), *allow));
        longest.is_none_or(|(allow, _)| *allow)
    }
}

/// Whether a path begins as the pattern says: `*` is anything, and `$` at the end is the path's end.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, to_the_end) = match pattern.strip_suffix(b"$") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    // Where the last `*` stood, and how much of the path it has taken.
    let (mut at, mut read, mut star) = (0, 0, None);
    loop {
        if at == pattern.len() && (!to_the_end || read == path.len()) {
            return true;
        }
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
        } else if at < pattern.len() && pattern.get(at) == path.get(read) {
            at += 1;
            read += 1;
        } else if let Some((place, taken)) = star.filter(|(_, taken)| *taken < path.len()) {
            star = Some((place, taken + 1));
            (at, read) = (place + 1, taken + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "User-agent: other\nDisallow: /\n\nuser-agent: *\nDisallow: /private # all of it\nAllow: /private/open\n\
                        Disallow: /*.pdf$\nDisallow:\n";

    fn permitted(file: &str, path: &str) -> bool {
        let url = format!("https://site.example{path}").parse().unwrap();
        Robots::parse(file).permit("mcp-oauth-fetch/1.0", &url)
    }

    #[test]
    fn the_longest_pattern_decides() {
        assert!(permitted(FILE, "/"));
        assert!(!permitted(FILE, "/private/x"));
        assert!(permitted(FILE, "/private/open/x"));
        assert!(!permitted(FILE, "/a/b.pdf"));
        assert!(permitted(FILE, "/a/b.pdf?x"));
        assert!(permitted("User-agent: *\nDisallow: /x\nAllow: /x", "/x"));
    }

    #[test]
    fn a_group_of_ones_own_counts_in_place_of_everybodys() {
        let file = "User-agent: *\nDisallow: /\nUser-agent: nobody\nUser-agent: MCP-OAuth-Fetch\nDisallow: /only";
        assert!(permitted(file, "/"));
        assert!(!permitted(file, "/only/this"));
    }

    #[test]
    fn an_empty_file_forbids_nothing() {
        assert!(permitted("", "/x") && permitted("<html>not found</html>", "/x") && permitted("Disallow: /", "/x"));
    }

    #[test]
    fn stars_take_no_longer_than_the_path() {
        let pattern = format!("User-agent: *\nDisallow: /{}b", "*a".repeat(500));
        assert!(permitted(&pattern, &format!("/{}", "a".repeat(2000))));
    }
}
