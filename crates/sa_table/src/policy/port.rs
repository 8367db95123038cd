//! A data-plane interface as configured.

use core::net::IpAddr;

/// Largest number of local crypto addresses of one port.
pub const MAX_CRYPTO_ADDRESSES: usize = 16;
/// The longest device name in octets (IFNAMSIZ without its terminating zero).
pub const MAX_DEVICE_NAME: usize = 15;
/// The longest IOS interface name in octets.
pub const MAX_IOS_NAME: usize = 63;

/// One data-plane interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRecord {
    /// Number of the port, unique in the blob.
    pub id: u16,
    /// Linux interface index; 0 if the device does not exist yet.
    pub ifindex: u32,
    /// Linux device name, at most [`MAX_DEVICE_NAME`] octets. Empty: the interface has no device,
    /// and its rules are closed on every device.
    pub device: String,
    /// IOS name such as `GigabitEthernet0/0`, at most [`MAX_IOS_NAME`] octets.
    pub ios_name: String,
    /// Largest IP packet in octets.
    pub mtu: u32,
    /// Whether a crypto map is applied to the interface.
    pub has_crypto_map: bool,
    /// Shut down by configuration: its device is guarded and carries no packets.
    pub is_shut: bool,
    /// The rules are closed on every device without this crypto map too
    /// (`crypto map M fail-close`).
    pub fail_close: bool,
    /// Addresses of ours that peers send ESP and IKE to, at most [`MAX_CRYPTO_ADDRESSES`].
    pub crypto_addresses: Vec<IpAddr>,
    /// Index of the rule list of the crypto-map set, `None` without crypto map.
    pub rule_list: Option<u32>,
}
