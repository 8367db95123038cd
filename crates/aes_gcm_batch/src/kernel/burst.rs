//! Sorting a burst: packets of equal shape are taken together, in the order of arrival.

use super::Kernel;
use crate::Job;
use crate::vector::Vector;
use crate::vector::x128::X128;
use crate::vector::x256::X256;
use crate::vector::x512::X512;

/// Most packets that the short kernel interleaves.
const CHUNK: usize = 4;
/// So many packets ahead of the kernel the schedules' lines are asked for.
const AHEAD: usize = 8;
/// AES-128, AES-192, AES-256.
const KEY_SIZES: usize = 3;
/// Vectors of the largest short packet, over all widths.
const SHAPES: usize = 9;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,aes,pclmulqdq,bmi1,bmi2")]
pub(crate) fn run_x512<const OPEN: bool>(v: X512, jobs: &mut [Job<'_>]) -> usize {
    Kernel::new(v).burst::<4, OPEN>(jobs)
}

#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq")]
pub(crate) fn run_x256<const OPEN: bool>(v: X256, jobs: &mut [Job<'_>]) -> usize {
    Kernel::new(v).burst::<4, OPEN>(jobs)
}

#[target_feature(enable = "avx,aes,pclmulqdq")]
pub(crate) fn run_x128<const OPEN: bool>(v: X128, jobs: &mut [Job<'_>]) -> usize {
    Kernel::new(v).burst::<8, OPEN>(jobs)
}

impl<X: Vector> Kernel<X> {
    /// Any number of packets; long ones in groups of `G` vectors. Returns how many were rejected.
    #[inline(always)]
    fn burst<const G: usize, const OPEN: bool>(&self, jobs: &mut [Job<'_>]) -> usize {
        let mut rejected = 0;
        let mut waiting: [[Option<&mut Job<'_>>; CHUNK]; KEY_SIZES * SHAPES] =
            [const { [const { None }; CHUNK] }; KEY_SIZES * SHAPES];
        let mut counts = [0; KEY_SIZES * SHAPES];
        let mut rest = jobs;
        while let Some((job, more)) = rest.split_first_mut() {
            ask_ahead(job, more);
            rest = more;
            let vectors = (job.text.len().div_ceil(16) + 1).div_ceil(X::LANES);
            if vectors > G + 1 {
                rejected += self.long::<G, OPEN>(job);
                continue;
            }
            let class = (job.rounds() - 10) / 2 * SHAPES + vectors - 1;
            waiting[class][counts[class]] = Some(job);
            counts[class] += 1;
            if counts[class] == CHUNK {
                counts[class] = 0;
                rejected += self.alike::<OPEN>(vectors, &mut waiting[class]);
            }
        }
        for class in 0..KEY_SIZES * SHAPES {
            if counts[class] > 0 {
                rejected += self.alike::<OPEN>(class % SHAPES + 1, &mut waiting[class]);
            }
        }
        rejected
    }

    /// Up to four packets of `vectors` vectors and one number of rounds.
    #[inline(always)]
    fn alike<const OPEN: bool>(&self, vectors: usize, jobs: &mut [Option<&mut Job<'_>>; CHUNK]) -> usize {
        let jobs = std::mem::take(jobs);
        match vectors {
            1 => self.chunk::<1, OPEN>(jobs),
            2 => self.chunk::<2, OPEN>(jobs),
            3 => self.chunk::<3, OPEN>(jobs),
            4 => self.chunk::<4, OPEN>(jobs),
            5 => self.chunk::<5, OPEN>(jobs),
            6 if X::LANES == 1 => self.chunk::<6, OPEN>(jobs),
            7 if X::LANES == 1 => self.chunk::<7, OPEN>(jobs),
            8 if X::LANES == 1 => self.chunk::<8, OPEN>(jobs),
            9 if X::LANES == 1 => self.chunk::<9, OPEN>(jobs),
            _ => unreachable!("a packet of more vectors is long"),
        }
    }

    /// As many packets at once as the register file holds.
    #[inline(always)]
    fn chunk<const Z: usize, const OPEN: bool>(&self, jobs: [Option<&mut Job<'_>>; CHUNK]) -> usize {
        let wide = X::LANES == 4;
        match jobs {
            [Some(a), Some(b), Some(c), Some(d)] if Z <= 2 => self.short::<4, Z, OPEN>([a, b, c, d]),
            [a, b, c, d] => {
                let mut rejected = 0;
                for pair in [[a, b], [c, d]] {
                    rejected += match pair {
                        [Some(a), Some(b)] if Z <= 4 || wide => self.short::<2, Z, OPEN>([a, b]),
                        pair => pair.into_iter().flatten().map(|job| self.short::<1, Z, OPEN>([job])).sum(),
                    };
                }
                rejected
            }
        }
    }
}

/// Asks for the schedule of the packet `AHEAD` places on, unless it is the one in use.
#[inline(always)]
fn ask_ahead(job: &Job<'_>, following: &[Job<'_>]) {
    if let Some(next) = following.get(AHEAD - 1)
        && !std::ptr::eq(next.schedule, job.schedule)
    {
        next.schedule.prefetch(next.text.len());
    }
}
