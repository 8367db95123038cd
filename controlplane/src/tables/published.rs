//! The names for list and port numbers in reports of the data plane, which are valid within one
//! publication.

use sa_table::{Filters, PolicyVersion, PortRecord};

/// The names of the latest publications.
#[derive(Debug, Default)]
pub struct PublishedNames(Vec<Names>);

#[derive(Debug)]
struct Names {
    version: PolicyVersion,
    lists: Vec<String>,
    ports: Vec<(u16, String)>,
}

/// A report may refer to the previous publication, but not to older ones, since workers switch at
/// once.
const KEPT: usize = 2;

impl PublishedNames {
    /// Adds a publication.
    pub fn add(&mut self, version: PolicyVersion, ports: &[PortRecord], filters: &Filters) {
        self.0.insert(
            0,
            Names {
                version,
                lists: filters.lists.iter().map(|list| list.name.clone()).collect(),
                ports: ports.iter().map(|port| (port.id, port.ios_name.clone())).collect(),
            },
        );
        self.0.truncate(KEPT);
    }

    /// The name of a filter list; `None` if the publication is too old.
    pub fn list(&self, version: PolicyVersion, list: u32) -> Option<&str> {
        self.of(version)?.lists.get(list as usize).map(String::as_str)
    }

    /// The name of a port.
    pub fn port(&self, version: PolicyVersion, port: u16) -> Option<&str> {
        let ports = &self.of(version)?.ports;
        ports.iter().find(|(id, _)| *id == port).map(|(_, name)| name.as_str())
    }

    fn of(&self, version: PolicyVersion) -> Option<&Names> {
        self.0.iter().find(|names| names.version == version)
    }
}

#[cfg(test)]
mod tests {
    use sa_table::FilterList;

    use super::*;

    #[test]
    fn numbers_mean_what_they_meant_in_their_publication() {
        let filters = |name: &str| Filters {
            lists: vec![FilterList { name: name.into(), rules: Vec::new() }],
            bindings: Vec::new(),
        };
        let mut names = PublishedNames::default();
        for (version, name) in [(1, "A"), (2, "B"), (3, "C")] {
            names.add(PolicyVersion(version), &[], &filters(name));
        }
        assert_eq!(names.list(PolicyVersion(3), 0), Some("C"));
        assert_eq!(names.list(PolicyVersion(2), 0), Some("B"));
        assert_eq!(names.list(PolicyVersion(1), 0), None, "too old");
        assert_eq!(names.list(PolicyVersion(3), 1), None);
        assert_eq!(names.port(PolicyVersion(3), 0), None);
    }
}
