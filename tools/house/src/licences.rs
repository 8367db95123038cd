//! Licences of dependencies and repeated packages, compared with `deny.toml`.
//!
//! This is the part of `cargo deny check licenses bans sources` that needs nothing but
//! `cargo metadata`; it is used where cargo-deny is not installed.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{HouseError, Result};
use crate::metadata::ThirdParty;

/// What `deny.toml` allows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policy {
    allowed: BTreeSet<String>,
    /// Names of packages that may occur in several versions.
    repeated: BTreeSet<String>,
}

impl Policy {
    /// Reads `licenses.allow` and `bans.skip` out of the text of `deny.toml`, one entry a line.
    ///
    /// # Errors
    /// [`HouseError::Policy`] if no licence is allowed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut policy = Self::default();
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
            } else if section == "[licenses]" && line.starts_with('"') {
                policy.allowed.extend(quoted(line));
            } else if section == "[bans]" && line.starts_with("{ crate = ") {
                policy
                    .repeated
                    .extend(quoted(line).map(|spec| spec.split([':', '@']).next().unwrap_or("").into()));
            }
        }
        if policy.allowed.is_empty() {
            return Err(HouseError::Policy("no licence under [licenses], one a line, was found".to_owned()));
        }
        Ok(policy)
    }

    /// One sentence for each package that the policy does not allow, sorted.
    pub fn violations(&self, packages: &[ThirdParty]) -> Vec<String> {
        let mut found: Vec<String> = packages
            .iter()
            .filter(|package| !self.allows(&package.licence))
            .map(|package| {
                let licence = if package.licence.is_empty() { "no licence" } else { &package.licence };
                format!("{} {}: {licence}", package.name, package.version)
            })
            .collect();
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in packages {
            versions.entry(&package.name).or_default().push(&package.version);
        }
        for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            if !self.repeated.contains(*name) {
                found.push(format!("{name}: several versions: {}", versions.join(", ")));
            }
        }
        found.sort();
        found
    }

    /// Whether an SPDX expression can be met by allowed licences. The old `A/B` means `A OR B`.
    fn allows(&self, expression: &str) -> bool {
        let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let mut words = expression.split_whitespace().peekable();
        let allowed = self.any(&mut words);
        allowed && words.next().is_none()
    }

    fn any<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut allowed = self.all(words);
        while words.next_if_eq(&"OR").is_some() {
            allowed |= self.all(words);
        }
        allowed
    }

    fn all<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut allowed = self.one(words);
        while words.next_if_eq(&"AND").is_some() {
            allowed &= self.one(words);
        }
        allowed
    }

    fn one<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        match words.next() {
            Some("(") => {
                let allowed = self.any(words);
                words.next() == Some(")") && allowed
            }
            Some(licence) if words.next_if_eq(&"WITH").is_some() => {
                let exception = words.next().unwrap_or("");
                self.allowed.contains(&format!("{licence} WITH {exception}"))
            }
            Some(licence) => self.allowed.contains(licence),
            None => false,
        }
    }
}

/// The first text in quotes.
fn quoted(line: &str) -> impl Iterator<Item = String> {
    line.split('"').nth(1).map(str::to_owned).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[licenses]\nallow = [\n    \"MIT\", # text\n    \"ISC\",\n    \"A WITH E\",\n]\n\
                          [bans]\nskip = [\n    { crate = \"syn:^2\", reason = \"macros\" },\n]\n";

    fn package(name: &str, version: &str, licence: &str) -> ThirdParty {
        ThirdParty { name: name.into(), version: version.into(), licence: licence.into() }
    }

    #[test]
    fn expressions_are_met_by_allowed_licences() {
        let policy = Policy::parse(POLICY).unwrap();
        for allowed in ["MIT", "GPL-3.0 OR MIT", "Unlicense/MIT", "ISC AND (GPL-3.0 OR MIT)", "A WITH E OR B"]
        {
            assert!(policy.allows(allowed), "{allowed}");
        }
        for refused in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND B", "MIT WITH E", "(MIT", "MIT ISC"]
        {
            assert!(!policy.allows(refused), "{refused}");
        }
    }

    #[test]
    fn violations_name_licences_and_repeated_packages() {
        let policy = Policy::parse(POLICY).unwrap();
        let packages = [
            package("a", "1.0.0", "GPL-3.0"),
            package("b", "1.0.0", "MIT"),
            package("b", "2.0.0", "MIT"),
            package("syn", "2.0.0", "MIT"),
            package("syn", "3.0.0", "MIT"),
        ];
        assert_eq!(policy.violations(&packages), ["a 1.0.0: GPL-3.0", "b: several versions: 1.0.0, 2.0.0"]);
    }

    #[test]
    fn a_policy_without_licences_is_refused() {
        assert!(Policy::parse("[bans]\n").is_err());
    }
}
