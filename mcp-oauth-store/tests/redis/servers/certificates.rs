//! A certificate for a server on loopback, and the authority that has signed it.

#![cfg(feature = "redis-tls")]

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Writes `server.crt` and `server.key` into a directory, and gives the authority's certificate, all in PEM.
pub(crate) fn issue(directory: &Path) -> String {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&server_key, &issuer).unwrap();
    std::fs::write(directory.join("server.crt"), certificate.pem()).unwrap();
    std::fs::write(directory.join("server.key"), server_key.serialize_pem()).unwrap();
    authority_certificate.pem()
}
