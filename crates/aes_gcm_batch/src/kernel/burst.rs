//! Sorting a burst: packets of equal shape are taken together, in the order of arrival.

use std::marker::PhantomData;

use super::Kernel;
use crate::Job;
use crate::vector::{Task, Vector};

/// Packets that are sorted at a time.
const WINDOW: usize = 64;
/// AES-128, AES-192, AES-256.
const KEY_SIZES: usize = 3;

/// Any number of packets of any shape, to seal or to open. Returns the number of rejected packets.
pub(crate) struct Burst<'j, 'a, const OPEN: bool>(pub(crate) &'j mut [Job<'a>]);

/// Packets of one shape: `Z` vectors each, one number of rounds.
struct Alike<'s, 'j, 'a, const Z: usize, const OPEN: bool>(&'s mut [Option<&'j mut Job<'a>>]);

/// Packets of `Z` whole vectors of text each, one number of rounds.
struct Whole<'s, 'j, 'a, const Z: usize, const OPEN: bool>(&'s mut [Option<&'j mut Job<'a>>]);

/// Long packets.
struct Long<'s, 'j, 'a, const OPEN: bool>(&'s mut [Option<&'j mut Job<'a>>]);

impl<X: Vector, const OPEN: bool> Task<X> for Burst<'_, '_, OPEN> {
    #[inline(always)]
    fn run(self, v: X) -> usize {
        self.0.chunks_mut(WINDOW).map(|window| run_window::<X, OPEN>(v, window)).sum()
    }
}

impl<X: Vector, const OPEN: bool> Task<X> for Long<'_, '_, '_, OPEN> {
    #[inline(always)]
    fn run(self, v: X) -> usize {
        Kernel::new(v).long::<OPEN>(self.0)
    }
}

impl<X: Vector, const Z: usize, const OPEN: bool> Task<X> for Alike<'_, '_, '_, Z, OPEN> {
    #[inline(always)]
    fn run(self, v: X) -> usize {
        let kernel = Kernel::new(v);
        let mut rejected = 0;
        let mut rest = self.0;
        // As many packets at once as the register file holds, and the few that are left over.
        if Z <= 2 {
            pipeline::<X, 4, Z, OPEN>(&kernel, &mut rest, &mut rejected);
            chunk::<X, 2, Z, OPEN>(&kernel, &mut rest, &mut rejected);
            chunk::<X, 1, Z, OPEN>(&kernel, &mut rest, &mut rejected);
        } else if Z <= if X::LANES == 4 { 5 } else { 4 } {
            pipeline::<X, 2, Z, OPEN>(&kernel, &mut rest, &mut rejected);
            chunk::<X, 1, Z, OPEN>(&kernel, &mut rest, &mut rejected);
        } else {
            pipeline::<X, 1, Z, OPEN>(&kernel, &mut rest, &mut rejected);
        }
        rejected
    }
}

impl<X: Vector, const Z: usize, const OPEN: bool> Task<X> for Whole<'_, '_, '_, Z, OPEN> {
    #[inline(always)]
    fn run(self, v: X) -> usize {
        let kernel = Kernel::new(v);
        let mut rejected = 0;
        let mut rest = self.0;
        if Z <= 2 {
            quads::<X, 4, Z, OPEN>(&kernel, &mut rest, &mut rejected);
        } else {
            quads::<X, 2, Z, OPEN>(&kernel, &mut rest, &mut rejected);
        }
        if rest.is_empty() {
            return rejected;
        }
        // The remaining few packets have their heads in an additional vector.
        rejected
            + match Z {
                1 => v.run(Alike::<2, OPEN>(rest)),
                2 => v.run(Alike::<3, OPEN>(rest)),
                3 => v.run(Alike::<4, OPEN>(rest)),
                4 => v.run(Alike::<5, OPEN>(rest)),
                _ => unreachable!("more vectors have no such class"),
            }
    }
}

/// Four packets at a time, all of them or by halves together, as long as there are so many.
#[inline(always)]
fn quads<X: Vector, const P: usize, const Z: usize, const OPEN: bool>(
    kernel: &Kernel<X>,
    rest: &mut &mut [Option<&mut Job<'_>>],
    rejected: &mut usize,
) {
    let Some(jobs) = next::<4>(rest) else { return };
    let (mut quad, mut hashed) = kernel.fill_quad::<P, Z, OPEN>(jobs);
    loop {
        if P == 2 {
            let [a, b] = [hashed[0], hashed[P - 1]];
            let second = kernel.second_half::<Z, OPEN>(&mut quad, [a, b]);
            (hashed[0], hashed[P - 1]) = (second[0], second[1]);
        }
        let Some(jobs) = next::<4>(rest) else { break };
        (quad, hashed) = if have_one_key(&jobs) {
            kernel.next_quad::<P, Z, OPEN, true>(jobs, quad, hashed, rejected)
        } else {
            kernel.next_quad::<P, Z, OPEN, false>(jobs, quad, hashed, rejected)
        };
    }
    *rejected += kernel.drain_quad::<P, Z, OPEN>(quad, hashed);
}

#[inline(always)]
fn have_one_key(jobs: &[&mut Job<'_>]) -> bool {
    let mut one = true;
    for job in &jobs[1..] {
        one &= std::ptr::eq(job.schedule, jobs[0].schedule);
    }
    one
}

/// `P` packets at a time, as long as there are so many.
#[inline(always)]
fn pipeline<X: Vector, const P: usize, const Z: usize, const OPEN: bool>(
    kernel: &Kernel<X>,
    rest: &mut &mut [Option<&mut Job<'_>>],
    rejected: &mut usize,
) {
    let Some(jobs) = next::<P>(rest) else { return };
    let mut crypted = kernel.fill::<P, Z, OPEN, false>(jobs);
    while let Some(jobs) = next::<P>(rest) {
        crypted = if P == 4 && have_one_key(&jobs) {
            kernel.overlap::<P, Z, OPEN, true>(jobs, crypted, rejected)
        } else {
            kernel.overlap::<P, Z, OPEN, false>(jobs, crypted, rejected)
        };
    }
    *rejected += kernel.drain::<P, Z, OPEN>(crypted);
}

/// `P` packets once.
#[inline(always)]
fn chunk<X: Vector, const P: usize, const Z: usize, const OPEN: bool>(
    kernel: &Kernel<X>,
    rest: &mut &mut [Option<&mut Job<'_>>],
    rejected: &mut usize,
) {
    if let Some(jobs) = next::<P>(rest) {
        let crypted = kernel.fill::<P, Z, OPEN, false>(jobs);
        *rejected += kernel.drain::<P, Z, OPEN>(crypted);
    }
}

/// The next `P` packets, if so many are left.
#[inline(always)]
pub(super) fn next<'s, 'a, const P: usize>(
    rest: &mut &'s mut [Option<&mut Job<'a>>],
) -> Option<[&'s mut Job<'a>; P]> {
    if rest.len() < P {
        return None;
    }
    let (chunk, more) = std::mem::take(rest).split_first_chunk_mut::<P>()?;
    *rest = more;
    Some(chunk.each_mut().map(|job| match job {
        Some(job) => &mut **job,
        None => unreachable!("places are filled from the front"),
    }))
}

/// At most [`WINDOW`] packets.
#[inline(always)]
fn run_window<X: Vector, const OPEN: bool>(v: X, jobs: &mut [Job<'_>]) -> usize {
    let mut arrived: [Option<&mut Job<'_>>; WINDOW] = [const { None }; WINDOW];
    let first = class_of::<X>(&jobs[0]);
    let count = jobs.len();
    let mut alike = true;
    for (slot, job) in arrived.iter_mut().zip(jobs) {
        alike &= class_of::<X>(job) == first;
        *slot = Some(job);
    }
    if alike {
        return run_class::<X, OPEN>(v, first, &mut arrived[..count]);
    }
    let mut ends = [0; CLASSES];
    for job in arrived.iter().flatten() {
        ends[class_of::<X>(job)] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        // Now the start; placing the jobs makes it the end.
        (total, *end) = (total + *end, total);
    }
    let mut order: [Option<&mut Job<'_>>; WINDOW] = [const { None }; WINDOW];
    for job in arrived.into_iter().flatten() {
        let end = &mut ends[class_of::<X>(job)];
        order[*end] = Some(job);
        *end += 1;
    }
    let mut start = 0;
    let mut rejected = 0;
    for (class, end) in ends.into_iter().enumerate() {
        if end > start {
            rejected += run_class::<X, OPEN>(v, class, &mut order[start..end]);
            start = end;
        }
    }
    rejected
}

/// Classes of one key size: packets of one to eight vectors, heads included, and those of one to
/// four whole vectors of text.
const SHAPES: usize = VECTORS + WHOLE;
/// Vectors of the largest short packet; more have at least one group of the long kernel.
const VECTORS: usize = 8;
/// Vectors of text of the largest packet that leaves its head to a quad.
const WHOLE: usize = 4;
/// Long packets are a class of their own, whatever the key size.
const LONG: usize = KEY_SIZES * SHAPES;
const CLASSES: usize = LONG + 1;

/// Shape by number of blocks, for short packets.
struct Shapes<X>(PhantomData<X>);

impl<X: Vector> Shapes<X> {
    const TABLE: [u8; 4 * VECTORS] = {
        let mut table = [0; 4 * VECTORS];
        let mut blocks = 0;
        while blocks < X::LANES * VECTORS {
            // Without text there is a head alone.
            let whole = X::QUADS && blocks % 4 == 0 && blocks / 4 > 0 && blocks / 4 <= WHOLE;
            let shape = if whole { VECTORS + blocks / 4 } else { blocks / X::LANES + 1 };
            table[blocks] = shape as u8 - 1;
            blocks += 1;
        }
        table
    };
}

#[inline(always)]
fn class_of<X: Vector>(job: &Job<'_>) -> usize {
    let blocks = job.blocks();
    if blocks >= X::LANES * VECTORS {
        return LONG;
    }
    (job.rounds() - 10) / 2 * SHAPES + usize::from(Shapes::<X>::TABLE[blocks])
}

#[inline(always)]
fn run_class<X: Vector, const OPEN: bool>(v: X, class: usize, jobs: &mut [Option<&mut Job<'_>>]) -> usize {
    if class == LONG {
        return v.run(Long::<OPEN>(jobs));
    }
    match class % SHAPES + 1 {
        1 => v.run(Alike::<1, OPEN>(jobs)),
        2 => v.run(Alike::<2, OPEN>(jobs)),
        3 => v.run(Alike::<3, OPEN>(jobs)),
        4 => v.run(Alike::<4, OPEN>(jobs)),
        5 => v.run(Alike::<5, OPEN>(jobs)),
        6 => v.run(Alike::<6, OPEN>(jobs)),
        7 => v.run(Alike::<7, OPEN>(jobs)),
        8 => v.run(Alike::<8, OPEN>(jobs)),
        shape => {
            // A constant alone keeps the compiler from making code that cannot run.
            if X::QUADS {
                match shape - VECTORS {
                    1 => v.run(Whole::<1, OPEN>(jobs)),
                    2 => v.run(Whole::<2, OPEN>(jobs)),
                    3 => v.run(Whole::<3, OPEN>(jobs)),
                    _ => v.run(Whole::<4, OPEN>(jobs)),
                }
            } else {
                unreachable!("a packet of more vectors is long")
            }
        }
    }
}
