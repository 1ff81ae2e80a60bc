//! What a reload can change, and what counts from the next start on.

use super::Configuration;

impl Configuration {
    /// Keeps what `running` has of the settings that cannot change while the gateway runs, and names those that were to.
    pub(crate) fn keep_of(&mut self, running: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |name, changed: bool| {
            if changed {
                kept.push(name);
            }
        };
        keep("listen", self.listen != running.listen);
        keep("public_url", self.public_url != running.public_url);
        let tls = |configuration: &Self| {
            (
                configuration.tls.certificate_file.is_some(),
                configuration.tls.redirect_listen,
            )
        };
        // Other files can be read, but there cannot be TLS all of a sudden.
        let tls_differs = tls(self) != tls(running);
        keep("tls", tls_differs);
        keep("redis", self.redis != running.redis);
        keep("signing_algorithm", self.signing_algorithm != running.signing_algorithm);
        keep("signing_key", self.signing_key != running.signing_key);
        keep(
            "key_sealing_secret",
            self.key_sealing_secret != running.key_sealing_secret,
        );
        keep(
            "previous_key_sealing_secrets",
            self.previous_key_sealing_secrets != running.previous_key_sealing_secrets,
        );
        keep("key_lifetime", self.key_lifetime != running.key_lifetime);
        keep("log", self.log != running.log);
        keep("log_format", self.log_format != running.log_format);
        keep("telemetry", self.telemetry != running.telemetry);
        if tls_differs {
            self.tls = running.tls.clone();
        }
        self.listen = running.listen;
        self.public_url.clone_from(&running.public_url);
        self.redis = running.redis.clone();
        self.signing_algorithm = running.signing_algorithm;
        self.signing_key.clone_from(&running.signing_key);
        self.key_sealing_secret.clone_from(&running.key_sealing_secret);
        self.previous_key_sealing_secrets
            .clone_from(&running.previous_key_sealing_secrets);
        self.key_lifetime = running.key_lifetime;
        self.log.clone_from(&running.log);
        self.log_format = running.log_format;
        self.telemetry = running.telemetry.clone();
        kept
    }
}

#[cfg(test)]
mod tests {
    use crate::configuration::tests::read;

    #[test]
    fn what_needs_a_restart_is_kept_and_named_and_the_rest_changes() {
        let running = read("listen = \"127.0.0.1:1\"\nclient_lifetime = 1", &[], &[]).unwrap();
        let toml = "listen = \"127.0.0.1:2\"\nclient_lifetime = 2\nlog = \"debug\"\n[redis]\nurl = \"redis://cache\"";
        let mut read_anew = read(toml, &[], &[]).unwrap();
        assert_eq!(read_anew.keep_of(&running), ["listen", "redis", "log"]);
        assert_eq!(read_anew.listen.port(), 1);
        assert_eq!(read_anew.client_lifetime, 2);
        assert!(read_anew.redis().unwrap().is_none());
        let mut same = read_anew.clone();
        assert!(same.keep_of(&read_anew).is_empty());
    }
}
