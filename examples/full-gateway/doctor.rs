//! Discovery walked from outside, as clients do, so that the line that is wrong gets its name.
//!
//! Clients say "could not connect" whatever it was. This asks what they ask, in their order, with no more than harmless
//! requests: it signs nobody in, registers nothing, and sends a token only where it was given one. What it finds are types
//! ([`problem::Problem`]), each with what to do and whom it stops; text and JSON are made of the same.
//!
//! Everything is bounded: each request in time, each answer in size, the number of requests by what is looked at.

mod authorization_server;
mod certificate;
mod challenge;
mod client;
mod cross_origin;
mod difference;
mod document;
mod endpoint;
mod endpoints;
mod probe;
mod problem;
mod protected_resource;
mod report;
mod session;

use std::time::Duration;

use mcp_oauth_core::secret::Secret;
use rustls::pki_types::CertificateDer;
use url::Url;

use challenge::Challenge;
use probe::{Probe, authority};
use problem::Problem;
use report::{Line, Report, Step};

pub(crate) use client::Client;

/// A certificate with fewer days left is worth a look, unless it is one that never has as many.
const FEW_DAYS: i64 = 14;
const DAY: i64 = 24 * 60 * 60;

/// Clocks that are closer are taken for the same: tokens allow for a minute.
const CLOCKS_APART: i64 = 60;

/// What to examine, and how.
#[derive(Debug)]
pub(crate) struct Examination {
    /// The URL that people put into their client.
    pub(crate) url: Url,
    /// The client that it is about; all of them if `None`.
    pub(crate) client: Option<Client>,
    /// For each request.
    pub(crate) timeout: Duration,
    /// Authorities to trust beside those of this machine.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// An access token for the resource, to look at the session, too.
    pub(crate) token: Option<Secret>,
}

impl Examination {
    /// Walks.
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let mut walk = Walk {
            probe: Probe::new(self.roots, self.timeout)?,
            url: self.url,
            challenge: None,
            lines: Vec::new(),
        };
        let reached = walk.go(self.token.as_ref()).await;
        Ok(Report {
            url: walk.url.to_string(),
            client: self.client,
            lines: walk.lines,
            reached,
        })
    }
}

/// Where the walk is.
#[derive(Debug)]
struct Walk {
    probe: Probe,
    url: Url,
    challenge: Option<Challenge>,
    lines: Vec<Line>,
}

impl Walk {
    /// Goes all the way, or says that there is nobody.
    async fn go(&mut self, token: Option<&Secret>) -> bool {
        if !self.connect().await {
            return false;
        }
        if endpoint::check(self).await {
            self.go_on(token).await;
        }
        self.note_certificates();
        self.note_clocks();
        true
    }

    /// All that comes after the MCP endpoint was found.
    async fn go_on(&mut self, token: Option<&Secret>) {
        if let Some(issuer) = protected_resource::check(self).await
            && let Some(metadata) = authorization_server::check(self, &issuer).await
        {
            endpoints::check(self, &metadata).await;
            cross_origin::check_endpoints(self, &metadata).await;
        }
        cross_origin::check_resource(self).await;
        if let Some(token) = token {
            session::check(self, token).await;
        }
    }

    fn good(&mut self, step: Step, what: impl Into<String>) {
        self.lines.push(Line {
            step,
            outcome: Ok(what.into()),
        });
    }

    /// Notes a problem. One that was seen before is not told twice.
    fn found(&mut self, step: Step, problem: Problem) {
        if !self.lines.iter().any(|line| line.outcome.as_ref() == Err(&problem)) {
            self.lines.push(Line {
                step,
                outcome: Err(problem),
            });
        }
    }

    async fn connect(&mut self) -> bool {
        let url = self.url.clone();
        let loopback = is_loopback(&url);
        if url.scheme() == "http" && !loopback {
            self.found(Step::Connection, Problem::PlainHttp { url: url.to_string() });
        }
        // Some proxies refuse HEAD or OPTIONS; everybody answers a GET of the document that has to be public.
        let mut origin = url.clone();
        origin.set_path("/.well-known/oauth-protected-resource");
        origin.set_query(None);
        match self.probe.get(&origin, &[]).await {
            Ok(_) => {
                self.good(Step::Connection, format!("{} answers", authority(&url)));
                self.note_certificates();
                true
            }
            // One document may be slow or broken, and the rest of the host well.
            Err(problem @ Problem::Timeout { .. }) => match self.probe.get(&url, &[]).await {
                Ok(_) => {
                    self.note_certificates();
                    self.found(Step::ProtectedResourceMetadata, problem);
                    true
                }
                Err(problem) => {
                    self.found(Step::Connection, problem);
                    false
                }
            },
            Err(problem) => {
                self.found(Step::Connection, problem);
                false
            }
        }
    }

    /// Says what certificates have been seen that were not told of yet.
    fn note_certificates(&mut self) {
        for (host, certificate) in self.probe.certificates.take() {
            let days = certificate.left / DAY;
            match certificate.fault {
                Some(fault) => self.found(Step::Connection, Problem::Certificate { host, fault }),
                None if is_short(certificate.age, certificate.left) => {
                    self.found(Step::Connection, Problem::CertificateExpires { host, days });
                }
                None => {
                    let good = format!("the certificate of {host} is good for another {days} days");
                    if !self.lines.iter().any(|line| line.outcome.as_ref() == Ok(&good)) {
                        self.good(Step::Connection, good);
                    }
                }
            }
        }
    }

    fn note_clocks(&mut self) {
        for (host, ahead) in self.probe.clocks.clone() {
            if ahead.abs() > CLOCKS_APART {
                let problem = Problem::ClockDiffers {
                    host,
                    seconds: ahead.unsigned_abs(),
                    behind: ahead < 0,
                };
                self.found(Step::Clock, problem);
            } else {
                self.good(Step::Clock, format!("{host} has the same time as this machine"));
            }
        }
    }
}

/// Whether little of a certificate's life is left: days that are few, and fewer than a fifth of them all.
fn is_short(age: i64, left: i64) -> bool {
    left < FEW_DAYS * DAY && left < (age + left) / 5
}

/// Whether this is a host on this machine, where http is fine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether only machines beside the server find this host: a private address, or a name without a dot.
fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            !name.contains('.')
                || [".internal", ".local", ".localhost", ".lan"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }
        Some(url::Host::Ipv4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified()
        }
        Some(url::Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, is_internal, is_short};

    #[test]
    fn a_certificate_is_short_when_it_should_have_been_renewed() {
        for (age, left, short) in [
            (80, 10, true),
            (60, 30, false),
            (4, 2, false),
            (5, 1, true),
            (350, 15, false),
        ] {
            assert_eq!(is_short(age * DAY, left * DAY), short, "{age} {left}");
        }
    }

    #[test]
    fn names_and_addresses_that_only_neighbours_reach_are_known() {
        for (url, internal) in [
            ("http://gateway:8080/token", true),
            ("http://10.0.0.3/token", true),
            ("http://[fd00::1]/token", true),
            ("http://auth.internal/token", true),
            ("https://auth.example.com/token", false),
            ("https://203.0.113.7/token", false),
        ] {
            assert_eq!(is_internal(&url.parse().unwrap()), internal, "{url}");
        }
    }
}
