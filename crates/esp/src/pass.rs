//! Processing of a burst by the AEAD, the same in both directions.

use crate::BURST;
use crate::aead::{Aad, AeadBurst, AeadJob, AeadKey, Ticket, Verdicts};
use crate::algorithm::{Aead, Other, Shape};

/// A packet to be processed by the AEAD.
pub(crate) trait Pass {
    /// The SA's key and the number of bytes that it will work on, for the prefetch.
    fn key(&self) -> (&AeadKey, usize);

    /// The shape of the SA's packets, if it is not [`Aead`].
    fn shape(&self) -> Option<Other>;

    /// Everything before the AEAD. `None` if the packet is rejected; the job then holds the reason.
    fn prepare<'j, S: Shape>(&'j mut self, shape: S, aad: &'j mut Aad) -> Option<AeadJob<'j>>;

    /// Everything after the AEAD, for a packet whose verdict is good.
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
        let mut places = tickets.iter_mut().zip(&mut aads);
        for run in burst.chunk_by_mut(|a, b| std::ptr::eq(a.key().0, b.key().0)) {
            // Looked up once for the packets of one SA; the lengths of AES-GCM are then constants.
            match run.first().and_then(Pass::shape) {
                None => push_run(run, Aead, &mut places, &mut batch),
                Some(other) => push_run(run, other, &mut places, &mut batch),
            }
        }
        let verdicts = aead(batch);
        for (job, ticket) in burst.iter_mut().zip(tickets) {
            if ticket.is_some_and(|ticket| verdicts.is_good(ticket)) {
                job.finish();
            }
        }
    }
}

#[inline(always)]
fn push_run<'j, J: Pass, S: Shape>(
    run: &'j mut [J],
    shape: S,
    places: &mut impl Iterator<Item = (&'j mut Option<Ticket>, &'j mut Aad)>,
    batch: &mut AeadBurst<'j>,
) {
    for (job, (ticket, aad)) in run.iter_mut().zip(places) {
        *ticket = job.prepare(shape, aad).and_then(|prepared| batch.push(prepared));
    }
}
