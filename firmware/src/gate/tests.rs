use super::*;

const ACCOUNT: u32 = 7;
const RATES: Rates = Rates {
    requests_per_second: 1_000,
    quotes_per_second: 1_000,
};

fn gate() -> Gate {
    let mut g = Gate::new();
    assert!(g.add_member(MemberId(1), RATES));
    assert!(g.add_member(MemberId(2), RATES));
    assert!(g.bind_account(AccountId(ACCOUNT), MemberId(1)));
    let i = GateInstrument {
        tick_e9: 500_000_000,
        base: PriceTicks(100),
        width_ticks: 1_000,
        order_lots_max: 50,
        tick2_from: PriceTicks(600),
        tick2_multiple: 4,
    };
    assert!(g.list(InstrumentId(3), i));
    g
}

fn order() -> NewOrder {
    NewOrder {
        cl_ord_id: 10,
        price: 100_000_000_000,
        quantity: 5,
        expire_time: 0,
        smp_id: 0,
        account: ACCOUNT,
        instrument: 3,
        side: 0,
        ord_type: ORD_LIMIT,
        time_in_force: crate::wire::order::TIF_GTC,
        flags: 0,
        stp_mode: 0,
        mmp_group: 0,
        pad1: 0,
    }
}

fn ask(g: &mut Gate, member: u32, request: impl Into<Request>) -> Result<Admitted, RejectCode> {
    let c = Command {
        member: MemberId(member),
        client_seq: 1,
        rx_time: TimeNs(1),
        request: request.into(),
    };
    g.check(&c, TimeNs(1))
        .map_err(|r| RejectCode::from_wire(r.reason).unwrap())
}

#[test]
fn a_good_order_is_admitted_in_ticks() {
    let a = ask(&mut gate(), 1, order()).unwrap();
    let AdmittedBody::NewOrder(b) = a.body() else {
        panic!("{a:?}")
    };
    assert_eq!((b.price_ticks, b.lots, a.member()), (200, 5, MemberId(1)));
    assert_eq!(
        (a.template(), a.bytes().len()),
        (600, size_of::<InNewOrder>())
    );
}

#[test]
fn each_fault_has_its_own_code() {
    type Change = fn(&mut NewOrder);
    let table: &[(Change, RejectCode)] = &[
        (|m| m.account = 8, RejectCode::UnknownAccount),
        (|m| m.account = u32::MAX, RejectCode::UnknownAccount),
        (|m| m.cl_ord_id = 0, RejectCode::DuplicateClOrdId),
        (|m| m.instrument = 4, RejectCode::UnknownInstrument),
        (|m| m.instrument = 999, RejectCode::UnknownInstrument),
        (|m| m.side = 2, RejectCode::InvalidField),
        (|m| m.ord_type = 2, RejectCode::InvalidField),
        (|m| m.time_in_force = 5, RejectCode::InvalidField),
        (|m| m.flags = 8, RejectCode::InvalidField),
        (|m| m.stp_mode = 4, RejectCode::InvalidField),
        (|m| m.ord_type = ORD_MARKET, RejectCode::InvalidField),
        (
            |m| {
                m.time_in_force = TIF_IOC;
                m.flags = order::FLAG_POST_ONLY;
            },
            RejectCode::InvalidField,
        ),
        (|m| m.mmp_group = 17, RejectCode::InvalidField),
        (|m| m.time_in_force = TIF_GTD, RejectCode::InvalidExpiry),
        (|m| m.expire_time = 2, RejectCode::InvalidExpiry),
        (
            |m| {
                m.time_in_force = TIF_GTD;
                m.expire_time = 1;
            },
            RejectCode::InvalidExpiry,
        ),
        (|m| m.price = 300_500_000_000, RejectCode::PriceOffTick),
        (|m| m.price += 1, RejectCode::PriceOffTick),
        (|m| m.price = 49_500_000_000, RejectCode::PriceOutOfBand),
        (|m| m.price = 550_000_000_000, RejectCode::PriceOutOfBand),
        (|m| m.price = i64::MIN, RejectCode::PriceOffTick),
        (|m| m.price = -500_000_000, RejectCode::PriceOutOfBand),
        (|m| m.quantity = 0, RejectCode::QuantityOutOfRange),
        (|m| m.quantity = -1, RejectCode::QuantityOutOfRange),
        (|m| m.quantity = 51, RejectCode::QuantityOutOfRange),
    ];
    for (n, (change, code)) in table.iter().enumerate() {
        let mut m = order();
        change(&mut m);
        assert_eq!(ask(&mut gate(), 1, m).unwrap_err(), *code, "row {n}");
    }
}

#[test]
fn an_overloaded_venue_refuses_what_may_add_risk_and_nothing_else() {
    let mut g = gate();
    g.set_overloaded(true);
    let replace = Replace {
        cl_ord_id: 12,
        orig_cl_ord_id: 10,
        price: 100_000_000_000,
        quantity: 1,
        account: ACCOUNT,
        instrument: 3,
        ..Replace::zeroed()
    };
    assert_eq!(ask(&mut g, 1, order()).unwrap_err(), RejectCode::Overloaded);
    assert_eq!(ask(&mut g, 1, replace).unwrap_err(), RejectCode::Overloaded);
    for (n, bid, ask, is_refused) in [
        (0, 1, 0, true),
        (1, 0, 1, true),
        (2, QUANTITY_NULL, 1, true),
        (3, 0, 0, false),
        (4, 0, QUANTITY_NULL, false),
    ] {
        let entry = QuoteEntry {
            bid_quantity: bid,
            ask_quantity: ask,
            ..two_sided()
        };
        let head = MassQuote {
            cl_ord_id: 100 + n,
            ..head()
        };
        let code = ask_quote(&mut g, &quote(&[entry], head)).err();
        assert_eq!(
            code == Some(RejectCode::Overloaded),
            is_refused,
            "{bid} {ask}"
        );
        assert!(is_refused || code.is_none(), "{code:?}");
    }
    // Reductions and cancels pass, and so does what protects.
    let reducing = NewOrder {
        cl_ord_id: 200,
        flags: order::FLAG_REDUCE_ONLY,
        ..order()
    };
    assert!(ask(&mut g, 1, reducing).is_ok());
    let reduce = ReduceQty {
        cl_ord_id: 1,
        orig_cl_ord_id: 10,
        quantity: 1,
        account: ACCOUNT,
        instrument: 3,
        ..ReduceQty::zeroed()
    };
    assert!(ask(&mut g, 1, reduce).is_ok());
    let cancel = Cancel {
        cl_ord_id: 1,
        orig_cl_ord_id: 10,
        account: ACCOUNT,
        instrument: 3,
        ..Cancel::zeroed()
    };
    assert!(ask(&mut g, 1, cancel).is_ok());
    // The refusal spent no client id: the same order stands once the venue has caught up.
    g.set_overloaded(false);
    let again = NewOrder {
        cl_ord_id: 201,
        ..order()
    };
    assert!(ask(&mut g, 1, again).is_ok());
}

#[test]
fn a_refused_order_does_not_spend_its_client_id() {
    let mut g = gate();
    let mut bad = order();
    bad.quantity = 0;
    assert!(ask(&mut g, 1, bad).is_err());
    assert!(ask(&mut g, 1, order()).is_ok());
    assert_eq!(
        ask(&mut g, 1, order()).unwrap_err(),
        RejectCode::DuplicateClOrdId
    );
    g.note_cl_ord_id(MemberId(1), 100);
    let mut m = order();
    m.cl_ord_id = 100;
    assert_eq!(ask(&mut g, 1, m).unwrap_err(), RejectCode::DuplicateClOrdId);
}

#[test]
fn nobody_trades_for_the_account_of_another_member() {
    assert_eq!(
        ask(&mut gate(), 2, order()).unwrap_err(),
        RejectCode::UnknownAccount
    );
    assert_eq!(
        ask(&mut gate(), 9, order()).unwrap_err(),
        RejectCode::UnknownAccount
    );
}

#[test]
fn orders_are_throttled_and_cancels_are_not() {
    let mut g = gate();
    let slow = Rates {
        requests_per_second: 1,
        ..RATES
    };
    assert!(g.add_member(MemberId(1), slow));
    let mut m = order();
    assert!(ask(&mut g, 1, m).is_ok());
    m.cl_ord_id += 1;
    assert_eq!(ask(&mut g, 1, m).unwrap_err(), RejectCode::Throttled);
    let cancel = Cancel {
        cl_ord_id: 1,
        order_id: 5,
        orig_cl_ord_id: 0,
        account: ACCOUNT,
        instrument: 3,
        pad1: 0,
    };
    for _ in 0..10 {
        assert!(ask(&mut g, 1, cancel).is_ok());
    }
}

fn quote(entries: &[QuoteEntry], head: MassQuote) -> Vec<u8> {
    let mut out = vec![0; 2048];
    out[..8].copy_from_slice(bytemuck::bytes_of(&MassQuote::HEADER));
    let len = crate::wire::quote::encode_quote(&head, entries, &mut out[8..]).unwrap();
    out.truncate(8 + len);
    out
}

fn head() -> MassQuote {
    MassQuote {
        cl_ord_id: 10,
        account: ACCOUNT,
        ..MassQuote::zeroed()
    }
}

fn two_sided() -> QuoteEntry {
    QuoteEntry {
        bid_price: 100_000_000_000,
        bid_quantity: 5,
        ask_price: 101_000_000_000,
        ask_quantity: 6,
        instrument: 3,
        ..QuoteEntry::zeroed()
    }
}

fn ask_quote(g: &mut Gate, bytes: &[u8]) -> Result<QuoteRecord, RejectCode> {
    let c = QuoteCommand {
        member: MemberId(1),
        client_seq: 1,
        rx_time: TimeNs(1),
        quote: QuoteView::decode(bytes).unwrap(),
    };
    let admitted = g
        .check_quote(&c, TimeNs(1))
        .map_err(|r| RejectCode::from_wire(r.reason).unwrap())?;
    let view = admitted.quote();
    let mut record = QuoteRecord::new(*view.head);
    for e in view.entries {
        assert!(record.push(*e));
    }
    Ok(record)
}

#[test]
fn a_mass_quote_is_admitted_in_ticks_and_spends_its_id() {
    let mut g = gate();
    let mut entry = two_sided();
    entry.ask_quantity = QUANTITY_NULL;
    let record = ask_quote(&mut g, &quote(&[entry], head())).unwrap();
    let e = record.view().entries[0];
    assert_eq!((e.bid_ticks, e.bid_lots), (200, 5));
    assert_eq!((e.ask_ticks, e.ask_lots), (0, LOTS_NULL));
    let again = ask_quote(&mut g, &quote(&[entry], head()));
    assert_eq!(again.unwrap_err(), RejectCode::DuplicateClOrdId);
}

#[test]
fn one_bad_entry_refuses_the_whole_mass_quote() {
    type Change = fn(&mut QuoteEntry);
    let table: &[(Change, RejectCode)] = &[
        (|e| e.instrument = 4, RejectCode::UnknownInstrument),
        (|e| e.bid_price += 1, RejectCode::PriceOffTick),
        (|e| e.ask_price = i64::MAX, RejectCode::PriceOffTick),
        (|e| e.bid_quantity = 51, RejectCode::QuantityOutOfRange),
        (|e| e.ask_quantity = -1, RejectCode::QuantityOutOfRange),
        (|e| e.ask_price = e.bid_price, RejectCode::BadEntries),
    ];
    for (n, (change, code)) in table.iter().enumerate() {
        let mut bad = two_sided();
        change(&mut bad);
        let mut g = gate();
        let got = ask_quote(&mut g, &quote(&[bad], head()));
        assert_eq!(got.unwrap_err(), *code, "row {n}");
        let good = ask_quote(&mut g, &quote(&[two_sided()], head()));
        assert!(good.is_ok(), "row {n}: a refused quote spent its id");
    }
    let twice = quote(&[two_sided(), two_sided()], head());
    let got = ask_quote(&mut gate(), &twice).unwrap_err();
    assert_eq!(got, RejectCode::BadEntries);
    let none = ask_quote(&mut gate(), &quote(&[], head())).unwrap_err();
    assert_eq!(none, RejectCode::BadEntries);
}

#[test]
fn quotes_have_a_bucket_of_their_own_counted_in_entries() {
    let mut g = gate();
    let rates = Rates {
        requests_per_second: 0,
        quotes_per_second: 2,
    };
    assert!(g.add_member(MemberId(1), rates));
    for id in 1..=2 {
        let head = MassQuote {
            cl_ord_id: id,
            ..head()
        };
        assert!(ask_quote(&mut g, &quote(&[two_sided()], head)).is_ok());
    }
    let third = ask_quote(&mut g, &quote(&[two_sided()], head()));
    assert_eq!(third.unwrap_err(), RejectCode::Throttled);
}

#[test]
fn a_read_only_member_may_ask_for_nothing() {
    let mut g = gate();
    g.make_read_only(MemberId(1));
    assert_eq!(ask(&mut g, 1, order()).unwrap_err(), RejectCode::ReadOnly);
    let quoted = ask_quote(&mut g, &quote(&[two_sided()], head()));
    assert_eq!(quoted.unwrap_err(), RejectCode::ReadOnly);
}

#[test]
fn requests_for_all_accounts_need_none_and_single_ones_need_their_own() {
    let kill = |account, action| KillSwitch {
        account,
        action,
        ..KillSwitch::zeroed()
    };
    let mut g = gate();
    assert!(ask(&mut g, 2, kill(ID32_NULL, 0)).is_ok());
    assert!(ask(&mut g, 1, kill(ACCOUNT, 1)).is_ok());
    let stranger = ask(&mut g, 2, kill(ACCOUNT, 0));
    assert_eq!(stranger.unwrap_err(), RejectCode::UnknownAccount);
    let bad = ask(&mut g, 1, kill(ACCOUNT, 2));
    assert_eq!(bad.unwrap_err(), RejectCode::InvalidField);
}
