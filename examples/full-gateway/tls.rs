//! The certificate that the gateway shows, by files.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use mcp_oauth_core::clock::UnixTime;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::configuration::TlsFiles;

/// How long before its end a certificate is told of, in seconds: two weeks.
const SOON: u64 = 14 * 24 * 60 * 60;

/// A certificate with its key, and what is to be said about it.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// TLS 1.2 and 1.3 with it.
    pub(crate) tls: Arc<ServerConfig>,
    /// What clients will not like.
    pub(crate) warnings: Vec<String>,
}

/// Reads both files. `hosts` are those that clients ask for.
///
/// # Errors
///
/// When one of the files cannot be read, or when the key is not that of the certificate.
pub(crate) fn read(files: TlsFiles<'_>, hosts: &[String], now: UnixTime) -> anyhow::Result<Certificate> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let unread = || format!("tls.certificate_file cannot be read: {certificate}");
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(files.certificate)
        .with_context(unread)?
        .collect::<Result<_, _>>()
        .with_context(unread)?;
    let Some(own) = chain.first() else {
        anyhow::bail!(
            "there is no certificate in {certificate}: it needs the gateway's own, and then the others, in PEM"
        );
    };
    let warnings = warnings(own, hosts, now).with_context(unread)?;
    let private =
        PrivateKeyDer::from_pem_file(files.key).with_context(|| format!("tls.key_file cannot be read: {key}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("the key in {key} does not belong to the certificate in {certificate}"))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate {
        tls: Arc::new(tls),
        warnings,
    })
}

fn warnings(der: &CertificateDer<'_>, hosts: &[String], now: UnixTime) -> anyhow::Result<Vec<String>> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| anyhow::anyhow!("it is no certificate: {error}"))?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let validity = certificate.validity();
    let (begin, end) = (
        seconds(validity.not_before.timestamp()),
        seconds(validity.not_after.timestamp()),
    );
    let now = now.as_seconds();
    let mut warnings = Vec::new();
    if now > end {
        warnings.push(format!("the certificate has expired ({})", validity.not_after));
    } else if now < begin {
        warnings.push(format!("the certificate is not good before {}", validity.not_before));
    } else if end - now < SOON {
        warnings.push(format!("the certificate expires soon ({})", validity.not_after));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names
        .map(|names| names.value.general_names.as_slice())
        .unwrap_or_default();
    for host in hosts {
        if !names.iter().any(|name| covers(name, host)) {
            warnings.push(format!("the certificate is not one for {host}"));
        }
    }
    Ok(warnings)
}

/// Whether a name in a certificate is that of the host (RFC 9525 §6.3): a star stands for one label.
fn covers(name: &GeneralName<'_>, host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match (name, address) {
        (GeneralName::DNSName(name), None) => match name.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        },
        (GeneralName::IPAddress(octets), Some(IpAddr::V4(address))) => **octets == address.octets(),
        (GeneralName::IPAddress(octets), Some(IpAddr::V6(address))) => **octets == address.octets(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Files(tempfile::TempDir, rcgen::CertifiedKey<rcgen::KeyPair>);

    impl Files {
        fn of(names: &[&str]) -> Self {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut parameters = rcgen::CertificateParams::new(names).unwrap();
            parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2026, 3, 1);
            let signing_key = rcgen::KeyPair::generate().unwrap();
            let cert = parameters.self_signed(&signing_key).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let files = Self(directory, rcgen::CertifiedKey { cert, signing_key });
            files.write("certificate.pem", &files.1.cert.pem());
            files.write("key.pem", &files.1.signing_key.serialize_pem());
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).unwrap();
        }

        fn read(&self, hosts: &[&str], now: u64) -> anyhow::Result<Vec<String>> {
            let (certificate, key) = (self.path("certificate.pem"), self.path("key.pem"));
            let files = TlsFiles {
                certificate: &certificate,
                key: &key,
            };
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            read(files, &hosts, UnixTime::from_seconds(now)).map(|certificate| certificate.warnings)
        }
    }

    /// In seconds since 1970: the first of February 2026.
    const FEBRUARY: u64 = 1_769_904_000;
    const DAY: u64 = 24 * 60 * 60;

    #[test]
    fn a_certificate_is_good_for_its_hosts_and_its_time() {
        let files = Files::of(&["mcp.example.com", "*.tools.example.com", "127.0.0.1"]);
        let hosts = ["mcp.example.com", "a.tools.example.com", "127.0.0.1"];
        assert_eq!(files.read(&hosts, FEBRUARY).unwrap(), Vec::<String>::new());
        for host in ["tools.example.com", "a.b.tools.example.com", "example.com", "127.0.0.2"] {
            let told = files.read(&[host], FEBRUARY).unwrap();
            assert!(told.len() == 1 && told[0].contains(host), "{told:?}");
        }
        for (now, says) in [
            (FEBRUARY - 40 * DAY, "not good before"),
            (FEBRUARY + 20 * DAY, "expires soon"),
            (FEBRUARY + 40 * DAY, "has expired"),
        ] {
            let told = files.read(&hosts, now).unwrap();
            assert!(told.len() == 1 && told[0].contains(says), "{told:?}");
        }
    }

    #[test]
    fn files_that_do_not_fit_are_refused_by_name() {
        let files = Files::of(&["mcp.example.com"]);
        files.write("key.pem", &Files::of(&["x"]).1.signing_key.serialize_pem());
        let told = format!("{:#}", files.read(&[], FEBRUARY).unwrap_err());
        assert!(
            told.contains("does not belong to the certificate") && told.contains("key.pem"),
            "{told}"
        );
        files.write("key.pem", "no key");
        assert!(format!("{:#}", files.read(&[], FEBRUARY).unwrap_err()).contains("key.pem"));
        files.write("certificate.pem", "");
        assert!(format!("{:#}", files.read(&[], FEBRUARY).unwrap_err()).contains("no certificate"));
    }
}
