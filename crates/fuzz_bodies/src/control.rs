//! Messages of the control socket, and the stored state of an earlier control plane.

use config::control::{MAX_LINE, Request, Response, decode, encode};
use controlplane::checkpoint::Memory;

/// A line of the control socket, in either direction. A parsed message is rendered to a line that
/// parses to the same message.
pub fn control(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    if let Ok(request) = decode::<Request>(line) {
        let Ok(text) = encode(&request) else { panic!("a request that cannot be written") };
        assert_eq!(text.matches('\n').count(), 1, "one line each");
        assert!(matches!(decode::<Request>(&text), Ok(again) if again == request), "{text}");
    }
    if let Ok(response) = decode::<Response>(line) {
        let Ok(text) = encode(&response) else { panic!("a response that cannot be written") };
        assert!(text.len() > MAX_LINE || matches!(decode::<Response>(&text), Ok(again) if again == response));
    }
}

/// The control plane's stored state, as in the checkpoint segment.
pub fn memory(data: &[u8]) {
    let Some(memory) = Memory::decode(data) else { return };
    for pair in &memory.pairs {
        let _ = (pair.agreed(), pair.slot_words());
    }
    for policy in &memory.policies {
        let _ = policy.key();
    }
    for (entry, _) in &memory.cursors {
        let _ = entry.key();
    }
    let encoded = memory.encode();
    let again = Memory::decode(&encoded).map(|again| again.encode());
    assert_eq!(again, Some(encoded), "what is written reads the same");
}
