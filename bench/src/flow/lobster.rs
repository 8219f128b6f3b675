//! LOBSTER message files: six columns a line, no header.
//!
//! ```text
//! seconds after midnight , type , order id , size , price x 10^4 , direction (1 buy, -1 sell)
//! ```
//!
//! Type 1 posts a limit order, 2 takes a part off, 3 deletes, 4 is an execution of a visible order; 5 (hidden),
//! 6 (auction) and 7 (halt) have no counterpart here. Direction is that of the resting order.

use super::market::{Amount, Recorder, Seen};
use super::{Ask, ClientIds, MESSAGES_PER_SECOND_MAX, Order, Step};
use crate::scenario::{self, IndexModel, Listing, Member, Role, Scenario, Source};
use anyhow::Context as _;
use firmware::wire::order::{STP_CANCEL_MAKER, TIF_GTC, TIF_IOC};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

/// Bytes of the longest line that can be right.
const LINE_MAX: usize = 128;
/// Micro-units in one unit of the file's prices.
const MICRO_PER_PRICE: i64 = 100;
/// The file's prices in a tick of a cent.
const PRICES_PER_TICK: i64 = 100;

/// A message of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Message {
    time_ns: u64,
    kind: u8,
    order: u64,
    size: i64,
    /// x 10^4.
    price: i64,
    buy: bool,
}

/// What came after the messages that are replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Beyond {
    messages: u64,
    executions: Amount,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
    #[error("line {line}: {source}")]
    Read { line: usize, source: std::io::Error },
    #[error("holds no messages")]
    Empty,
}

/// Seconds after midnight with up to nine decimals, in ns.
fn parse_time(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: u64 = whole.parse().ok().filter(|&s| s < 86_400)?;
    let digits: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    Some(seconds * 1_000_000_000 + digits * 10u64.pow(9 - fraction.len() as u32))
}

fn parse_line(text: &str) -> Result<Message, String> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let [time, kind, order, size, price, direction] = fields[..] else {
        return Err(format!("{} of six columns", fields.len()));
    };
    let kind: u8 = match kind.parse() {
        Ok(k @ 1..=7) => k,
        _ => return Err(format!("type {kind:?} is not 1 to 7")),
    };
    let time_ns =
        parse_time(time).ok_or_else(|| format!("time {time:?} is not seconds after midnight"))?;
    let order = order
        .parse()
        .map_err(|_| format!("order id {order:?} is no number"))?;
    // A halt has -1 for a price and 0 for a size; for all others both must be positive.
    let halt = kind == 7;
    let whole = |name: &str, text: &str, max: i64| match text.parse::<i64>() {
        Ok(v) if halt || (1..=max).contains(&v) => Ok(v),
        _ => Err(format!("{name} {text:?} is not in 1..={max}")),
    };
    let size = whole("size", size, firmware::limits::ORDER_LOTS_MAX)?;
    let price = whole("price", price, 1 << 40)?;
    let buy = match direction {
        "1" => true,
        "-1" => false,
        _ => return Err(format!("direction {direction:?} is not 1 or -1")),
    };
    Ok(Message {
        time_ns,
        kind,
        order,
        size,
        price,
        buy,
    })
}

/// Reads at most `most` messages; the second value counts what came after.
fn parse(mut input: impl BufRead, most: usize) -> Result<(Vec<Message>, Beyond), FlowError> {
    let mut beyond = Beyond::default();
    let (mut out, mut text) = (Vec::<Message>::new(), String::new());
    for line in 1.. {
        text.clear();
        let limit = LINE_MAX as u64 + 2;
        let read = std::io::Read::take(&mut input, limit)
            .read_line(&mut text)
            .map_err(|source| FlowError::Read { line, source })?;
        if read == 0 {
            break;
        }
        let refuse = |what| FlowError::Line { line, what };
        let body = text.trim_end_matches(['\n', '\r']);
        if body.len() > LINE_MAX {
            return Err(refuse(format!("longer than {LINE_MAX} bytes")));
        }
        if body.is_empty() && input.fill_buf().is_ok_and(<[u8]>::is_empty) {
            break;
        }
        let message = parse_line(body).map_err(refuse)?;
        if out
            .last()
            .is_some_and(|last| message.time_ns < last.time_ns)
        {
            return Err(refuse("the time goes back".to_owned()));
        }
        if out.len() < most {
            out.push(message);
        } else {
            beyond.messages += 1;
            if matches!(message.kind, 4 | 5) {
                beyond.executions.add(message.size);
            }
        }
    }
    if out.is_empty() {
        Err(FlowError::Empty)
    } else {
        Ok((out, beyond))
    }
}

/// A live order of the file.
struct Live {
    buy: bool,
    price: i64,
    left: i64,
    member: u32,
    /// Client's name after the last change.
    name: u64,
}

/// Turns messages into steps and keeps the book that the file itself describes, for its mid.
struct Mapper {
    listing: Listing,
    /// Member ids.
    makers: Vec<u32>,
    takers: Vec<u32>,
    /// The file's prices that can be mapped.
    band: std::ops::RangeInclusive<i64>,
    ids: ClientIds,
    live: BTreeMap<u64, Live>,
    outside: std::collections::BTreeSet<u64>,
    /// Lots by price: bids, asks.
    levels: [BTreeMap<i64, i64>; 2],
    steps: Vec<Step>,
    unmapped: BTreeMap<String, u64>,
}

impl Mapper {
    /// Maps a message to the lots of its step, or says why there is none.
    fn map(&mut self, at_ns: u64, m: &Message) -> Result<i64, String> {
        let mapped = match m.kind {
            1 => self.add(at_ns, m),
            2..=4 => self.change(at_ns, m),
            5 => Err("hidden execution (type 5)".to_owned()),
            6 => Err("auction trade (type 6)".to_owned()),
            _ => Err("trading halt (type 7)".to_owned()),
        };
        if let Err(why) = &mapped {
            *self.unmapped.entry(why.clone()).or_default() += 1;
        }
        mapped
    }

    fn level(&mut self, buy: bool, price: i64, change: i64) {
        let side = &mut self.levels[usize::from(!buy)];
        let lots = side.entry(price).or_default();
        *lots += change;
        if *lots <= 0 {
            side.remove(&price);
        }
    }

    /// Twice the mid, in the file's prices.
    fn mid2(&self) -> Option<i64> {
        let (bid, _) = self.levels[0].last_key_value()?;
        let (ask, _) = self.levels[1].first_key_value()?;
        Some(bid + ask)
    }

    fn push(&mut self, at_ns: u64, member: u32, ask: Ask) -> u64 {
        // One account a member in these scenarios, of the same number.
        let order = Order {
            account: member,
            instrument: self.listing.id,
            ask,
        };
        self.steps.push(Step {
            at_ns,
            member,
            order,
        });
        self.ids.next(member)
    }

    fn add(&mut self, at_ns: u64, m: &Message) -> Result<i64, String> {
        if self.live.contains_key(&m.order) {
            return Err("new order with an id that is live".to_owned());
        }
        if !self.band.contains(&m.price) {
            self.outside.insert(m.order);
            return Err("new order (type 1) priced outside the band".to_owned());
        }
        if m.price % PRICES_PER_TICK != 0 {
            self.outside.insert(m.order);
            return Err("new order (type 1) priced between two ticks".to_owned());
        }
        let member = self.makers[(m.order % self.makers.len() as u64) as usize];
        let ask = Ask::New {
            side: u8::from(!m.buy),
            price_ticks: Some(m.price / PRICES_PER_TICK),
            lots: m.size,
            tif: TIF_GTC,
            flags: 0,
            stp: STP_CANCEL_MAKER,
        };
        let name = self.push(at_ns, member, ask);
        self.level(m.buy, m.price, m.size);
        self.live.insert(
            m.order,
            Live {
                buy: m.buy,
                price: m.price,
                left: m.size,
                member,
                name,
            },
        );
        Ok(m.size)
    }

    fn change(&mut self, at_ns: u64, m: &Message) -> Result<i64, String> {
        let what = [
            "partial cancel (type 2)",
            "deletion (type 3)",
            "execution (type 4)",
        ][usize::from(m.kind) - 2];
        let Some(mut order) = self.live.remove(&m.order) else {
            let why = if self.outside.contains(&m.order) {
                "of an order that was not mapped"
            } else {
                "of an order from before the file"
            };
            return Err(format!("{what} {why}"));
        };
        let taken = if m.kind == 3 {
            order.left
        } else {
            m.size.min(order.left)
        };
        match m.kind {
            2 if taken < order.left => {
                let ask = Ask::Replace {
                    orig: order.name,
                    price_ticks: order.price / PRICES_PER_TICK,
                    lots: order.left - taken,
                    flags: 0,
                };
                order.name = self.push(at_ns, order.member, ask);
            }
            2 | 3 => {
                self.push(at_ns, order.member, Ask::Cancel { orig: order.name });
            }
            _ => {
                let taker = self.takers[(m.order % self.takers.len() as u64) as usize];
                let ask = Ask::New {
                    side: u8::from(order.buy),
                    price_ticks: Some(order.price / PRICES_PER_TICK),
                    lots: taken,
                    tif: TIF_IOC,
                    flags: 0,
                    stp: STP_CANCEL_MAKER,
                };
                self.push(at_ns, taker, ask);
            }
        }
        self.level(order.buy, order.price, -taken);
        order.left -= taken;
        if order.left > 0 {
            self.live.insert(m.order, order);
        }
        Ok(taken)
    }
}

fn ids(members: &[Member], role: Role) -> Vec<u32> {
    members
        .iter()
        .filter(|m| m.role == role)
        .map(|m| m.id)
        .collect()
}

fn median_price(messages: &[Message]) -> Option<i64> {
    let mut prices: Vec<i64> = messages
        .iter()
        .filter(|m| m.kind <= 4)
        .map(|m| m.price)
        .collect();
    prices.sort_unstable();
    prices.get(prices.len() / 2).copied()
}

/// The scenario of a LOBSTER file.
///
/// # Errors
/// When the file cannot be read, or a line is not as it should be (named by its number).
pub(crate) fn scenario(
    path: &Path,
    seed: u64,
    seconds: u64,
    accounts: u32,
) -> anyhow::Result<Scenario> {
    let file = std::fs::File::open(path)?;
    let most = (seconds * MESSAGES_PER_SECOND_MAX) as usize;
    let (messages, beyond) = parse(std::io::BufReader::new(file), most)?;
    build(&messages, beyond, seed, seconds, accounts).context("no priced message")
}

fn build(
    messages: &[Message],
    beyond: Beyond,
    seed: u64,
    seconds: u64,
    accounts: u32,
) -> Option<Scenario> {
    let median = median_price(messages)?;
    let listing = scenario::flow_listing(median * MICRO_PER_PRICE);
    let members = scenario::members(accounts);
    let reach = median / 25; // inside the collar of 5 % even when the index has moved by 1 %
    let mut mapper = Mapper {
        makers: ids(&members, Role::Maker),
        takers: ids(&members, Role::Taker),
        band: median - reach..=median + reach,
        ids: ClientIds::default(),
        live: BTreeMap::new(),
        outside: std::collections::BTreeSet::new(),
        levels: [BTreeMap::new(), BTreeMap::new()],
        steps: Vec::new(),
        unmapped: BTreeMap::new(),
        listing,
    };
    let (first, last) = (messages.first()?.time_ns, messages.last()?.time_ns);
    let span = u128::from((last - first).max(1));
    let mut path: Vec<(u64, i64)> = Vec::new();
    let mut recorder = Recorder::new(seconds, PRICES_PER_TICK, mapper.listing.tick_micro);
    for m in messages {
        let at_ns =
            (u128::from(m.time_ns - first) * u128::from(seconds) * 1_000_000_000 / span) as u64;
        let mapped = mapper.map(at_ns, m);
        let step = match (&mapped, mapper.steps.last()) {
            (Ok(lots), Some(step)) => Ok((step, *lots)),
            (mapped, _) => Err(mapped.as_ref().err().map_or("no step", String::as_str)),
        };
        recorder.message(&Seen {
            at_ns,
            kind: m.kind,
            order: m.order,
            size: m.size,
            price: m.price,
            buy: m.buy,
            step,
        });
        // While the book is thin its mid can be far from the market; such points are no index.
        let mid = mapper.mid2().map(|two| two * MICRO_PER_PRICE / 2);
        let near =
            |&v: &i64| (v - median * MICRO_PER_PRICE).abs() * 100 <= median * MICRO_PER_PRICE;
        if let Some(mid) = mid.filter(near)
            && path.last().is_none_or(|&(_, before)| before != mid)
        {
            path.push((at_ns, mid));
        }
    }
    if beyond.messages > 0 {
        let why = format!("beyond {MESSAGES_PER_SECOND_MAX} messages for each second of trading");
        recorder.beyond(&why, beyond.executions);
        mapper.unmapped.insert(why, beyond.messages);
    }
    let start_micro = path.first().map_or(median * MICRO_PER_PRICE, |&(_, v)| v);
    Some(Scenario {
        title: format!(
            "recorded flow: {} LOBSTER messages",
            messages.len() as u64 + beyond.messages
        ),
        seed,
        seconds,
        listings: vec![mapper.listing],
        deposits: scenario::deposits(&members, 20_000_000),
        members,
        index: IndexModel {
            start_micro,
            path,
            step_ppm: 0,
            reversion_ppm: 0,
            jump_chance_ppm: 0,
            vols_e9: [300_000_000; 4],
        },
        source: Source::Recorded(mapper.steps),
        unmapped: mapper.unmapped,
        market: Some(recorder.finish()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "34200.0,1,10,100,5853300,1\n\
                        34200.5,1,11,40,5859100,-1\n\
                        34201.25,2,10,30,5853300,1\n\
                        34202.0,4,10,50,5853300,1\n\
                        34203,3,10,20,5853300,1\n\
                        34204.000000001,5,0,7,5856000,1\n\
                        34205,4,99,7,5856000,1\n\
                        34206,1,12,5,9990000,-1\n\
                        34207,3,12,5,9990000,-1\n\
                        34210,7,0,0,-1,-1\n";

    fn read(text: &str) -> Result<(Vec<Message>, Beyond), FlowError> {
        parse(text.as_bytes(), 1_000)
    }

    fn mapped(text: &str) -> Scenario {
        let (messages, beyond) = read(text).expect("good lines");
        build(&messages, beyond, 1, 20, 4).expect("priced messages")
    }

    fn steps(s: &Scenario) -> &[Step] {
        match &s.source {
            Source::Recorded(steps) => steps,
            Source::Synthetic => panic!("a recorded flow"),
        }
    }

    #[test]
    fn times_are_read_to_the_nanosecond() {
        assert_eq!(parse_time("34200.004241176"), Some(34_200_004_241_176));
        assert_eq!(parse_time("34200.5"), Some(34_200_500_000_000));
        assert_eq!(parse_time("34200"), Some(34_200_000_000_000));
        for bad in ["", "x", "1.2.3", "86400", "-1", "1.1234567890", "1.-5"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_its_fault() {
        for (bad, fault) in [
            ("34200,1,1,1,1", "line 2: 5 of six columns"),
            ("34200,8,1,1,1,1", "line 2: type \"8\" is not 1 to 7"),
            (
                "noon,1,1,1,1,1",
                "line 2: time \"noon\" is not seconds after midnight",
            ),
            ("34200,1,x,1,1,1", "line 2: order id \"x\" is no number"),
            (
                "34200,1,1,0,1,1",
                "line 2: size \"0\" is not in 1..=16777215",
            ),
            (
                "34200,1,1,1,-5,1",
                "line 2: price \"-5\" is not in 1..=1099511627776",
            ),
            ("34200,1,1,1,1,0", "line 2: direction \"0\" is not 1 or -1"),
            ("34199,1,1,1,1,1", "line 2: the time goes back"),
            ("", "line 2: 1 of six columns"),
        ] {
            let text = format!("34200,1,1,1,1,1\n{bad}\n34300,1,2,1,1,1\n");
            let error = read(&text).expect_err(bad).to_string();
            assert_eq!(error, fault);
        }
        let long = "1".repeat(400);
        assert_eq!(
            read(&long).expect_err("long").to_string(),
            "line 1: longer than 128 bytes"
        );
        assert_eq!(
            read("").expect_err("empty").to_string(),
            "holds no messages"
        );
        assert!(parse(&[0xFF, 0xFE, b'\n'][..], 9).is_err(), "not text");
    }

    #[test]
    fn each_type_becomes_the_request_that_it_means() {
        let s = mapped(GOOD);
        let asks: Vec<_> = steps(&s).iter().map(|s| (s.member, s.order.ask)).collect();
        // Makers are members 1 and 2, takers 3 and 4; order 10 belongs to the first of each.
        let limit = |side, price, lots, tif| Ask::New {
            side,
            price_ticks: Some(price),
            lots,
            tif,
            flags: 0,
            stp: STP_CANCEL_MAKER,
        };
        assert_eq!(
            asks,
            [
                (1, limit(0, 58_533, 100, TIF_GTC)),
                (2, limit(1, 58_591, 40, TIF_GTC)),
                (
                    1,
                    Ask::Replace {
                        orig: 1,
                        price_ticks: 58_533,
                        lots: 70,
                        flags: 0
                    }
                ),
                (3, limit(1, 58_533, 50, TIF_IOC)),
                (1, Ask::Cancel { orig: 2 }),
            ]
        );
        assert_eq!(
            s.index.path.first(),
            Some(&(1_000_000_000, 585_620_000)),
            "mid at 0.5 of 10 s, stretched to 20"
        );
        assert_eq!(s.index.start_micro, 585_620_000);
    }

    #[test]
    fn what_cannot_be_mapped_is_counted_by_kind() {
        let s = mapped(GOOD);
        let kinds: Vec<_> = s.unmapped.iter().map(|(k, n)| (k.as_str(), *n)).collect();
        assert_eq!(
            kinds,
            [
                ("deletion (type 3) of an order that was not mapped", 1),
                ("execution (type 4) of an order from before the file", 1),
                ("hidden execution (type 5)", 1),
                ("new order (type 1) priced outside the band", 1),
                ("trading halt (type 7)", 1),
            ]
        );
        assert_eq!(
            steps(&s).len() as u64 + s.unmapped.values().sum::<u64>(),
            10,
            "nothing is dropped in silence"
        );
    }

    #[test]
    fn a_long_file_is_cut_to_the_pace_and_the_rest_counted() {
        let (messages, beyond) = parse(GOOD.as_bytes(), 4).expect("good lines");
        let executions = Amount { count: 2, lots: 14 };
        let rest = Beyond {
            messages: 6,
            executions,
        };
        assert_eq!((messages.len(), beyond), (4, rest));
        let s = build(&messages, beyond, 1, 20, 4).expect("priced messages");
        assert_eq!(
            s.unmapped["beyond 400 messages for each second of trading"],
            6
        );
    }
}
