//! Traffic Selector payloads (RFC 7296 §3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ParseError;
use super::reader::Reader;
use crate::selector::TrafficSelector;

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;

/// Reads the body of a TS payload. Selectors of an unknown type are left out, since narrowing to
/// the others is what a responder that does not know them does anyway; malformed ones are an error.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<TrafficSelector>, ParseError> {
    const WHAT: &str = "a traffic selector payload";
    let mut reader = Reader::new(body, WHAT);
    let count = reader.u8()?;
    reader.take(3)?;
    let mut selectors = Vec::new();
    for _ in 0..count {
        let (ts_type, protocol, length) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let content = reader.take(usize::from(length).checked_sub(4).ok_or(ParseError::Length(WHAT))?)?;
        let mut content = Reader::new(content, WHAT);
        let selector = match ts_type {
            TS_IPV4_ADDR_RANGE => TrafficSelector {
                protocol,
                start_port: content.u16()?,
                end_port: content.u16()?,
                start: IpAddr::V4(Ipv4Addr::from(content.array::<4>()?)),
                end: IpAddr::V4(Ipv4Addr::from(content.array::<4>()?)),
            },
            TS_IPV6_ADDR_RANGE => TrafficSelector {
                protocol,
                start_port: content.u16()?,
                end_port: content.u16()?,
                start: IpAddr::V6(Ipv6Addr::from(content.array::<16>()?)),
                end: IpAddr::V6(Ipv6Addr::from(content.array::<16>()?)),
            },
            _ => continue,
        };
        if !content.is_empty() || !selector.is_valid() {
            return Err(ParseError::Value(WHAT));
        }
        selectors.push(selector);
    }
    if !reader.is_empty() {
        return Err(ParseError::Length(WHAT));
    }
    Ok(selectors)
}

/// The body of a TS payload. At most 255 selectors fit; the rest would be lost, so the
/// configuration is limited to that.
pub(crate) fn encode(selectors: &[TrafficSelector]) -> Vec<u8> {
    let selectors = selectors.get(..255).unwrap_or(selectors);
    let mut body = vec![selectors.len() as u8, 0, 0, 0];
    for selector in selectors {
        let (ts_type, length) =
            if selector.start.is_ipv4() { (TS_IPV4_ADDR_RANGE, 16) } else { (TS_IPV6_ADDR_RANGE, 40) };
        body.extend([ts_type, selector.protocol, 0, length]);
        body.extend(selector.start_port.to_be_bytes());
        body.extend(selector.end_port.to_be_bytes());
        for address in [selector.start, selector.end] {
            match address {
                IpAddr::V4(address) => body.extend(address.octets()),
                IpAddr::V6(address) => body.extend(address.octets()),
            }
        }
    }
    body
}
