//! IPv4 fragmentation (RFC 791 §3.2), for packets that may be fragmented on the way. IPv6 packets
//! never are.

use af_xdp::{Frame, FramePool};
use wire::{IpSummary, ipv4};

/// Why a packet was not fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotFragment {
    /// IPv6, DF set, or an MTU that does not hold a header and eight octets.
    NotAllowed,
    /// No free frame for a fragment.
    NoFrame,
}

/// Splits an IPv4 packet into fragments of at most `mtu` octets, appended to `fragments` in order.
/// A packet that is a fragment itself is split further. On error nothing is appended.
pub fn split(
    packet: &Frame,
    ip: &IpSummary,
    mtu: usize,
    pool: &mut FramePool,
    fragments: &mut Vec<Frame>,
) -> Result<(), CannotFragment> {
    let bytes = packet.bytes();
    if ip.dont_fragment || !ip.is_ipv4() {
        return Err(CannotFragment::NotAllowed);
    }
    let header = ipv4::Header::parse(bytes).map_err(|_| CannotFragment::NotAllowed)?;
    let mut later_options = [0; ipv4::MAX_HEADER_LEN - ipv4::MIN_HEADER_LEN];
    let later_options = copied_options(header.options, &mut later_options);
    let payload = bytes.get(header.header_len()..).unwrap_or_default();
    let before = fragments.len();
    let mut done = 0;
    while done < payload.len() {
        let options = if done == 0 { header.options } else { later_options };
        let header_len = ipv4::MIN_HEADER_LEN + options.len();
        let room = mtu.saturating_sub(header_len);
        let rest = payload.len() - done;
        // All fragments but the last carry a multiple of eight octets.
        let count = if rest <= room { rest } else { room - room % 8 };
        let piece = payload.get(done..done + count).unwrap_or_default();
        let fragment = ipv4::Header {
            more_fragments: header.more_fragments || done + count < payload.len(),
            fragment_offset: header.fragment_offset + done as u16,
            options,
            payload_len: count,
            ..header
        };
        let built = if count == 0 { Err(CannotFragment::NotAllowed) } else { build(&fragment, piece, pool) };
        match built {
            Ok(frame) => fragments.push(frame),
            Err(error) => {
                fragments.drain(before..).for_each(|frame| pool.put(frame));
                return Err(error);
            }
        }
        done += count;
    }
    Ok(())
}

fn build(header: &ipv4::Header<'_>, payload: &[u8], pool: &mut FramePool) -> Result<Frame, CannotFragment> {
    let mut frame = pool.take().ok_or(CannotFragment::NoFrame)?;
    let mut bytes = [0; ipv4::MAX_HEADER_LEN];
    let written = header.emit(&mut bytes).ok().and_then(|len| bytes.get(..len));
    let appended =
        written.is_some_and(|header| frame.append(header).is_ok()) && frame.append(payload).is_ok();
    if appended {
        Ok(frame)
    } else {
        pool.put(frame);
        Err(CannotFragment::NotAllowed)
    }
}

/// Options to be copied into every fragment: those with the copied flag. The others are in the
/// first fragment only.
fn copied_options<'o>(options: &[u8], out: &'o mut [u8]) -> &'o [u8] {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut rest = options;
    let mut len = 0;
    while let [kind, tail @ ..] = rest {
        let option_len = match *kind {
            END => break,
            NO_OPERATION => 1,
            _ => tail.first().map_or(0, |len| usize::from(*len)),
        };
        let Some(option) = rest.get(..option_len).filter(|option| !option.is_empty()) else { break };
        if kind & COPIED != 0
            && let Some(place) = out.get_mut(len..len + option_len)
        {
            place.copy_from_slice(option);
            len += option_len;
        }
        rest = rest.get(option_len..).unwrap_or_default();
    }
    // The buffer is zeroed, and zero is the end-of-options octet that pads the header.
    out.get(..len.next_multiple_of(4)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use af_xdp::{Backing, MIN_HEADROOM, Umem, UmemConfig};
    use proptest::prelude::*;

    fn umem() -> Umem {
        Umem::new(UmemConfig { frames: 64, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap()
    }

    fn packet(
        pool: &mut FramePool,
        options: &[u8],
        payload: &[u8],
        first_offset: u16,
        more: bool,
    ) -> (Frame, IpSummary) {
        let header = ipv4::Header {
            dont_fragment: false,
            identification: 77,
            options,
            fragment_offset: first_offset,
            more_fragments: more,
            ..ipv4::Header::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, payload.len())
        };
        let mut bytes = vec![0; header.header_len()];
        header.emit(&mut bytes).unwrap();
        let mut frame = pool.take().unwrap();
        frame.append(&bytes).unwrap();
        frame.append(payload).unwrap();
        let ip = wire::parse::ip_at(frame.bytes(), 0).unwrap();
        (frame, ip)
    }

    proptest! {
        #[test]
        fn fragments_fit_and_put_together_again_they_are_the_payload(
            len in 1usize..3000,
            mtu in 68usize..1500,
            first_offset in 0u16..100,
            more in any::<bool>(),
        ) {
            let umem = umem();
            let mut pool = umem.pool(64, 64);
            // The last fragment of several has any length, others a multiple of eight.
            let len = if more { len.next_multiple_of(8) } else { len };
            let payload: Vec<u8> = (0..len).map(|index| (index * 7) as u8).collect();
            let (frame, ip) = packet(&mut pool, &[], &payload, first_offset * 8, more);
            let mut fragments = Vec::new();
            if split(&frame, &ip, mtu, &mut pool, &mut fragments).is_err() {
                prop_assert!(len.div_ceil((mtu - 20) & !7) >= 63);
                prop_assert!(fragments.is_empty());
                return Ok(());
            }
            let mut whole = Vec::new();
            for (number, fragment) in fragments.iter().enumerate() {
                let view = ipv4::Packet::new_checked(fragment.bytes()).unwrap();
                prop_assert!(view.checksum_ok() && view.total_len() <= mtu && view.identification() == 77);
                prop_assert_eq!(usize::from(view.fragment_offset()), usize::from(first_offset) * 8 + whole.len());
                prop_assert_eq!(view.more_fragments(), more || number + 1 < fragments.len());
                whole.extend_from_slice(view.payload());
            }
            prop_assert_eq!(whole, payload);
        }
    }

    #[test]
    fn options_without_the_copied_flag_stand_in_the_first_fragment_only() {
        let umem = umem();
        let mut pool = umem.pool(64, 64);
        // Record route (7, not copied), no-operation, loose source route (131, copied).
        let options = [1, 7, 3, 4, 131, 3, 4, 0];
        let (frame, ip) = packet(&mut pool, &options, &[9; 400], 0, false);
        let mut fragments = Vec::new();
        split(&frame, &ip, 200, &mut pool, &mut fragments).unwrap();
        let options_of =
            |index: usize| ipv4::Packet::new_checked(fragments[index].bytes()).unwrap().options().to_vec();
        assert_eq!(options_of(0), options);
        assert_eq!(options_of(1), [131, 3, 4, 0]);
    }

    #[test]
    fn refused_packets_leave_nothing_behind() {
        let umem = umem();
        let mut pool = umem.pool(64, 64);
        let (frame, mut ip) = packet(&mut pool, &[], &[9; 400], 0, false);
        let mut fragments = Vec::new();
        assert_eq!(split(&frame, &ip, 27, &mut pool, &mut fragments), Err(CannotFragment::NotAllowed));
        ip.dont_fragment = true;
        assert_eq!(split(&frame, &ip, 200, &mut pool, &mut fragments), Err(CannotFragment::NotAllowed));
        ip.dont_fragment = false;
        let hoard: Vec<Frame> = std::iter::from_fn(|| pool.take()).take(62).collect();
        assert_eq!(split(&frame, &ip, 200, &mut pool, &mut fragments), Err(CannotFragment::NoFrame));
        assert!(fragments.is_empty());
        assert_eq!(hoard.len() + 1 + pool.len() + umem.frames_home(), 64);
    }
}
