//! The cases against strongSwan 5 and 6 in a namespace, whose ESP runs in user space.

mod children;
mod credentials;
mod life;
mod nat;
mod negotiation;
mod refusals;

use crate::case::{BOTH, Case, Opposite, RELEASES};
use crate::plays;

/// Every case in the order of the table.
pub fn all() -> Vec<Case> {
    [
        negotiation::cases(),
        credentials::cases(),
        children::cases(),
        nat::cases(),
        life::cases(),
        refusals::cases(),
        readme(),
    ]
    .concat()
}

/// The configuration of the README, verbatim.
fn readme() -> Vec<Case> {
    let page = include_str!("../../../../README.md");
    let section = page.split_once("## Connect it to a strongSwan").map_or("", |(_, rest)| rest);
    let mut blocks = section.split("```").skip(1).step_by(2).map(str::trim_start);
    let (ours, theirs) = (blocks.next().unwrap_or_default(), blocks.next().unwrap_or_default());
    let mut cases = Vec::new();
    for release in RELEASES {
        for initiator in BOTH {
            let mut case = Case::new("the README's lines", Opposite::Namespace(release), initiator);
            case.verbatim = Some((ours.to_owned(), theirs.to_owned()));
            cases.push(
                case.showing(&["transform: esp-gcm 256 ,"], &["AES_GCM_16-256"]).playing(plays::transfer),
            );
        }
    }
    cases
}
