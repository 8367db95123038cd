//! The protocols over shared words, each generic over the word type and free of I/O: the code that
//! the two processes run, that the models explore, and that the interpreter checks.

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
