//! General router configuration besides IPsec.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::HashedSecret;

/// `username U …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `privilege N`, 0–15.
    pub privilege: u8,
    /// `secret` or `password`.
    pub secret: Option<HashedSecret>,
}

/// `line …` with its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// `exec-timeout M [S]`.
    pub exec_timeout: Option<(u32, u32)>,
    /// `login local`.
    pub login_local: bool,
    /// Other lines of the mode, stored as entered.
    pub kept: Vec<String>,
}

/// Host name, users, name resolution, logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// `hostname`.
    pub hostname: String,
    /// `service …` lines, stored without an effect.
    pub service: Vec<String>,
    /// `enable secret`.
    pub enable_secret: Option<HashedSecret>,
    /// `username …` by name.
    pub users: BTreeMap<String, User>,
    /// `ip host N A…` by name in lower case.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// `ip name-server`.
    pub name_servers: Vec<IpAddr>,
    /// `ip domain name`.
    pub domain_name: Option<String>,
    /// `ip domain lookup` (on by default).
    pub domain_lookup: bool,
    /// `logging host`.
    pub logging_hosts: Vec<IpAddr>,
    /// Other `logging …` and unclassified lines without an effect, including `no logging console`.
    pub kept: Vec<String>,
    /// `line …` by name: `con 0`, `vty 0 4`.
    pub lines: BTreeMap<String, Line>,
}

impl Default for System {
    fn default() -> Self {
        Self {
            hostname: "Router".into(),
            service: Vec::new(),
            enable_secret: None,
            users: BTreeMap::new(),
            hosts: BTreeMap::new(),
            name_servers: Vec::new(),
            domain_name: None,
            domain_lookup: true,
            logging_hosts: Vec::new(),
            kept: Vec::new(),
            lines: BTreeMap::new(),
        }
    }
}
