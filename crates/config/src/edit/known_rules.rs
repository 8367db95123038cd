//! A set of the rules of the access list being edited, so that loading a list with a hundred
//! thousand rules does not take quadratic time.

use std::collections::HashSet;

use crate::model::{AccessList, AclRule};

/// The rules of one list. Kept across the lines of a file; a line that removes rules discards it.
#[derive(Debug, Default)]
pub struct KnownRules {
    list: Option<String>,
    rules: HashSet<AclRule>,
}

impl KnownRules {
    /// Whether `list`, of this name, contains the rule.
    pub(super) fn contains(&mut self, name: &str, list: &AccessList, rule: &AclRule) -> bool {
        if self.list.as_deref() != Some(name) {
            self.list = Some(name.to_owned());
            self.rules = list.rules().map(|(_, rule)| *rule).collect();
        }
        self.rules.contains(rule)
    }

    /// A rule was appended to the list of this name.
    pub(super) fn appended(&mut self, name: &str, rule: AclRule) {
        if self.list.as_deref() == Some(name) {
            self.rules.insert(rule);
        }
    }

    /// A list was changed in another way.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use crate::edit::Offline;
    use crate::file;

    /// Sequence numbers and destination of the rules of list X.
    fn rules(lines: &[&str]) -> Vec<(u32, String)> {
        let text = format!("ip access-list extended X\n{}\n", lines.join("\n"));
        let configuration = file::parse("test", &text, &mut Offline).unwrap().configuration;
        let place = |(number, rule): (u32, &super::AclRule)| {
            (number, rule.destination.prefix().unwrap().address.to_string())
        };
        configuration.access_lists["X"].rules().map(place).collect()
    }

    fn expected(rules: &[(u32, &str)]) -> Vec<(u32, String)> {
        rules.iter().map(|(number, address)| (*number, (*address).to_owned())).collect()
    }

    const A: &str = "permit ip any host 1.1.1.1";
    const B: &str = "permit ip any host 2.2.2.2";
    const C: &str = "permit ip any host 3.3.3.3";

    #[test]
    fn a_rule_stands_once_whatever_stands_between() {
        let other = "ip access-list extended Y";
        let back = "ip access-list extended X";
        assert_eq!(
            rules(&[A, "remark r", B, A, other, C, back, A, B]),
            expected(&[(10, "1.1.1.1"), (20, "2.2.2.2")])
        );
    }

    #[test]
    fn a_rule_that_was_taken_away_or_replaced_can_be_written_again() {
        assert_eq!(rules(&[A, B, &format!("no {B}"), B]), expected(&[(10, "1.1.1.1"), (20, "2.2.2.2")]));
        assert_eq!(rules(&[A, B, "no 20", B]), expected(&[(10, "1.1.1.1"), (20, "2.2.2.2")]));
        let replaced = rules(&[A, B, &format!("10 {C}"), A, C]);
        assert_eq!(replaced, expected(&[(10, "3.3.3.3"), (20, "2.2.2.2"), (30, "1.1.1.1")]));
        let in_front = rules(&[A, &format!("5 {B}"), B]);
        assert_eq!(in_front, expected(&[(5, "2.2.2.2"), (10, "1.1.1.1")]));
        let anew = ["no ip access-list extended X", "ip access-list extended X", A];
        assert_eq!(rules(&[&[A, B][..], &anew].concat()), expected(&[(10, "1.1.1.1")]));
    }
}
