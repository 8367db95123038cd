//! Checks whether a configuration fits into the shared segments, before anything is changed.

use config::Configuration;
use config::sizes::Sizes;
use sa_table::{Action, Demand, Shortage, TableError};

use crate::plan::{self, Derived};

/// Why a configuration cannot become the running one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The segments are too small.
    #[error(
        "{0}. Type \"write memory\", add the lines to the saved file and restart tohub, which makes the segments anew for what the file \
         needs (\"tohub check FILE\" names it)"
    )]
    Segments(#[from] Shortage),
    /// The table cannot hold it for another reason.
    #[error("{0}")]
    Table(TableError),
}

/// The resources that a configuration needs, including its current derived entries.
pub fn demand(configuration: &Configuration, derived: &Derived) -> Demand {
    let sizes = Sizes::of(configuration);
    let temporaries = derived.temporaries.iter().map(|one| (&one.local, &one.remote));
    let hosts = derived.hosts.iter().map(|one| (&one.local, &one.remote));
    let rules = |(local, remote): (&Vec<_>, &Vec<_>)| {
        plan::rules(local, remote, Action::Drop).map_or(0, |rules| rules.len() as u64)
    };
    let flows = (derived.temporaries.len() + derived.hosts.len()) as u64;
    let policies = sizes.permits + flows;
    Demand {
        ports: sizes.interfaces,
        rule_lists: sizes.lists.len() as u64,
        rules: sizes.rules() + temporaries.chain(hosts).map(rules).sum::<u64>(),
        filter_lists: sizes.filters.lists,
        filter_lines: sizes.filters.lines,
        filter_bindings: sizes.filters.bindings(policies),
        policies,
        tunnels: sizes.tunnels + flows,
    }
}
