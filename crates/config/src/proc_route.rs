//! The kernel's list of IPv4 routes, as proc(5) describes `/proc/net/route`.

use std::net::Ipv4Addr;

/// Where the kernel lists the routes of the main table of the reader's network namespace, one a
/// line after a heading.
pub const PATH: &str = "/proc/net/route";

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcRoute {
    /// The device.
    pub device: String,
    /// Network address.
    pub destination: Ipv4Addr,
    /// Leading one bits of the mask.
    pub length: u8,
    /// None for what is directly connected.
    pub gateway: Option<Ipv4Addr>,
    /// Lower wins.
    pub metric: u32,
}

/// The routes of a listing; lines that are none are left out.
pub fn parse(listing: &str) -> impl Iterator<Item = ProcRoute> {
    listing.lines().skip(1).filter_map(route)
}

fn route(line: &str) -> Option<ProcRoute> {
    // The kernel prints the four bytes of an address in memory order as one number of the machine.
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
