//! Scenarios as text. A command stands alone on its line; what it must cause follows, indented.
//!
//! ```text
//! alice a1 buy perp 10 @ 100.0 [gtc|ioc|fok] [post] [reduce] [cod] [stp=maker|taker|both]
//! alice a1 buy perp 10 market [ioc|fok]
//!     more: [day|gtd=30s] [stp=decrement] [smp=7] [mmp=1]
//! alice replace a1 -> a2 perp 8 @ 99.9 [post] [total]   (id:a1 goes by the venue's name)
//! alice reduce a1 perp 3
//! alice cancel a1 perp | alice cancel id:a1 perp
//! alice mass-cancel [perp] [buy|sell] [orders|quotes] [mmp=1] [all]
//! alice quote q1 perp 5@99.0/6@101.0 call -/0 [post] [mmp=1] [stp=maker] [smp=7]   (- leaves, 0 withdraws)
//! alice mmp 1 window 10s [qty 5] [delta 1.5] [vega 2.0] [freeze 3s]   alice mmp-reset 1
//! alice kill [all] | alice unlock [all]         alice dead-man 5s|off
//! alice open-orders [perp]                      alice positions
//! venue lock alice | venue unlock alice | venue cancel [perp]   market perp|all auction
//! alice withdraw 12.5
//! deposit alice 100                             session alice established|lost [cod=0|1|2]
//! table [index 103.0] [vol 60] [fees 500 -100]  wait 5s, 5m or 5d
//! timer [seal|operator]                         oracle
//! state alice                                   show feed | hide feed
//! ```
//!
//! Any command of a member may end with `by bob`: bob sends it. Text after `//` is for people. Each script
//! runs on both books; their outcomes, sealed bytes and state hashes must be the same.

mod render;

use super::audit::reason_name;
use super::watch::Watch;
use super::{CALL, PERP, PUT, SECOND, STALE, Venue, specs};
use bytemuck::Zeroable;
use firmware::units::AccountId;
use firmware::wire::input::{InLock, InOperatorCancel, InTradingState, TIMER_OPERATOR, TIMER_SEAL};
use firmware::wire::order::{
    Cancel, DeadManTimer, FLAG_CANCEL_ON_DISCONNECT, FLAG_POST_ONLY, FLAG_REDUCE_ONLY,
    FLAG_TOTAL_QUANTITY, KillSwitch, MassCancel, MmpConfig, MmpReset, NewOrder, ORD_LIMIT,
    ORD_MARKET, OpenOrdersRequest, PositionsRequest, ReduceQty, Replace, SCOPE_ALL, SCOPE_ORDERS,
    SCOPE_QUOTES, TIF_DAY, TIF_FOK, TIF_GTC, TIF_GTD, TIF_IOC, Withdraw,
};
use firmware::wire::quote::{MassQuote, QUANTITY_NULL, QuoteEntry};
use firmware::wire::sbe::{BYTE_NULL, ID16_NULL, ID32_NULL, PRICE_NULL};
use matcher::book::{LadderBook, OrderBook};
use matcher::reference::ReferenceBook;
use render::decimal;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Accounts by name: account `k + 1`. `alice2` belongs to alice, the others to a member of their own.
const NAMES: [&str; 14] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory",
    "niaj", "olivia", "alice2",
];
const INSTRUMENTS: [(&str, u16); 3] = [("perp", PERP), ("call", CALL), ("put", PUT)];
const STATES: [&str; 7] = [
    "pre-open",
    "auction",
    "open",
    "cancel-only",
    "halt",
    "settle",
    "delivered",
];

/// Runs a script and compares every line; a failure prints the whole transcript as it was.
pub(crate) fn check(script: &str) {
    check_with(64, script);
}

/// As [`check`], with room for so many resting orders.
pub(crate) fn check_with(orders: u32, script: &str) {
    let lines = script.lines().map(|l| l.split("//").next().unwrap_or(""));
    let wanted: Vec<String> = lines
        .map(|l| format!("{}{}", indent(l), words(l).join(" ")))
        .filter(|l| !l.trim().is_empty())
        .collect();
    let (mut fast, mut slow) = (
        Run::<LadderBook>::new(orders),
        Run::<ReferenceBook>::new(orders),
    );
    let mut got = Vec::new();
    for command in wanted.iter().filter(|l| !l.starts_with(' ')) {
        got.push(command.clone());
        let caused = fast.command(command);
        assert_eq!(
            caused,
            slow.command(command),
            "the books differ on: {command}"
        );
        fast.assert_same(&slow);
        got.extend(caused.iter().map(|l| format!("    {l}")));
    }
    if got != wanted {
        let at = got.iter().zip(&wanted).position(|(g, w)| g != w);
        let at = at.unwrap_or(got.len().min(wanted.len()));
        let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        panic!(
            "line {at} is\n{}\nnot\n{}\nthe transcript:\n{}\n",
            line(&got),
            line(&wanted),
            got.join("\n")
        );
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The first column of a script is that of its commands.
fn indent(line: &str) -> &'static str {
    let line = line.strip_prefix("        ").unwrap_or(line);
    if line.starts_with(' ') { "    " } else { "" }
}

/// A script on one kind of book.
struct Run<B> {
    venue: Venue<B>,
    watch: Watch,
    /// Client's name of an order, by its name in the script.
    names: BTreeMap<String, u64>,
    /// The name in the script, by the venue's name.
    ids: BTreeMap<u64, String>,
    /// Client's names of mass quotes.
    quotes: BTreeSet<u64>,
    feed: bool,
}

impl<B: OrderBook> Run<B> {
    fn new(orders: u32) -> Self {
        let mut venue = Venue::new(orders);
        let mut watch = Watch::default();
        let count = NAMES.len() as u32;
        for account in 1..=count {
            let member = if account == count { 1 } else { account };
            venue.bind(account, member);
        }
        // The feed's definitions are long gone from the outbox: the subscriber learns them here.
        watch.list(&specs());
        Self {
            venue,
            watch,
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            quotes: BTreeSet::new(),
            feed: false,
        }
    }

    fn assert_same<C: OrderBook>(&self, other: &Run<C>) {
        assert_eq!(self.venue.out.outcomes(), other.venue.out.outcomes());
        assert!(self.venue.out.sealed().eq(other.venue.out.sealed()));
        assert_eq!(
            self.venue.engine.state_hash(),
            other.venue.engine.state_hash()
        );
    }

    fn command(&mut self, line: &str) -> Vec<String> {
        let mut w = words(line);
        let by = w.iter().position(|t| *t == "by").map(|at| {
            let name = w[at + 1];
            w.truncate(at);
            account(name)
        });
        match (w[0], &w[1..]) {
            ("deposit", [who, amount]) => {
                let deposited = self.venue.deposit(account(who), micro(amount) as u64);
                deposited.expect("a deposit that follows");
            }
            ("table", rest) => self.table(rest),
            ("wait", [time]) => {
                self.venue.now += span(time);
                return Vec::new();
            }
            ("timer", rest) => self.venue.timer(match rest {
                ["seal"] => TIMER_SEAL,
                ["operator"] => TIMER_SEAL | TIMER_OPERATOR,
                _ => 0,
            }),
            ("oracle", []) => self.venue.oracle(),
            ("session", [who, event, rest @ ..]) => {
                let policy = rest.first().map_or(0, |t| number(&t[4..]) as u8);
                let event = ["established", "terminated", "lost", "replaced"]
                    .iter()
                    .position(|e| e == event);
                let event = event.expect("an event") as u8;
                self.venue.session(member(account(who)), event, policy);
            }
            ("venue", rest) => self.operator(rest),
            ("market", [which, state]) => {
                let state = STATES.iter().position(|s| s == state).expect("a state");
                self.venue.venue(&InTradingState {
                    instrument: if *which == "all" {
                        ID16_NULL
                    } else {
                        id_of(which)
                    },
                    state: state as u8,
                    ..InTradingState::zeroed()
                });
            }
            ("state", [who]) => return vec![self.state(who)],
            (onoff @ ("show" | "hide"), ["feed"]) => {
                self.feed = onoff == "show";
                return Vec::new();
            }
            (who, rest) => {
                let account = account(who);
                self.request(account, member(by.unwrap_or(account)), rest);
            }
        }
        self.watch.check(&self.venue);
        self.render()
    }

    fn table(&mut self, mut rest: &[&str]) {
        let market = &mut self.venue.market;
        loop {
            rest = match rest {
                [] => break,
                ["index", v, r @ ..] => {
                    market.index_micro = micro(v);
                    r
                }
                ["vol", v, r @ ..] => {
                    market.vol_e9 = number(v) * 10_000_000;
                    r
                }
                ["fees", t, m, r @ ..] => {
                    market.taker_fee_ppm = number(t) as i32;
                    market.maker_fee_ppm = number(m) as i32;
                    r
                }
                other => panic!("not of a table: {other:?}"),
            };
        }
        self.venue.oracle();
        self.venue.adopt();
    }

    fn operator(&mut self, w: &[&str]) {
        match w {
            [action @ ("lock" | "unlock"), who] => self.venue.venue(&InLock {
                member: member(account(who)),
                account: account(who),
                action: u8::from(*action == "unlock"),
                ..InLock::zeroed()
            }),
            ["cancel", rest @ ..] => self.venue.venue(&InOperatorCancel {
                member: 0,
                account: ID32_NULL,
                instrument: rest.first().map_or(ID16_NULL, |t| id_of(t)),
                ..InOperatorCancel::zeroed()
            }),
            other => panic!("not the operator's: {other:?}"),
        }
    }

    fn quote(&mut self, account: u32, member: u32, name: &str, w: &[&str]) {
        let mut head = MassQuote {
            cl_ord_id: self.name(name),
            account,
            ..MassQuote::zeroed()
        };
        self.quotes.insert(head.cl_ord_id);
        let mut entries = Vec::new();
        let mut rest = w;
        while let [token, more @ ..] = rest {
            rest = more;
            match token.split_once('=') {
                Some(("mmp", group)) => head.mmp_group = number(group) as u8,
                Some(("smp", id)) => head.smp_id = number(id) as u64,
                Some(("stp", mode)) => head.stp_mode = stp_mode(mode),
                _ if *token == "post" => head.flags |= FLAG_POST_ONLY,
                _ => {
                    let [sides, more @ ..] = more else {
                        panic!("an entry has two sides: {w:?}")
                    };
                    rest = more;
                    let (bid, ask) = sides.split_once('/').expect("bid/ask");
                    let ((bid_quantity, bid_price), (ask_quantity, ask_price)) =
                        (quote_side(bid), quote_side(ask));
                    entries.push(QuoteEntry {
                        bid_price,
                        bid_quantity,
                        ask_price,
                        ask_quantity,
                        instrument: id_of(token),
                        pad1: 0,
                        pad2: 0,
                    });
                }
            }
        }
        self.venue.quote(member, &head, &entries);
    }

    /// Requests that are about more than one order.
    fn protect(&mut self, account: u32, member: u32, w: &[&str]) -> bool {
        let whose = |rest: &[&str]| {
            if rest == ["all"] { ID32_NULL } else { account }
        };
        match w {
            ["quote", name, rest @ ..] => self.quote(account, member, name, rest),
            ["mmp-reset", group] => self.venue.request(
                member,
                MmpReset {
                    cl_ord_id: 9_003,
                    account,
                    mmp_group: number(group) as u8,
                    ..MmpReset::zeroed()
                },
            ),
            ["mmp", group, rest @ ..] => {
                let of = |key: &str| {
                    let at = rest.iter().position(|t| *t == key)?;
                    Some(rest[at + 1])
                };
                let config = MmpConfig {
                    cl_ord_id: 9_004,
                    window_ns: of("window").map_or(0, span),
                    freeze_ns: of("freeze").map_or(0, span),
                    quantity_limit: of("qty").map_or(0, number),
                    delta_limit: of("delta").map_or(0, |t| micro(t) * 1_000),
                    vega_limit: of("vega").map_or(0, micro),
                    account,
                    mmp_group: number(group) as u8,
                    ..MmpConfig::zeroed()
                };
                self.venue.request(member, config);
            }
            [action @ ("kill" | "unlock"), rest @ ..] => self.venue.request(
                member,
                KillSwitch {
                    cl_ord_id: 9_005,
                    account: whose(rest),
                    action: u8::from(*action == "unlock"),
                    ..KillSwitch::zeroed()
                },
            ),
            ["dead-man", time] => self.venue.request(
                member,
                DeadManTimer {
                    cl_ord_id: 9_006,
                    timeout_ns: if *time == "off" { 0 } else { span(time) },
                },
            ),
            ["open-orders", rest @ ..] => self.venue.request(
                member,
                OpenOrdersRequest {
                    cl_ord_id: 9_007,
                    after: 0,
                    account,
                    instrument: rest.first().map_or(ID16_NULL, |t| id_of(t)),
                    pad1: 0,
                },
            ),
            ["positions"] => self.venue.request(
                member,
                PositionsRequest {
                    cl_ord_id: 9_008,
                    account,
                    pad1: 0,
                },
            ),
            _ => return false,
        }
        true
    }

    fn request(&mut self, account: u32, member: u32, w: &[&str]) {
        if self.protect(account, member, w) {
            return;
        }
        match w {
            ["reduce", which, instrument, lots] => {
                let (order_id, orig_cl_ord_id) = self.which(which);
                self.venue.request(
                    member,
                    ReduceQty {
                        cl_ord_id: 9_009,
                        order_id,
                        orig_cl_ord_id,
                        quantity: number(lots),
                        account,
                        instrument: id_of(instrument),
                        pad1: 0,
                    },
                );
            }
            ["cancel", which, instrument] => {
                let (order_id, orig_cl_ord_id) = self.which(which);
                self.venue.request(
                    member,
                    Cancel {
                        cl_ord_id: 9_000,
                        order_id,
                        orig_cl_ord_id,
                        account,
                        instrument: id_of(instrument),
                        pad1: 0,
                    },
                );
            }
            ["mass-cancel", rest @ ..] => {
                let side = rest.iter().find_map(|t| side_of(t));
                let known = |t: &&&str| INSTRUMENTS.iter().any(|(n, _)| n == *t);
                let instrument = rest.iter().find(known);
                let group = rest.iter().find_map(|t| t.strip_prefix("mmp="));
                let scope = [("orders", SCOPE_ORDERS), ("quotes", SCOPE_QUOTES)];
                let scope = scope.iter().find(|(n, _)| rest.contains(n));
                self.venue.request(
                    member,
                    MassCancel {
                        cl_ord_id: 9_001,
                        account: if rest.contains(&"all") {
                            ID32_NULL
                        } else {
                            account
                        },
                        scope: scope.map_or(SCOPE_ALL, |s| s.1),
                        instrument: instrument.map_or(ID16_NULL, |t| id_of(t)),
                        side: side.unwrap_or(BYTE_NULL),
                        mmp_group: group.map_or(BYTE_NULL, |g| number(g) as u8),
                        ..MassCancel::zeroed()
                    },
                );
            }
            ["withdraw", amount] => self.venue.request(
                member,
                Withdraw {
                    cl_ord_id: 9_002,
                    amount: micro(amount),
                    account,
                    pad1: 0,
                },
            ),
            [
                "replace",
                which,
                "->",
                name,
                instrument,
                lots,
                "@",
                price,
                flags @ ..,
            ] => {
                let (order_id, orig_cl_ord_id) = self.which(which);
                let cl_ord_id = self.name(name);
                self.venue.request(
                    member,
                    Replace {
                        cl_ord_id,
                        order_id,
                        orig_cl_ord_id,
                        price: price_e9(price),
                        quantity: number(lots),
                        account,
                        instrument: id_of(instrument),
                        flags: (u8::from(flags.contains(&"post")) * FLAG_POST_ONLY)
                            | (u8::from(flags.contains(&"total")) * FLAG_TOTAL_QUANTITY),
                        pad1: 0,
                    },
                );
            }
            [name, side, instrument, lots, rest @ ..] => {
                let cl_ord_id = self.name(name);
                let now = self.venue.now;
                let order = new_order(
                    cl_ord_id,
                    account,
                    side,
                    instrument,
                    number(lots),
                    rest,
                    now,
                );
                self.venue.request(member, order);
            }
            other => panic!("not a request: {other:?}"),
        }
    }

    /// Client names rise over all members, so that one member's name never means another's order.
    fn name(&mut self, name: &str) -> u64 {
        let next = self.names.len() as u64 + 1;
        let cl_ord_id = *self.names.entry(name.to_owned()).or_insert(next);
        assert_eq!(cl_ord_id, next, "{name} is named twice");
        next
    }

    /// Venue's and client's name of an order; one of them is zero.
    fn which(&self, which: &str) -> (u64, u64) {
        match which.strip_prefix("id:") {
            Some(name) => {
                let found = self.ids.iter().rev().find(|(_, n)| *n == name);
                (*found.expect("an order that was accepted").0, 0)
            }
            None => (0, self.names[which]),
        }
    }

    fn named(&self, cl_ord_id: u64) -> &str {
        let found = self.names.iter().find(|(_, id)| **id == cl_ord_id);
        found.map_or("?", |(name, _)| name)
    }

    fn state(&self, who: &str) -> String {
        let a = self.venue.engine.accounts().get(AccountId(account(who)));
        let a = a.expect("an account");
        let (cash, sign) = (a.leaf.cash_pico.abs(), a.leaf.cash_pico < 0);
        let mut line = format!(
            "{who} cash {}{}.{:012} nonce {}",
            if sign { "-" } else { "" },
            cash / 1_000_000_000_000,
            cash % 1_000_000_000_000,
            a.leaf.nonce
        );
        for (name, id) in INSTRUMENTS {
            if a.leaf.positions[id as usize] != 0 {
                write!(line, " {name} {}", a.leaf.positions[id as usize]).expect("text");
            }
        }
        write!(
            line,
            " worst {} fund {}",
            decimal(a.worst_micro()),
            self.venue.engine.fund_pico()
        )
        .expect("text");
        line
    }
}

fn new_order(
    cl_ord_id: u64,
    account: u32,
    side: &str,
    instrument: &str,
    quantity: i64,
    rest: &[&str],
    now: u64,
) -> NewOrder {
    let (market, limit, rest) = match rest {
        ["market", rest @ ..] => (true, PRICE_NULL, rest),
        ["@", limit, rest @ ..] => (false, price_e9(limit), rest),
        other => panic!("an order has a price: {other:?}"),
    };
    let mut order = NewOrder {
        cl_ord_id,
        price: limit,
        quantity,
        expire_time: 0,
        smp_id: 0,
        account,
        instrument: id_of(instrument),
        side: side_of(side).expect("a side"),
        ord_type: if market { ORD_MARKET } else { ORD_LIMIT },
        time_in_force: if market { TIF_IOC } else { TIF_GTC },
        flags: 0,
        stp_mode: 0,
        mmp_group: 0,
        pad1: 0,
    };
    for token in rest {
        match *token {
            "gtc" => order.time_in_force = TIF_GTC,
            "ioc" => order.time_in_force = TIF_IOC,
            "fok" => order.time_in_force = TIF_FOK,
            "post" => order.flags |= FLAG_POST_ONLY,
            "reduce" => order.flags |= FLAG_REDUCE_ONLY,
            "cod" => order.flags |= FLAG_CANCEL_ON_DISCONNECT,
            "stp=maker" => order.stp_mode = 0,
            "stp=taker" => order.stp_mode = 1,
            "stp=both" => order.stp_mode = 2,
            "day" => order.time_in_force = TIF_DAY,
            other => match other.split_once('=') {
                Some(("stp", mode)) => order.stp_mode = stp_mode(mode),
                Some(("smp", id)) => order.smp_id = number(id) as u64,
                Some(("mmp", group)) => order.mmp_group = number(group) as u8,
                Some(("gtd", time)) => {
                    order.time_in_force = TIF_GTD;
                    order.expire_time = now + span(time);
                }
                _ => panic!("not of an order: {other}"),
            },
        }
    }
    order
}

fn stp_mode(name: &str) -> u8 {
    let modes = ["maker", "taker", "both", "decrement"];
    modes.iter().position(|m| *m == name).expect("a mode") as u8
}

/// `5@99.0`, `0` or `-`: quantity and price.
fn quote_side(text: &str) -> (i64, i64) {
    match text.split_once('@') {
        Some((lots, price)) => (number(lots), price_e9(price)),
        None if text == "-" => (QUANTITY_NULL, 0),
        None => (number(text), 0),
    }
}

/// A span such as `5s`, `5m` or `5d`, in ns.
fn span(text: &str) -> u64 {
    let (n, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => SECOND,
        "m" => 60 * SECOND,
        _ => super::DAY,
    };
    n.parse::<u64>().expect("a number") * unit
}

fn account(name: &str) -> u32 {
    let at = NAMES.iter().position(|n| *n == name);
    at.unwrap_or_else(|| panic!("nobody is called {name}")) as u32 + 1
}

const fn member(account: u32) -> u32 {
    if account == NAMES.len() as u32 {
        1
    } else {
        account
    }
}

fn id_of(name: &str) -> u16 {
    let found = INSTRUMENTS.iter().find(|(n, _)| *n == name);
    found
        .unwrap_or_else(|| panic!("no instrument is called {name}"))
        .1
}

fn side_of(name: &str) -> Option<u8> {
    match name {
        "buy" => Some(0),
        "sell" => Some(1),
        _ => None,
    }
}

fn number(text: &str) -> i64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no number"))
}

/// A decimal number with at most six places, in millionths.
fn micro(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    number(whole) * 1_000_000 + number(&format!("{part:0<6}"))
}

fn price_e9(text: &str) -> i64 {
    micro(text) * 1_000
}

const _: () = assert!(STALE == 10 * SECOND, "the scripts count on it");
