//! The configurations of the laboratory are accepted completely, and are equivalent after being
//! saved and read again.

use config::edit::Environment;
use config::file::parse;
use lab::failover::{Hub, Options, branch_configuration, hub_configuration};
use lab::peer::gateway_configuration;

struct NoNames;

impl Environment for NoNames {
    fn resolves(&mut self, _host: &str) -> bool {
        false
    }
}

#[test]
fn every_configuration_of_the_laboratory_is_accepted() {
    let options = Options::default();
    let policy = ["encryption aes 256", "hash sha256", "authentication pre-share", "group 19"];
    for (name, text) in [
        ("branch", branch_configuration(&options)),
        ("hub1", hub_configuration(Hub::One, &options)),
        ("hub2", hub_configuration(Hub::Two, &options)),
        ("hub3", hub_configuration(Hub::Three, &options)),
        ("toward strongSwan", gateway_configuration(&policy, "esp-gcm", &[])),
    ] {
        parse(name, &text, &mut NoNames).unwrap_or_else(|error| panic!("{error}"));
    }
}
