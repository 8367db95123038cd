//! A case: the peer implementation, both configurations, and the expected results.

use std::fmt;

use lab::Result;
use lab::peer::{KEY, Release};

use crate::bench::Bench;

/// The initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// Our first packet.
    Tohub,
    /// `swanctl --initiate`, or libreswan's `whack --initiate`.
    Stranger,
}

/// Both, in the order of the table.
pub const BOTH: [Initiator; 2] = [Initiator::Tohub, Initiator::Stranger];
/// Both releases of strongSwan.
pub const RELEASES: [Release; 2] = [Release::Five, Release::Six];

/// The peer implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opposite {
    /// strongSwan in a namespace, ESP in user space.
    Namespace(Release),
    /// strongSwan 6 in a virtual machine, ESP by its kernel.
    StrongSwanOnKernel,
    /// libreswan in a virtual machine, ESP by its kernel.
    LibreswanOnKernel,
}

impl fmt::Display for Opposite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace(Release::Five) => "strongSwan 5",
            Self::Namespace(Release::Six) => "strongSwan 6",
            Self::StrongSwanOnKernel => "strongSwan 6, kernel",
            Self::LibreswanOnKernel => "libreswan, kernel",
        })
    }
}

/// Position of the NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// No NAT.
    None,
    /// In front of tohub.
    Ours,
    /// In front of the peer.
    Theirs,
}

/// Expected form of ESP on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Protocol 50.
    Plain,
    /// In UDP, port 4500.
    Udp,
    /// None: there must be no SA.
    Nothing,
}

/// The parts of our configuration that cases vary.
#[derive(Debug, Clone)]
pub struct Ours {
    /// Global lines about IKE: policies or proposals, keys, profile.
    pub ike: String,
    /// Algorithms of the transform set `ts`.
    pub transform: String,
    /// Lines of the transform set.
    pub set: String,
    /// Further lines of the crypto map entry.
    pub entry: String,
    /// Permits of access list 101.
    pub permits: Vec<String>,
    /// `crypto isakmp keepalive` operands.
    pub keepalive: String,
    /// Divides every timer of our control plane.
    pub scale: u32,
}

impl Default for Ours {
    fn default() -> Self {
        Self {
            ike: isakmp("aes 256", "sha256", 19),
            transform: "esp-gcm".to_owned(),
            set: " mode tunnel\n".to_owned(),
            entry: String::new(),
            permits: vec!["ip 192.168.1.0 0.0.0.255 10.2.0.0 0.0.255.255".to_owned()],
            keepalive: "10 2 periodic".to_owned(),
            scale: 1,
        }
    }
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Description.
    pub title: String,
    /// The peer implementation.
    pub opposite: Opposite,
    /// The initiator.
    pub initiator: Initiator,
    /// Complete configurations, ours (without interfaces) and the peer's, which replace the other
    /// fields.
    pub verbatim: Option<(String, String)>,
    /// Template of `tests/peers/conf`.
    pub template: &'static str,
    /// `KEY=VALUE` for the template, beside addresses and networks.
    pub settings: Vec<String>,
    /// Our configuration.
    pub ours: Ours,
    /// Certificates: the key type, as an argument of `make-pki.sh`.
    pub pki: Option<&'static str>,
    /// Transport mode between the two ends themselves, instead of a tunnel between the hosts behind
    /// them.
    pub transport: bool,
    /// Position of the NAT.
    pub nat: Nat,
    /// Expected form of ESP.
    pub wire: Wire,
    /// Must be in our `show crypto ikev2 sa detailed` or `show crypto ipsec sa`.
    pub we_show: Vec<String>,
    /// Must be in the peer's list of SAs.
    pub they_show: Vec<String>,
    /// The steps, after the start of both ends.
    pub play: fn(&mut Bench) -> Result<()>,
    /// Whether it takes long: long cases are started first.
    pub long: bool,
}

impl Case {
    /// AES-128-GCM under AES-256-CBC, HMAC-SHA-256 and group 19, with pre-shared keys, ten pings.
    pub fn new(title: impl Into<String>, opposite: Opposite, initiator: Initiator) -> Self {
        let wire = if opposite == Opposite::Namespace(Release::Five) { Wire::Udp } else { Wire::Plain };
        Self {
            title: title.into(),
            opposite,
            initiator,
            verbatim: None,
            template: "ikev2-psk",
            settings: vec!["IKE=aes256-sha256-ecp256".to_owned(), "ESP=aes128gcm16".to_owned()],
            ours: Ours::default(),
            pki: None,
            transport: false,
            nat: Nat::None,
            wire,
            we_show: vec!["READY".to_owned()],
            they_show: vec!["ESTABLISHED".to_owned(), "INSTALLED".to_owned()],
            play: crate::plays::tunnel,
            long: false,
        }
    }

    /// Further settings of the template.
    pub fn with(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().map(|&setting| setting.to_owned()));
        self
    }

    /// Adds expected texts in the output of both ends.
    pub fn showing(mut self, ours: &[&str], theirs: &[&str]) -> Self {
        self.we_show.extend(ours.iter().map(|&text| text.to_owned()));
        self.they_show.extend(theirs.iter().map(|&text| text.to_owned()));
        self
    }

    /// In transport mode, between the two ends themselves. `set` is the line of our transform set.
    pub fn in_transport_mode(mut self, set: &str) -> Self {
        self.transport = true;
        self.ours.set = set.to_owned();
        self.ours.permits = vec!["ip host 192.0.2.1 host 192.0.2.2".to_owned()];
        self.with(&["MODE=transport", "LOCAL_TS=192.0.2.2/32", "REMOTE_TS=192.0.2.1/32"])
    }

    /// Whether we offer extended sequence numbers.
    pub fn esn(&self) -> bool {
        self.ours.set.contains(" esn\n")
    }

    /// Sets the steps.
    pub fn playing(mut self, play: fn(&mut Bench) -> Result<()>) -> Self {
        self.play = play;
        self
    }

    /// The name by which a case is selected and reported.
    pub fn name(&self) -> String {
        match self.initiator {
            Initiator::Tohub => format!("tohub → {}: {}", self.opposite, self.title),
            Initiator::Stranger => format!("{} → tohub: {}", self.opposite, self.title),
        }
    }
}

/// An IKE policy of the old form, with the key for the peer.
pub fn isakmp(encryption: &str, hash: &str, group: u16) -> String {
    format!(
        "crypto isakmp policy 10\n encryption {encryption}\n hash {hash}\n authentication pre-share\n group {group}\n\
         crypto isakmp key {KEY} address 192.0.2.2\n"
    )
}

/// An IKEv2 profile `strangers` with its proposal (lines without indentation) and keyring. The
/// entry must name it.
pub fn profile(proposal: &[&str], lines: &[&str]) -> String {
    let indented = |lines: &[&str]| lines.iter().map(|line| format!(" {line}\n")).collect::<String>();
    format!(
        "crypto ikev2 proposal strangers\n{}crypto ikev2 policy strangers\n proposal strangers\n\
         crypto ikev2 keyring strangers\n peer stranger\n  address 192.0.2.2\n  pre-shared-key {KEY}\n\
         crypto ikev2 profile strangers\n match identity remote address 192.0.2.2\n \
         authentication remote pre-share\n authentication local pre-share\n keyring local strangers\n{}",
        indented(proposal),
        indented(lines)
    )
}

/// The entry line that goes with [`profile`].
pub const WITH_PROFILE: &str = " set ikev2-profile strangers\n";
