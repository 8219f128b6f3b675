//! The end check: what must hold after any run, taken from L1, from the journal and from what the clients were
//! told.

use anyhow::{Context as _, bail, ensure};
use firmware::wire::input::{InCancel, InMassCancel, InNewOrder, InRefused, InReplace, InWithdraw};
use firmware::wire::sbe::{self, Message, SbeError};
use journal::Reader;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// An answered request, as a client noted it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ack {
    member: u32,
    client_seq: u64,
    cl_ord_id: u64,
    report: String,
}

/// Answers by the journal record that they name.
type Acks = BTreeMap<u64, Vec<Ack>>;

fn read_acks(path: &Path, into: &mut Acks) -> anyhow::Result<()> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (line, text) in (1..).zip(BufReader::new(file).lines()) {
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let (seq, ack) =
            parse_ack(&text).with_context(|| format!("{} line {line}", path.display()))?;
        into.entry(seq).or_default().push(ack);
    }
    Ok(())
}

fn parse_ack(text: &str) -> anyhow::Result<(u64, Ack)> {
    let fields: Vec<&str> = text.split(',').collect();
    let [seq, member, client_seq, cl_ord_id, report] = fields[..] else {
        bail!("not five columns: {text:?}")
    };
    let ack = Ack {
        member: member.parse()?,
        client_seq: client_seq.parse()?,
        cl_ord_id: cl_ord_id.parse()?,
        report: report.to_owned(),
    };
    Ok((seq.parse()?, ack))
}

/// Number and name of the request in a record; `None` if the record is no request.
fn request_of(template: u16, body: &[u8]) -> Result<Option<(u64, u64)>, SbeError> {
    macro_rules! names {
        ($($m:ty),+) => {
            match template {
                $(<$m>::TEMPLATE => {
                    let m: $m = sbe::read(body)?;
                    Some((m.client_seq, m.cl_ord_id))
                })+
                _ => None,
            }
        };
    }
    Ok(names!(
        InNewOrder,
        InReplace,
        InCancel,
        InMassCancel,
        InWithdraw,
        InRefused
    ))
}

/// Checks that each answered request stands in the journal at the record that its report named, with the
/// member, number and name that the client gave it. Returns how many were checked.
pub(crate) fn acks_are_in_journal(files: &[&Path], journal: &Path) -> anyhow::Result<u64> {
    let mut acks = Acks::new();
    for path in files {
        read_acks(path, &mut acks)?;
    }
    let mut checked = 0;
    let mut reader = Reader::open(journal)?;
    while let Some(view) = reader.next()? {
        let Some(list) = acks.remove(&view.header.seq) else {
            continue;
        };
        let request = request_of(view.header.template, view.body)
            .map_err(|e| anyhow::anyhow!("record {}: {e}", view.header.seq))?;
        for ack in list {
            ensure!(
                request == Some((ack.client_seq, ack.cl_ord_id))
                    && view.header.session == ack.member,
                "record {} is not request {} of member {} that its {} names",
                view.header.seq,
                ack.client_seq,
                ack.member,
                ack.report
            );
            checked += 1;
        }
    }
    if let Some((seq, list)) = acks.first_key_value() {
        bail!(
            "{} acknowledged requests are not in the journal, the first at record {seq} ({} of member {})",
            acks.values().map(Vec::len).sum::<usize>(),
            list[0].report,
            list[0].member
        );
    }
    Ok(checked)
}

/// Records and bytes of a journal, for the figures.
pub(crate) fn journal_size(journal: &Path) -> u64 {
    let entries = std::fs::read_dir(journal).into_iter().flatten().flatten();
    entries
        .filter_map(|e| e.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_answers_reads_back() {
        let (seq, ack) = parse_ack("12,3,4,5,Accepted").expect("good");
        assert_eq!(
            (
                seq,
                ack.member,
                ack.client_seq,
                ack.cl_ord_id,
                ack.report.as_str()
            ),
            (12, 3, 4, 5, "Accepted")
        );
        assert!(parse_ack("12,3,4,5").is_err() && parse_ack("x,3,4,5,A").is_err());
    }

    #[test]
    fn an_answer_that_no_record_backs_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let acks = dir.path().join("a");
        std::fs::write(&acks, "7,3,4,5,Accepted\n").expect("written");
        let journal = dir.path().join("journal");
        std::fs::create_dir(&journal).expect("made");
        let error = acks_are_in_journal(&[&acks], &journal)
            .expect_err("nothing there")
            .to_string();
        assert_eq!(
            error,
            "1 acknowledged requests are not in the journal, the first at record 7 (Accepted of member 3)"
        );
    }
}
