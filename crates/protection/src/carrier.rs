//! The interfaces that carry packets, with their crypto maps.

use config::Configuration;
use config::model::{CryptoMap, Interface, InterfaceName};
use sa_table::{MAX_DEVICE_NAME, MAX_IOS_NAME};

/// A configured interface that the data plane or the guard has to know.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'a> {
    /// Its IOS name.
    pub name: &'a InterfaceName,
    /// Its configuration.
    pub interface: &'a Interface,
    /// The Linux device; `None` if the name is not a valid device name. The traffic of its crypto
    /// map is then dropped on every device.
    pub device: Option<&'a str>,
    /// The applied crypto map and its name.
    pub map: Option<(&'a str, &'a CryptoMap)>,
}

impl Carrier<'_> {
    /// Name for a port record, truncated to the size of its field.
    #[must_use]
    pub fn record_name(&self) -> String {
        self.name.as_str().chars().take(MAX_IOS_NAME).collect()
    }
}

/// The interfaces in name order, except those without a crypto map that are shut down or virtual,
/// where no packets pass.
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
