//! Parses the kernel's list of IPv4 routes, `/proc/net/route` (proc(5)).

use std::net::Ipv4Addr;

/// The routes of the main table in the reader's network namespace, one a line after a header.
pub const PATH: &str = "/proc/net/route";

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoute {
    /// The device.
    pub device: String,
    /// Network address.
    pub destination: Ipv4Addr,
    /// Prefix length.
    pub length: u8,
    /// `None` for a directly connected network.
    pub gateway: Option<Ipv4Addr>,
    /// Metric; lower wins.
    pub metric: u32,
}

/// The routes of a listing; invalid lines are skipped.
pub fn parse(listing: &str) -> impl Iterator<Item = ProcRoute> {
    listing.lines().skip(1).filter_map(route)
}

fn route(line: &str) -> Option<ProcRoute> {
    // The kernel prints an address as a number in host byte order.
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    let mut fields = line.split_ascii_whitespace();
    let device = fields.next()?.to_owned();
    let destination = address(fields.next()?)?;
    let gateway = address(fields.next()?)?;
    let metric = fields.nth(3)?.parse().ok()?;
    let mask = u32::from(address(fields.next()?)?);
    let length = u8::try_from(mask.leading_ones()).ok()?;
    let gateway = (!gateway.is_unspecified()).then_some(gateway);
    Some(ProcRoute { device, destination, length, gateway, metric })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_is_a_route_and_others_are_left_out() {
        let listing = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            inside\t0000010A\t0201A8C0\t0003\t0\t0\t20\t0000FFFF\t0\t0\t0\nno route\n";
        let routes: Vec<ProcRoute> = parse(listing).collect();
        let [route] = routes.as_slice() else { panic!("{routes:?}") };
        assert_eq!((route.destination, route.length), (Ipv4Addr::new(10, 1, 0, 0), 16));
        assert_eq!((route.gateway, route.metric), (Some(Ipv4Addr::new(192, 168, 1, 2)), 20));
    }
}
