//! Enumerations whose variants are counters: the discriminant is the index, and the name is what
//! operators see.

/// Defines an enumeration of counters with `ALL` and `name`.
macro_rules! counters {
    (
        $(#[$enum_doc:meta])*
        pub enum $enum:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $enum {
            $($(#[$doc])* $variant,)*
        }

        impl $enum {
            /// All of them, by index.
            pub const ALL: &[$enum] = &[$($enum::$variant,)*];

            /// The name for counters and `show` commands.
            pub const fn name(self) -> &'static str {
                match self {
                    $($enum::$variant => $name,)*
                }
            }
        }
    };
}
pub(crate) use counters;

/// Counts of one worker since they were last published, for an enumeration of at most 64 counters,
/// which is the capacity of the runtime segment.
#[derive(Clone, Debug)]
pub struct Tally([u64; TALLY]);

/// Largest number of counters of one kind.
pub const TALLY: usize = 64;

impl Default for Tally {
    fn default() -> Tally {
        Tally([0; TALLY])
    }
}

impl Tally {
    /// Adds to the counter of this index.
    #[inline]
    pub fn add(&mut self, index: usize, n: u64) {
        if let Some(counter) = self.0.get_mut(index) {
            *counter += n;
        }
    }

    /// The counter of this index.
    pub fn of(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// The sum of all counters.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Passes each non-zero counter to `sink` and resets it to zero.
    pub fn drain(&mut self, mut sink: impl FnMut(usize, u64)) {
        for (index, counter) in self.0.iter_mut().enumerate() {
            if *counter != 0 {
                sink(index, std::mem::take(counter));
            }
        }
    }
}
