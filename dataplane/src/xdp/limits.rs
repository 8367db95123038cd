//! Reports what does not fit into the kernel's maps and is closed more coarsely, as text for log
//! and status.

use super::classes::split;
use super::coarsen::LIMIT;
use super::policy::KernelPolicy;

/// One line for each list that the guard cannot walk, and for each IP version whose prefixes are
/// joined.
#[must_use]
pub fn limits(policy: &KernelPolicy) -> Vec<String> {
    let (v4, v6) = split(policy.classes.iter().copied());
    let joined = [(4, v4.len()), (6, v6.len())].into_iter().filter(|(_, count)| *count > LIMIT).map(
        |(version, count)| {
            format!(
                "{count} IPv{version} prefixes, the kernel has room for {LIMIT}: neighbouring ones are joined, so that workers get \
                 more packets than any permit matches"
            )
        },
    );
    policy.notes().iter().cloned().chain(joined).collect()
}

#[cfg(test)]
mod tests {
    use sa_table::PolicyId;
    use sa_table::policy::{Action, PortRecord, Prefix, Rule};
    use sa_table::record::PortRange;

    use super::*;

    fn of(rules: u32) -> Vec<String> {
        let host = |n: u32| Prefix { address: std::net::IpAddr::V4(n.into()), length: 32 };
        let rule = |n: u32| Rule {
            source: host(0x0a00_0000 + 2 * n),
            destination: host(1),
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            action: Action::Protect(PolicyId(0)),
        };
        let port = PortRecord {
            ifindex: 10,
            device: "eth1".to_owned(),
            ios_name: "GigabitEthernet0/1".to_owned(),
            has_crypto_map: true,
            rule_list: Some(0),
            ..PortRecord::default()
        };
        let list: Vec<Rule> = (0..rules).map(rule).collect();
        limits(&KernelPolicy::compile(&[port], &[list], &[], |_| None))
    }

    #[test]
    fn what_fits_says_nothing() {
        assert_eq!(of(ebpf_abi::MAX_RULES_PER_PORT), Vec::<String>::new());
    }

    #[test]
    fn a_list_that_is_too_long_is_named_with_its_interface_and_the_limit() {
        let limits = of(ebpf_abi::MAX_RULES_PER_PORT + 1);
        assert!(limits.iter().any(|line| line.starts_with("GigabitEthernet0/1: 8193 rules")), "{limits:?}");
        assert!(limits[0].contains("8192 of a list"), "{limits:?}");
    }

    #[test]
    fn prefixes_that_are_joined_are_said() {
        let limits = of(u32::try_from(LIMIT).unwrap());
        assert!(limits.iter().any(|line| line.starts_with("131073 IPv4 prefixes")), "{limits:?}");
    }
}
