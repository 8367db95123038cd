//! Crypto maps whose traffic is dropped because no SA can be set up where they are applied.

use config::Configuration;
use config::model::InterfaceName;
use protection::{carriers, unapplied};

use crate::plan::Devices;

/// A crypto map whose traffic is dropped on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClosedMap {
    /// The crypto map.
    pub(super) map: String,
    /// Where it is applied; `None` if it is applied nowhere.
    pub(super) interface: Option<InterfaceName>,
    /// The reason, and where its traffic is dropped.
    pub(super) why: String,
}

/// All of them, in interface order.
pub(super) fn closed_maps(configuration: &Configuration, devices: &Devices) -> Vec<ClosedMap> {
    let applied = carriers(configuration).filter_map(|carrier| {
        let (map, _) = carrier.map?;
        let name = carrier.name;
        let is_there = devices.get(name).is_some_and(|device| device.ifindex != 0);
        let why = match carrier.device {
            None => format!("interface {name} has no device (type \"device NAME\" there): what it protects is dropped on every device"),
            Some(device) if !is_there => {
                format!("device {device} of interface {name} is not there: what it protects is dropped on every device")
            }
            Some(device) if carrier.interface.shutdown => {
                format!("interface {name} is shut down: what it protects is dropped on device {device}")
            }
            Some(_) => return None,
        };
        Some(ClosedMap { map: map.to_owned(), interface: Some(name.clone()), why })
    });
    let unapplied = unapplied(configuration).map(|(map, _)| ClosedMap {
        map: map.to_owned(),
        interface: None,
        why: "no interface has it, and it says fail-close: what it protects is dropped on every device"
            .to_owned(),
    });
    applied.chain(unapplied).collect()
}

/// Why the traffic of an entry is dropped: for an entry on an interface, the state there; otherwise
/// the state of its map on any interface.
pub(super) fn closed_because(
    closed: &[ClosedMap],
    map: &str,
    interface: Option<&InterfaceName>,
) -> Vec<String> {
    let here =
        |one: &&ClosedMap| one.map == map && (interface.is_none() || one.interface.as_ref() == interface);
    closed.iter().filter(here).map(|one| one.why.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Device;
    use config::edit::Offline;

    const MAP: &str = "crypto ipsec transform-set T esp-aes esp-sha-hmac
access-list 101 permit ip 10.0.0.0 0.255.255.255 any
crypto map M 1 ipsec-isakmp
 set peer 192.0.2.1
 set transform-set T
 match address 101
";

    fn closed(lines: &str, devices: &[(&str, u32)]) -> Vec<String> {
        let configuration =
            config::file::parse("test", &format!("{MAP}{lines}"), &mut Offline).unwrap().configuration;
        let devices = devices
            .iter()
            .map(|(name, ifindex)| {
                (InterfaceName::parse(name).unwrap(), Device { ifindex: *ifindex, ..Device::default() })
            })
            .collect();
        closed_maps(&configuration, &devices).into_iter().map(|one| one.why).collect()
    }

    #[test]
    fn what_cannot_seal_is_named_with_the_place_where_it_drops() {
        let port = "interface GigabitEthernet0/1\n device outside\n crypto map M\n";
        assert_eq!(closed(port, &[("GigabitEthernet0/1", 3)]), Vec::<String>::new());
        assert!(closed(port, &[])[0].contains("device outside of interface GigabitEthernet0/1 is not there"));
        let shut = closed(&format!("{port} shutdown\n"), &[("GigabitEthernet0/1", 3)]);
        assert!(shut[0].contains("is shut down: what it protects is dropped on device outside"), "{shut:?}");
        let dialer = closed("interface Dialer1\n crypto map M\n", &[]);
        assert!(
            dialer[0].contains("Dialer1 has no device") && dialer[0].contains("on every device"),
            "{dialer:?}"
        );
        assert_eq!(closed("", &[]), Vec::<String>::new(), "applied nowhere, as on IOS");
        assert!(closed("crypto map M fail-close\n", &[])[0].contains("fail-close"));
    }
}
