//! The other boxes of `[replication]`: whether they can be reached, and what they say of themselves.

use super::{Check, Finding};
use crate::replication::ReplicationSection;
use crate::replication::link::load_key;
use crate::replication::promotion::ask_one;
use crate::replication::wire::Ask;
use std::time::Instant;

const KEY: Check = Check::new(
    "replication key",
    "who has it may send this box a journal, and nobody else",
);
const PEER: Check = Check::new(
    "replication peer",
    "without a quorum of standbys nothing is acknowledged in durability mode replicated",
);

/// Asks each box, which takes a second where one does not answer.
pub(super) fn findings(section: &ReplicationSection) -> Vec<Finding> {
    let key = match load_key(&section.key_file) {
        Ok(key) => key,
        Err(e) => {
            let mend = "hostd keygen --out FILE on one box, then copy it to all";
            return vec![KEY.problem(format!("{e:#}"), mend)];
        }
    };
    let mut findings = vec![KEY.ok("64 hex digits that only this user can read")];
    let ask = Ask {
        name: section.name.clone(),
        leads: false,
    };
    findings.extend(section.peers.iter().map(|peer| {
        let begun = Instant::now();
        match ask_one(peer, &key, 0, &ask) {
            Ok((epoch, s)) if s.name != peer.name => PEER.problem(
                format!("{} answers as {} (epoch {epoch})", peer.name, s.name),
                "make replication.peers and replication.name agree on all boxes",
            ),
            Ok((epoch, s)) => PEER.ok(format!(
                "{}: {}, epoch {epoch} led by {}, next record {}, answers in {} us",
                peer.name,
                s.role,
                s.leader,
                s.next_seq,
                begun.elapsed().as_micros()
            )),
            Err(e) => PEER.problem(
                format!("{} on {}: {e:#}", peer.name, peer.address),
                "start it with hostd standby, with the same key, and let TCP through",
            ),
        }
    }));
    findings
}
