//! E-mail addresses, as far as they decide who somebody is.
//!
//! An address has exactly one `@`, and its domain is compared as the DNS would: in any case, and in the one spelling
//! that internationalised names have there (UTS #46). What cannot be read that strictly is no address.

/// An address that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EmailAddress {
    /// The part that its domain decides about; in lower case, as far as it is ASCII.
    local: String,
    domain: EmailDomain,
}

/// The domain of addresses, as it stands in the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EmailDomain(String);

impl EmailAddress {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let plain = |character: char| !character.is_whitespace() && !character.is_control();
        if local.is_empty() || !local.chars().all(plain) {
            return None;
        }
        Some(Self {
            local: local.to_ascii_lowercase(),
            domain: EmailDomain::read(domain)?,
        })
    }

    pub(super) fn domain(&self) -> &EmailDomain {
        &self.domain
    }
}

impl EmailDomain {
    /// Strictly: only what can be the name of a host, so neither an `@` nor a `*` nor a space can be part of it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let name = idna::domain_to_ascii_strict(text).ok()?;
        (!name.is_empty()).then_some(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domain(text: &str) -> EmailDomain {
        EmailDomain::read(text).unwrap()
    }

    fn is_at(address: &str, of: &str) -> bool {
        EmailAddress::read(address).is_some_and(|address| *address.domain() == domain(of))
    }

    /// Attack V-43.
    #[test]
    fn the_domain_is_all_that_comes_after_the_only_at_sign() {
        let table = [
            ("ada@example.com", true),
            ("ADA@EXAMPLE.COM", true),
            ("ada+mcp@Example.com", true),
            ("ada@evil@example.com", false),
            ("ada@example.com@evil.example", false),
            ("@example.com", false),
            ("ada@", false),
            ("ada", false),
            ("example.com", false),
            ("", false),
            ("ada@sub.example.com", false),
            ("ada@example.com.evil.example", false),
            ("ada@evil-example.com", false),
            ("ada@example.com.", false),
            ("ada@.example.com", false),
            ("ada@example..com", false),
            ("ada@ example.com", false),
            ("ada@example.com ", false),
            ("ada @example.com", false),
            ("ada@example.com\n", false),
            ("ada\0@example.com", false),
            ("\"ada@evil\"@example.com", false),
            ("ada@example.com,evil.example", false),
            ("ada@[127.0.0.1]", false),
            ("ada@example\u{ff0e}com", true),
            ("ada@example\u{3002}com", true),
            ("ada@exam\u{ad}ple.com", true),
            ("ada@ex\u{430}mple.com", false),
            ("ada@e\u{200d}xample.com", false),
            ("ada\u{ff20}example.com", false),
        ];
        for (address, expected) in table {
            assert_eq!(is_at(address, "example.com"), expected, "{address:?}");
        }
    }

    #[test]
    fn an_internationalised_domain_has_one_meaning_in_every_spelling() {
        for address in [
            "ada@b\u{fc}cher.example",
            "ada@BU\u{308}CHER.example",
            "ada@xn--bcher-kva.example",
        ] {
            assert!(is_at(address, "B\u{dc}CHER.example"), "{address}");
            assert!(is_at(address, "xn--bcher-kva.example"), "{address}");
            assert!(!is_at(address, "bucher.example"), "{address}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for text in [
            "",
            ".",
            "*",
            "*.example.com",
            "@example.com",
            ".example.com",
            "example.com.",
            "a@b.example",
            "a b.example",
            "a/b.example",
            "a_b.example",
            "xn--a.example",
            "-a.example",
        ] {
            assert_eq!(EmailDomain::read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".*") {
            let _ = EmailAddress::read(&text);
            let _ = EmailDomain::read(&text);
        }

        /// Attack V-43.
        #[test]
        fn an_address_with_two_at_signs_is_none(one in ".*", two in ".*", three in ".*") {
            prop_assert_eq!(EmailAddress::read(&format!("{one}@{two}@{three}")), None);
        }

        #[test]
        fn a_longer_domain_is_another_one(extra in "[a-z0-9]{1,8}[.-]?") {
            let address = format!("ada@{extra}example.com");
            prop_assert!(!is_at(&address, "example.com"));
        }
    }
}
