use super::*;
use crate::frame::Frame;
use crate::umem::{Backing, MIN_HEADROOM, UmemConfig};

const RING: u32 = 8;

fn umem(frames: u32) -> Umem {
    Umem::new(UmemConfig { frames, headroom: MIN_HEADROOM, backing: Backing::Heap }).unwrap()
}

#[test]
fn a_frame_received_on_one_port_leaves_changed_on_another_without_a_copy() {
    let umem = umem(64);
    let mut pool = umem.pool(16, 64);
    let (mut inside, mut inside_kernel) = socket(&umem, "inside", 0, RING).unwrap();
    let (mut outside, mut outside_kernel) = socket(&umem, "outside", 0, RING).unwrap();
    inside.refill(&mut pool);
    assert!(inside_kernel.deliver(b"packet"));
    let mut burst = Vec::new();
    assert_eq!(inside.receive(&mut burst, 32), 1);
    let frame = &mut burst[0];
    let index = frame.index();
    frame.grow_front(6).unwrap();
    frame.bytes_mut()[..6].copy_from_slice(b"outer ");
    frame.append(b" icv").unwrap();
    assert_eq!(outside.send(&mut burst), 1);
    let mut seen = None;
    outside_kernel.transmit(|packet| seen = Some((packet.to_vec(), packet.as_ptr())));
    let (packet, address) = seen.unwrap();
    assert_eq!(packet, b"outer packet icv");
    assert_eq!(outside.complete(&mut pool), 1);
    let frame = std::iter::from_fn(|| pool.take()).find(|frame| frame.index() == index).unwrap();
    assert_eq!(frame.buffer()[250..].as_ptr(), address, "sent from the very frame it arrived in");
}

#[test]
fn no_frame_is_lost_over_many_bursts_with_full_rings() {
    let umem = umem(40);
    let mut pool = umem.pool(4, 40);
    let (mut socket, mut kernel) = socket(&umem, "port", 0, RING).unwrap();
    let mut burst = Vec::with_capacity(64);
    let mut delivered = 0u32;
    let mut transmitted = 0u32;
    for round in 0..1000u32 {
        socket.refill(&mut pool);
        for packet in 0..round % 13 {
            delivered += u32::from(kernel.deliver(&[packet as u8 + 1; 60]));
        }
        socket.receive(&mut burst, 5);
        socket.send(&mut burst);
        if round % 3 == 0 {
            transmitted += kernel.transmit(|packet| assert_eq!(packet.len(), 60));
        }
        socket.complete(&mut pool);
        let held = umem.frames_home()
            + pool.len()
            + burst.len()
            + socket.frames_lent() as usize
            + socket.frames_in_flight() as usize;
        assert_eq!(held, 40, "round {round}");
    }
    assert!(delivered > 900 && transmitted > 900);
    drop((socket, kernel, pool, burst));
    assert_eq!(umem.frames_home(), 40);
    assert_eq!(umem.frames_lost(), 0);
}

#[test]
fn what_does_not_fit_the_tx_ring_stays_with_the_caller_in_order() {
    let umem = umem(32);
    let mut pool = umem.pool(32, 32);
    let (mut socket, mut kernel) = socket(&umem, "port", 0, RING).unwrap();
    let mut burst: Vec<Frame> = (0..12u8)
        .map(|value| {
            let mut frame = pool.take().unwrap();
            frame.append(&[value]).unwrap();
            frame
        })
        .collect();
    assert_eq!(socket.send(&mut burst), 8);
    assert_eq!(socket.send(&mut burst), 0);
    assert_eq!(kernel.transmitted(), (0..8u8).map(|value| vec![value]).collect::<Vec<_>>());
    assert_eq!(socket.send(&mut burst), 4);
    assert!(kernel.transmitted().is_empty(), "nothing more is sent while the completion ring is full");
    assert_eq!(socket.complete(&mut pool), 8);
    assert_eq!(kernel.transmitted(), (8..12u8).map(|value| vec![value]).collect::<Vec<_>>());
}

#[test]
fn an_empty_frame_or_one_of_another_umem_is_not_sent() {
    let (ours, theirs) = (umem(4), umem(4));
    let (mut socket, mut kernel) = socket(&ours, "port", 0, RING).unwrap();
    let mut foreign = theirs.pool(1, 1).take().unwrap();
    foreign.append(b"x").unwrap();
    let mut burst = vec![ours.pool(1, 1).take().unwrap(), foreign];
    assert_eq!(socket.send(&mut burst), 2);
    assert!(kernel.transmitted().is_empty());
    assert_eq!(socket.counters().refused_frames, 2);
    assert_eq!((ours.frames_home(), theirs.frames_home()), (4, 4));
}

#[test]
fn descriptors_for_frames_that_the_kernel_does_not_hold_are_refused() {
    let umem = umem(16);
    let mut pool = umem.pool(16, 16);
    let (mut socket, mut kernel) = socket(&umem, "port", 0, RING).unwrap();
    let ours = pool.take().unwrap();
    let mut burst = Vec::new();
    // No frame was lent yet; then an address beyond the UMEM; then a frame that user space holds.
    for addr in [0, 1 << 40, u64::from(ours.index()) * FRAME_SIZE as u64] {
        assert!(kernel.publish_raw(addr, 60, 0));
        assert!(kernel.complete_raw(addr));
    }
    assert_eq!(socket.receive(&mut burst, 32), 0);
    socket.complete(&mut pool);
    assert_eq!(socket.counters().refused_descriptors, 6);
    assert_eq!(pool.len(), 15);
}

#[test]
fn a_length_past_the_frame_or_a_fragment_is_refused_and_its_frame_kept() {
    let umem = umem(16);
    let mut pool = umem.pool(1, 16);
    let (mut socket, mut kernel) = socket(&umem, "port", 0, RING).unwrap();
    socket.refill(&mut pool);
    let mut burst = Vec::new();
    for (len, options) in [(4096, 0), (u32::MAX, 0), (60, 1)] {
        let addr = kernel.next_filled().unwrap();
        assert!(kernel.publish_raw(addr + 256, len, options));
    }
    assert_eq!(socket.receive(&mut burst, 32), 0);
    assert_eq!(socket.counters().refused_descriptors, 3);
    drop((socket, kernel, pool));
    assert_eq!(umem.frames_home(), 16);
}

#[test]
fn frames_stay_with_the_kernel_side_until_both_sides_are_closed() {
    let umem = umem(16);
    let mut pool = umem.pool(1, 16);
    let (mut socket, mut kernel) = socket(&umem, "port", 0, RING).unwrap();
    socket.refill(&mut pool);
    drop(pool);
    drop(socket);
    assert_eq!(umem.frames_home(), 8);
    assert!(kernel.deliver(b"late"), "the frames still belong to this side");
    drop(kernel);
    assert_eq!(umem.frames_home(), 16);
}

#[test]
fn without_free_frames_reception_starves_and_recovers() {
    let umem = umem(4);
    let mut pool = umem.pool(4, 4);
    let (mut socket, mut kernel) = socket(&umem, "port", 0, RING).unwrap();
    let mut hoard: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
    assert_eq!(socket.refill(&mut pool), 0);
    assert_eq!(socket.counters().frame_shortages, 1);
    assert!(!kernel.deliver(b"lost"));
    hoard.drain(..).for_each(|frame| pool.put(frame));
    assert_eq!(socket.refill(&mut pool), 4);
    assert!(kernel.deliver(b"found"));
}
