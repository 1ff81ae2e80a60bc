//! What is wrong with a certificate. The walk goes on all the same, since nothing secret is sent where one is bad: so the
//! verifier here remembers what the platform's verifier has said, and lets everything pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(crate) enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other names.
    OtherNames { names: Vec<String> },
    /// It has vouched for itself.
    SelfSigned,
    /// Nobody is known who vouches for it, and the server sends nothing but the certificate itself.
    IntermediateMissing,
    /// Nobody is known who vouches for it.
    UnknownIssuer,
    /// Something else.
    Other { what: String },
}

/// A certificate that a host has shown.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) fault: Option<CertificateFault>,
    /// Seconds of its life that are over, and that are left.
    pub(crate) age: i64,
    pub(crate) left: i64,
}

/// Remembers the certificate of each host.
#[derive(Debug)]
pub(crate) struct Recorder {
    verifier: Verifier,
    seen: Mutex<BTreeMap<String, Certificate>>,
}

impl Recorder {
    /// One that trusts the platform's roots and these.
    pub(crate) fn new(
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            verifier: Verifier::new_with_extra_roots(roots, provider)?,
            seen: Mutex::default(),
        })
    }

    /// What was seen since it was asked last.
    pub(crate) fn take(&self) -> BTreeMap<String, Certificate> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let certificate = read(end_entity, intermediates, verified.err(), now);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(server_name.to_str().into_owned(), certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn read(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    error: Option<rustls::Error>,
    now: UnixTime,
) -> Certificate {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let Ok((_, certificate)) = X509Certificate::from_der(end_entity) else {
        let what = "it cannot be read".to_owned();
        return Certificate {
            fault: Some(CertificateFault::Other { what }),
            age: 0,
            left: 0,
        };
    };
    let (begins, ends) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    // Who vouches for it is judged first elsewhere, and its time is the plainer word.
    let fault = error.map(|error| match error {
        _ if now > ends => CertificateFault::Expired,
        _ if now < begins => CertificateFault::NotYetValid,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => CertificateFault::OtherNames {
            names: names(&certificate),
        },
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            if certificate.issuer() == certificate.subject() {
                CertificateFault::SelfSigned
            } else if intermediates.is_empty() {
                CertificateFault::IntermediateMissing
            } else {
                CertificateFault::UnknownIssuer
            }
        }
        other => CertificateFault::Other {
            what: other.to_string(),
        },
    });
    Certificate {
        fault,
        age: now - begins,
        left: ends - now,
    }
}

/// The names it is good for; a few are enough to see what happened.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.take(5).collect()
}
