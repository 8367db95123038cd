//! Global settings of the IKE endpoint from `crypto ikev2 …` and `crypto isakmp nat keepalive`.

use std::time::Duration;

use config::Configuration;
use config::model::Negotiations;
use ike::EndpointConfig;

/// IPv4 and UDP headers before an IKE message.
const HEADERS: usize = 20 + 8;

/// The settings of `configuration`, based on `built_in`. Called for each new configuration.
pub fn endpoint_config(configuration: &Configuration, built_in: &EndpointConfig) -> EndpointConfig {
    let ikev2 = &configuration.ikev2;
    let mut config = built_in.clone();
    if let Some(seconds) = ikev2.nat_keepalive.or(configuration.isakmp.nat_keepalive) {
        config.nat_keepalive = Some(Duration::from_secs(seconds.into()));
    }
    if let Some(count) = ikev2.cookie_challenge {
        config.cookie_threshold = Some(count.into());
    }
    if let Some(mtu) = ikev2.fragmentation {
        config.fragment_size = Some(usize::from(mtu).saturating_sub(HEADERS));
    }
    if let Some(count) = ikev2.limits.max_sa {
        config.max_ike_sas = count.try_into().unwrap_or(usize::MAX);
    }
    config.max_redirects = ikev2.max_redirects.map(u32::from);
    if let Some((count, Negotiations::All | Negotiations::Incoming)) = ikev2.limits.max_in_negotiation {
        config.half_open_limit = count.try_into().unwrap_or(usize::MAX);
        config.half_open_per_source = config.half_open_per_source.min(config.half_open_limit);
    }
    config
}

/// The maximum number of concurrent outgoing negotiations; `None` for no limit.
pub fn outgoing_limit(configuration: &Configuration) -> Option<usize> {
    match configuration.ikev2.limits.max_in_negotiation? {
        (count, Negotiations::All | Negotiations::Outgoing) => count.try_into().ok(),
        (_, Negotiations::Incoming) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::edit::Environment;

    struct NoWorld;

    impl Environment for NoWorld {
        fn resolves(&mut self, _: &str) -> bool {
            true
        }
    }

    fn configuration(text: &str) -> Configuration {
        config::file::parse("test", text, &mut NoWorld).unwrap().configuration
    }

    #[test]
    fn each_line_reaches_the_endpoint() {
        let built_in = EndpointConfig::default();
        let config = endpoint_config(
            &configuration(
                "crypto ikev2 nat keepalive 7\ncrypto ikev2 cookie-challenge 0\ncrypto ikev2 fragmentation mtu 600\n\
                 crypto ikev2 redirect client max-redirects 3\n\
                 crypto ikev2 limit max-sa 50\ncrypto ikev2 limit max-in-negotation-sa 9\n",
            ),
            &built_in,
        );
        assert_eq!(config.nat_keepalive, Some(Duration::from_secs(7)));
        assert_eq!(config.max_redirects, Some(3));
        assert_eq!((config.cookie_threshold, config.fragment_size), (Some(0), Some(572)));
        assert_eq!((config.max_ike_sas, config.half_open_limit, config.half_open_per_source), (50, 9, 9));
    }

    #[test]
    fn without_a_line_the_built_in_setting_stays() {
        let built_in = EndpointConfig::default();
        let config = endpoint_config(&configuration(""), &built_in);
        assert_eq!(config.nat_keepalive, built_in.nat_keepalive);
        assert_eq!(
            (config.cookie_threshold, config.fragment_size),
            (built_in.cookie_threshold, built_in.fragment_size)
        );
        assert_eq!(
            (config.max_ike_sas, config.half_open_limit),
            (built_in.max_ike_sas, built_in.half_open_limit)
        );
        let old = endpoint_config(&configuration("crypto isakmp nat keepalive 11\n"), &built_in);
        assert_eq!(old.nat_keepalive, Some(Duration::from_secs(11)));
    }

    #[test]
    fn negotiations_are_limited_each_way() {
        let limits = |line: &str| {
            let configuration = configuration(&format!("crypto ikev2 limit max-in-negotation-sa {line}\n"));
            let incoming = endpoint_config(&configuration, &EndpointConfig::default()).half_open_limit;
            (incoming, outgoing_limit(&configuration))
        };
        let built_in = EndpointConfig::default().half_open_limit;
        assert_eq!(limits("5"), (5, Some(5)));
        assert_eq!(limits("5 incoming"), (5, None));
        assert_eq!(limits("5 outgoing"), (built_in, Some(5)));
    }
}
