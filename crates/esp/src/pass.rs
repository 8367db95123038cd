//! The way of a burst through the AEAD, the same in both directions.

use crate::BURST;
use crate::aead::{Aad, AeadBurst, AeadJob, AeadKey, Ticket, Verdicts};

/// A packet on its way through the AEAD.
pub(crate) trait Pass {
    /// The SA's key and the number of bytes that it will work on, for the prefetch.
    fn key(&self) -> (&AeadKey, usize);

    /// Everything before the AEAD. `None` when the packet is refused; the job then holds the reason.
    fn prepare<'j>(&'j mut self, aad: &'j mut Aad) -> Option<AeadJob<'j>>;

    /// Everything behind the AEAD, for a packet whose verdict is good.
    fn finish(&mut self);
}

/// Takes `jobs` through `aead`, [`BURST`] at a time, and finishes them in their order.
#[inline]
pub(crate) fn pass<J: Pass>(jobs: &mut [J], aead: impl Fn(AeadBurst<'_>) -> Verdicts) {
    for burst in jobs.chunks_mut(BURST) {
        for pair in burst.windows(2) {
            let ((last, _), (key, len)) = (pair[0].key(), pair[1].key());
            if !std::ptr::eq(last, key) {
                key.prefetch(len);
            }
        }
        let mut tickets: [Option<Ticket>; BURST] = [None; BURST];
        let mut aads = [Aad::default(); BURST];
        let mut batch = AeadBurst::new();
        for ((job, ticket), aad) in burst.iter_mut().zip(&mut tickets).zip(&mut aads) {
            *ticket = job.prepare(aad).and_then(|prepared| batch.push(prepared));
        }
        let verdicts = aead(batch);
        for (job, ticket) in burst.iter_mut().zip(tickets) {
            if ticket.is_some_and(|ticket| verdicts.is_good(ticket)) {
                job.finish();
            }
        }
    }
}
