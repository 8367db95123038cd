//! Show commands about the system: interfaces, routes, clock, users, hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::Configuration;
use config::model::{InterfaceName, NextHop, Prefix};
use config::proc_route;
use config::shell::CommandError;

use crate::plan::{Devices, Peer};
use crate::routes::ReverseRoute;

/// `show users`. All sessions use the local socket and are shown as console sessions.
pub(super) fn users(sessions: usize) -> String {
    let mut text = String::from("    Line       User       Host(s)              Idle       Location\n");
    for number in 0..sessions {
        text.push_str(&format!("   {number} con {number}                 idle                 00:00:00\n"));
    }
    text
}

/// `show interfaces`, `show ip interface`, `show ipv6 interface`: the interfaces that `wanted`
/// selects, or all, with the addresses of one family or of both.
pub(super) fn interfaces(
    configuration: &Configuration,
    devices: &Devices,
    wanted: Option<&InterfaceName>,
    family: impl Fn(&IpAddr) -> bool,
) -> String {
    let mut text = String::new();
    for (name, interface) in &configuration.interfaces {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let device = devices.get(name);
        let up = device.is_some_and(|device| device.up) && !interface.shutdown;
        let status = match (interface.shutdown, up) {
            (true, _) => "administratively down",
            (false, true) => "up",
            (false, false) => "down",
        };
        let protocol = if up { "up" } else { "down" };
        text.push_str(&format!("{name} is {status}, line protocol is {protocol}\n"));
        text.push_str(&format!("  Device is {}\n", interface.device_name(name)));
        let Some(device) = device else { continue };
        for address in device.addresses.iter().filter(|address| family(address)) {
            let configured = interface.addresses.iter().find(|line| line.address == *address);
            let length = configured.map_or_else(String::new, |line| format!("/{}", line.length));
            text.push_str(&format!("  Internet address is {address}{length}\n"));
        }
        text.push_str(&format!("  MTU is {} bytes\n", device.mtu));
    }
    if text.is_empty() { "No such interface is configured\n".to_owned() } else { text }
}

/// `show ip route`: the kernel's IPv4 routes with their origin.
///
/// # Errors
/// If the kernel's list cannot be read.
pub(super) fn ip_route<'a>(
    configuration: &Configuration,
    reverse: impl Iterator<Item = &'a ReverseRoute>,
) -> Result<String, CommandError> {
    let listing = std::fs::read_to_string(proc_route::PATH).map_err(|error| {
        CommandError::Failed(format!("Reading the kernel's routes ({}): {error}", proc_route::PATH))
    })?;
    let reverse: Vec<Prefix> = reverse.map(|route| route.prefix).collect();
    Ok(routes(&listing, configuration, &reverse))
}

fn routes(listing: &str, configuration: &Configuration, reverse: &[Prefix]) -> String {
    let mut text = String::from(
        "Codes: C - connected, S - static, R - reverse route of a tunnel, K - other route of the kernel\n\n",
    );
    for route in proc_route::parse(listing) {
        let prefix = IpAddr::V4(route.destination);
        let same = |other: &Prefix| other.address == prefix && other.length == route.length;
        let is_static = configuration.routes.iter().any(|line| {
            same(&line.prefix)
                && match &line.next_hop {
                    NextHop::Address(gateway) => Some(*gateway) == route.gateway.map(IpAddr::V4),
                    NextHop::Interface(_) => route.gateway.is_none(),
                }
        });
        let code = match route.gateway {
            _ if is_static => 'S',
            _ if reverse.iter().any(same) => 'R',
            None => 'C',
            Some(_) => 'K',
        };
        let star = if route.length == 0 { '*' } else { ' ' };
        let way = match route.gateway {
            Some(gateway) => format!("[{}] via {gateway}, {}", route.metric, route.device),
            None => format!("is directly connected, {}", route.device),
        };
        text.push_str(&format!("{code}{star}    {prefix}/{} {way}\n", route.length));
    }
    text
}

/// `show ip interface brief`.
pub(super) fn interfaces_brief(configuration: &Configuration, devices: &Devices) -> String {
    let mut text =
        String::from("Interface              IP-Address      OK? Method Status                Protocol\n");
    for (name, interface) in &configuration.interfaces {
        let device = devices.get(name);
        let address = device
            .and_then(|device| device.addresses.iter().find(|address| address.is_ipv4()))
            .map_or_else(|| "unassigned".to_owned(), ToString::to_string);
        let up = device.is_some_and(|device| device.up);
        let status = match (interface.shutdown, up) {
            (true, _) => "administratively down",
            (false, true) => "up",
            (false, false) => "down",
        };
        let method = if interface.dhcp { "DHCP" } else { "NVRAM" };
        let protocol = if up && !interface.shutdown { "up" } else { "down" };
        text.push_str(&format!(
            "{:<22} {address:<15} YES {method:<6} {status:<21} {protocol}\n",
            name.as_str()
        ));
    }
    text
}

/// `show hosts`.
pub(super) fn hosts<'a>(
    configuration: &Configuration,
    names: impl Iterator<Item = (&'a Peer, Vec<IpAddr>, bool)>,
) -> String {
    let system = &configuration.system;
    let lookup = match (system.domain_lookup, system.name_servers.as_slice()) {
        (false, _) => "is switched off".to_owned(),
        (true, []) => "asks the servers of the system".to_owned(),
        (true, servers) => format!("asks {}", join(servers)),
    };
    let mut text = format!(
        "Default domain is {}\nName service {lookup}\n\nHost                      Flags        Addresses\n",
        system.domain_name.as_deref().unwrap_or("not set"),
    );
    for (name, addresses) in &system.hosts {
        text.push_str(&format!("{name:<25} perm         {}\n", join(addresses)));
    }
    for (peer, addresses, fresh) in names {
        let flags = match (peer, fresh) {
            (Peer::Fixed(_), _) => "temp, fixed",
            (_, true) => "temp",
            (_, false) => "temp, stale",
        };
        text.push_str(&format!("{:<25} {flags:<12} {}\n", peer.to_string(), join(&addresses)));
    }
    text
}

fn join(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// `*18:04:05.123 UTC Mon Nov 23 2026`; the arithmetic is that of the proleptic Gregorian calendar.
pub(super) fn clock(time: std::time::SystemTime) -> String {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (weekday, date) = date(seconds);
    format!("*{}.{milliseconds:03} UTC {weekday} {date}\n", time_of_day(seconds))
}

/// A time as IOS prints the validity of certificates; the argument is seconds since 1970.
pub(crate) fn utc(seconds: u64) -> String {
    format!("{} UTC {}", time_of_day(seconds), date(seconds).1)
}

fn time_of_day(seconds: u64) -> String {
    let second = seconds % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Day of the week, and `Jan 2 2006`.
fn date(seconds: u64) -> (&'static str, String) {
    let days = seconds / 86_400;
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let month = MONTHS[(month as usize).saturating_sub(1) % 12];
    (DAYS[(days % 7) as usize], format!("{month} {day} {year}"))
}

/// Match counts by access list and line number, from the data plane's status.
pub(super) fn matches(status: &serde_json::Value) -> BTreeMap<(String, u32), u64> {
    let lines = status["access_lists"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |line: &serde_json::Value| {
        let number = u32::try_from(line["line"].as_u64()?).ok()?;
        Some(((line["list"].as_str()?.to_owned(), number), line["matches"].as_u64()?))
    };
    lines.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use config::edit::Offline;

    #[test]
    fn matches_are_read_from_the_status_of_the_data_plane() {
        let status = serde_json::json!({"access_lists": [
            {"list": "120", "line": 10, "matches": 3},
            {"list": "F", "line": 25, "matches": 1},
            {"list": "broken"},
        ]});
        let expected = BTreeMap::from([(("120".to_owned(), 10), 3), (("F".to_owned(), 25), 1)]);
        assert_eq!(matches(&status), expected);
        assert_eq!(matches(&serde_json::json!({})), BTreeMap::new());
    }

    #[test]
    fn the_clock_knows_the_calendar() {
        let at = |seconds| clock(std::time::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "*00:00:00.000 UTC Thu Jan 1 1970\n");
        assert_eq!(at(951_782_400), "*00:00:00.000 UTC Tue Feb 29 2000\n");
        assert_eq!(at(1_795_462_496), "*19:34:56.000 UTC Mon Nov 23 2026\n");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn routes_are_shown_with_their_origin() {
        let listing = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            outside\t00000000\t0109090A\t0003\t0\t0\t1\t00000000\t0\t0\t0\n\
            outside\t0009090A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            outside\t0002A8C0\t0109090A\t0003\t0\t0\t1\t00FFFFFF\t0\t0\t0\n\
            inside\t0000010A\t0201A8C0\t0003\t0\t0\t20\t0000FFFF\t0\t0\t0\n";
        let configuration =
            config::file::parse("test", "ip route 0.0.0.0 0.0.0.0 10.9.9.1\n", &mut Offline).unwrap();
        let reverse = [Prefix { address: "192.168.2.0".parse().unwrap(), length: 24 }];
        let text = routes(listing, &configuration.configuration, &reverse);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "S*    0.0.0.0/0 [1] via 10.9.9.1, outside",
                "C     10.9.9.0/24 is directly connected, outside",
                "R     192.168.2.0/24 [1] via 10.9.9.1, outside",
                "K     10.1.0.0/16 [20] via 192.168.1.2, inside",
            ]
        );
    }
}
