//! Until when certificates are good.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use mcp_oauth_core::clock::{Clock as _, SystemClock, UnixTime};
use reqwest::Client;
use reqwest::tls::TlsInfo;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::commands::output::moment;

/// All certificates in a PEM file.
pub(super) fn of_file(file: &Path, days: u32) -> anyhow::Result<String> {
    let failed = || format!("cannot read {}", file.display());
    let pem = std::fs::read(file).with_context(failed)?;
    let ends = Pem::iter_from_buffer(&pem).map(|part| {
        let part = part.with_context(failed)?;
        end(&part.contents).with_context(failed)
    });
    let ends = ends.collect::<anyhow::Result<Vec<_>>>()?;
    let first = ends.into_iter().min();
    judged(
        first.with_context(|| format!("there is no certificate in {}", file.display()))?,
        days,
    )
}

/// The certificate at an address, which the client has found to be trusted and of that name.
pub(super) async fn at(client: &Client, url: &str, days: u32) -> anyhow::Result<String> {
    let response = client.get(url).send().await?;
    if !url.starts_with("https://") {
        return Ok("it answers, without a certificate".to_owned());
    }
    let tls = response.extensions().get::<TlsInfo>();
    let certificate = tls
        .and_then(TlsInfo::peer_certificate)
        .context("there is no certificate")?;
    judged(end(certificate)?, days)
}

fn end(der: &[u8]) -> anyhow::Result<UnixTime> {
    let (_, certificate) = X509Certificate::from_der(der).context("this is no certificate")?;
    let seconds = certificate.validity().not_after.timestamp();
    Ok(UnixTime::from_seconds(u64::try_from(seconds).unwrap_or_default()))
}

fn judged(end: UnixTime, days: u32) -> anyhow::Result<String> {
    let needed = SystemClock.now() + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    let until = moment(end);
    anyhow::ensure!(end >= needed, "good until {until}, which is less than {days} days");
    Ok(format!("good until {until}"))
}
