//! DNS queries to `ip name-server` or the system's resolvers. Asynchronous and without a cache:
//! addresses and TTLs are kept by [`crate::names`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

use config::model::System;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::names::{Answer, NameError};

/// Timeout of one query to one server; it is sent twice.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for all queries about one name.
const PATIENCE: Duration = Duration::from_secs(9);

/// The configured name servers and domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameService {
    servers: Vec<IpAddr>,
    domain: Option<String>,
    lookup: bool,
}

impl From<&System> for NameService {
    fn from(system: &System) -> Self {
        NameService {
            servers: system.name_servers.clone(),
            domain: system.domain_name.clone(),
            lookup: system.domain_lookup,
        }
    }
}

impl NameService {
    /// Resolves `name`.
    ///
    /// # Errors
    /// If the name does not exist, or no answer arrives within nine seconds.
    pub async fn resolve(&self, name: &str) -> Result<Answer, NameError> {
        if !self.lookup {
            return Err(NameError::Off);
        }
        let resolver = self.resolver()?;
        let asked = async {
            let mut last = NameError::NotFound;
            for question in self.questions(name) {
                match ask(&resolver, question).await {
                    Err(error) => last = error,
                    answer => return answer,
                }
            }
            Err(last)
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(NameError::Timeout))
    }

    /// The names to query in order. A name with a dot is complete; a short one is tried with
    /// `ip domain name` first, then as the system would resolve it.
    fn questions(&self, name: &str) -> Vec<String> {
        let name = name.trim_end_matches('.');
        if name.contains('.') {
            return vec![format!("{name}.")];
        }
        let with_domain = self.domain.as_ref().map(|domain| format!("{name}.{}.", domain.trim_matches('.')));
        let alone = if self.servers.is_empty() { name.to_owned() } else { format!("{name}.") };
        with_domain.into_iter().chain([alone]).collect()
    }

    fn resolver(&self) -> Result<TokioResolver, NameError> {
        let failed = |error: &dyn std::fmt::Display| NameError::Service(error.to_string());
        let (config, mut options) = if self.servers.is_empty() {
            hickory_resolver::system_conf::read_system_conf().map_err(|error| failed(&error))?
        } else {
            let servers = self.servers.iter().map(|server| NameServerConfig::udp_and_tcp(*server)).collect();
            let mut options = ResolverOpts::default();
            options.use_hosts_file = ResolveHosts::Never;
            options.server_ordering_strategy =
                hickory_resolver::config::ServerOrderingStrategy::UserProvidedOrder;
            (ResolverConfig::from_parts(None, Vec::new(), servers), options)
        };
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.cache_size = 0;
        options.num_concurrent_reqs = 1;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| failed(&error))
    }
}

async fn ask(resolver: &TokioResolver, question: String) -> Result<Answer, NameError> {
    match resolver.lookup_ip(question).await {
        Ok(found) => {
            let ttl = found.valid_until().saturating_duration_since(Instant::now());
            // The TTL counts from the arrival of the answer; round up, so that a full TTL is not
            // one second short.
            let ttl = Duration::from_secs(ttl.as_millis().div_ceil(1000).try_into().unwrap_or(0));
            Ok(Answer { addresses: found.iter().collect(), ttl })
        }
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Err(NameError::NotFound),
        Err(hickory_resolver::net::NetError::Timeout) => Err(NameError::Timeout),
        Err(error) => Err(NameError::Service(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(servers: &[&str], domain: Option<&str>) -> NameService {
        NameService {
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            domain: domain.map(str::to_owned),
            lookup: true,
        }
    }

    #[test]
    fn a_short_name_is_completed_and_a_long_one_is_not() {
        let own = service(&["192.0.2.53"], Some("example.net"));
        assert_eq!(own.questions("user1"), ["user1.example.net.", "user1."]);
        assert_eq!(own.questions("b.cisco.com"), ["b.cisco.com."]);
        assert_eq!(service(&[], None).questions("user1"), ["user1"], "the system's search list is used");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn no_ip_domain_lookup_asks_nobody() {
        let off = NameService { lookup: false, ..service(&["192.0.2.53"], None) };
        assert_eq!(off.resolve("b.example").await, Err(NameError::Off));
    }
}
