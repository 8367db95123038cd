//! Which interfaces carry packets, and which crypto map each of them has.

use config::Configuration;
use config::model::{CryptoMap, Interface, InterfaceName};
use sa_table::{MAX_DEVICE_NAME, MAX_IOS_NAME};

/// An interface of the configuration that the data plane or the guard has to know.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'a> {
    /// Its IOS name.
    pub name: &'a InterfaceName,
    /// What is configured there.
    pub interface: &'a Interface,
    /// The Linux device that it names; `None` when no device can have that name, which makes its
    /// crypto map closed everywhere.
    pub device: Option<&'a str>,
    /// The crypto map that is applied, by name.
    pub map: Option<(&'a str, &'a CryptoMap)>,
}

impl Carrier<'_> {
    /// Name for a port record, cut to what one holds.
    #[must_use]
    pub fn record_name(&self) -> String {
        self.name.as_str().chars().take(MAX_IOS_NAME).collect()
    }
}

/// The interfaces in the order of their names. Left out is only what has no crypto map and is shut
/// or virtual: no packet passes there.
pub fn carriers(configuration: &Configuration) -> impl Iterator<Item = Carrier<'_>> {
    configuration.interfaces.iter().filter_map(|(name, interface)| {
        let map = interface
            .crypto_map
            .as_ref()
            .and_then(|map| configuration.crypto_maps.get_key_value(map))
            .map(|(map, set)| (map.as_str(), set));
        let device = match &interface.device {
            Some(device) => Some(device.as_str()),
            None => (!name.is_virtual()).then_some(name.as_str()),
        };
        let idle = map.is_none() && (interface.shutdown || device.is_none());
        let device = device.filter(|device| device.len() <= MAX_DEVICE_NAME && !device.contains('/'));
        (!idle).then_some(Carrier { name, interface, device, map })
    })
}
