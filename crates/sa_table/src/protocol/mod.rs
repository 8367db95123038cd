//! The protocols over shared words, each generic over the word type and free of I/O: the same code
//! is run by the two processes, explored by the loom models and checked by Miri.

pub(crate) mod acquire;
pub(crate) mod claim;
pub(crate) mod double_buffer;
pub(crate) mod grace;
pub(crate) mod ring;
pub(crate) mod seqlock;
pub(crate) mod sequence;
pub(crate) mod spi_index;

#[cfg(test)]
pub(crate) mod crash;
#[cfg(all(test, loom))]
mod models;
