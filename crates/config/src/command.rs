//! Exec and show commands after parsing, as requests to the control plane.

use std::net::IpAddr;

use crate::model::InterfaceName;

/// Selects the entries that a crypto show command prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `interface I`.
    pub interface: Option<InterfaceName>,
    /// `map M` or `tag M`.
    pub map: Option<String>,
    /// `peer A` or `remote A`.
    pub remote: Option<IpAddr>,
    /// `local A`.
    pub local: Option<IpAddr>,
}

/// A `show …` command that the owner of the state executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShowCommand {
    /// `show crypto map [interface I | tag M]`.
    CryptoMap(Filter),
    /// `show crypto dynamic-map [tag M]`.
    CryptoDynamicMap(Option<String>),
    /// `show crypto session [detail] [brief] [local A] [remote A] [interface I]`.
    CryptoSession {
        /// `detail`.
        detail: bool,
        /// `brief`.
        brief: bool,
        /// Which sessions.
        filter: Filter,
    },
    /// `show crypto ipsec sa [detail] [peer A | map M | interface I]`.
    CryptoIpsecSa {
        /// `detail`.
        detail: bool,
        /// Which SAs.
        filter: Filter,
    },
    /// `show crypto ipsec sa count`.
    CryptoIpsecSaCount,
    /// `show crypto ipsec transform-set [T]`.
    CryptoIpsecTransformSet(Option<String>),
    /// `show crypto ipsec security-association`.
    CryptoIpsecLifetime,
    /// `show crypto isakmp sa [detail]`.
    CryptoIsakmpSa {
        /// `detail`.
        detail: bool,
    },
    /// `show crypto isakmp policy`.
    CryptoIsakmpPolicy,
    /// `show crypto isakmp key`.
    CryptoIsakmpKey,
    /// `show crypto isakmp peers`.
    CryptoIsakmpPeers,
    /// `show crypto ikev2 sa [detailed] [local A | remote A]`.
    CryptoIkev2Sa {
        /// `detailed`.
        detail: bool,
        /// Which SAs.
        filter: Filter,
    },
    /// `show crypto ikev2 proposal`.
    CryptoIkev2Proposal,
    /// `show crypto ikev2 policy`.
    CryptoIkev2Policy,
    /// `show crypto ikev2 profile`.
    CryptoIkev2Profile,
    /// `show crypto ikev2 stats`.
    CryptoIkev2Stats,
    /// `show crypto pki certificates [T]`.
    CryptoPkiCertificates(Option<String>),
    /// `show crypto pki trustpoints [T]`.
    CryptoPkiTrustpoints(Option<String>),
    /// `show crypto engine connections active`.
    CryptoEngineConnections,
    /// `show access-lists [N]`.
    AccessLists(Option<String>),
    /// `show running-config`; secrets are masked.
    RunningConfig,
    /// `show startup-config`.
    StartupConfig,
    /// `show version`.
    Version,
    /// `show clock`.
    Clock,
    /// `show users`.
    Users,
    /// `show hosts`.
    Hosts,
    /// `show logging`.
    Logging,
    /// `show ip route`.
    IpRoute,
    /// `show ip interface brief`.
    IpInterfaceBrief,
    /// `show ip interface [I]`.
    IpInterface(Option<InterfaceName>),
    /// `show ipv6 interface [I]`.
    Ipv6Interface(Option<InterfaceName>),
    /// `show interfaces [I]`.
    Interfaces(Option<InterfaceName>),
    /// `show tohub peers [json]`.
    TohubPeers,
    /// `show tohub history [json]`.
    TohubHistory,
    /// `show tohub dataplane [json]`.
    TohubDataplane,
    /// `show tohub unsupported`.
    TohubUnsupported,
}

/// Which SAs a `clear` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClearCommand {
    /// `clear crypto sa`: all IPsec SAs; IKE SAs stay.
    AllSas,
    /// `clear crypto sa peer {A | name}`.
    SasOfPeer(String),
    /// `clear crypto sa map M`.
    SasOfMap(String),
    /// `clear crypto sa {entry|spi} A {esp|ah} SPI`.
    SaBySpi {
        /// Destination of the SA.
        destination: IpAddr,
        /// Its SPI.
        spi: u32,
    },
    /// `clear crypto sa counters`.
    SaCounters,
    /// `clear crypto isakmp [id]`.
    Isakmp(Option<u32>),
    /// `clear crypto ikev2 sa [local A | remote A]`.
    Ikev2Sas(Filter),
    /// `clear crypto session [local A] [remote A]`: IKE and IPsec SAs.
    Sessions(Filter),
    /// `clear access-list counters [N]`.
    AccessListCounters(Option<String>),
    /// `clear logging`.
    Logging,
}

/// The topics of `debug crypto …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugTopic {
    /// `isakmp`.
    Isakmp,
    /// `ipsec`.
    Ipsec,
    /// `ikev2`.
    Ikev2,
    /// `engine`.
    Engine,
}

/// An exec command that the owner of the state executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecCommand {
    /// `clear …`.
    Clear(ClearCommand),
    /// `write memory`, `copy running-config startup-config`.
    SaveConfiguration,
    /// `write erase`, `erase startup-config`.
    EraseStartup,
    /// `reload`.
    Reload,
    /// `ping H [source S] [repeat N] [size N]`.
    Ping {
        /// Address or name.
        target: String,
        /// Source address or interface.
        source: Option<String>,
        /// Number of packets, default 5.
        repeat: u32,
        /// Packet size in bytes, default 100.
        size: u16,
    },
    /// `traceroute H [source S]`.
    Traceroute {
        /// Address or name.
        target: String,
        /// Source address or interface.
        source: Option<String>,
    },
    /// `debug crypto T` and, with `on` false, its negation.
    Debug {
        /// The topic.
        topic: DebugTopic,
        /// On or off.
        on: bool,
    },
    /// `undebug all`.
    UndebugAll,
    /// `terminal monitor` and its negation.
    TerminalMonitor(bool),
}
