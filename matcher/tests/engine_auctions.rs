//! Trading states and the single-price auction as text. Rules and their source venues: `matcher/RULES.md`.
//! Numbers as in `engine_scenarios.rs`: the mark of the perpetual is 100.0.

mod common;

use common::script::check;

#[test]
fn an_auction_trades_all_that_crosses_at_one_price() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        deposit dave 1000
            dave deposited 1000.000000 number 3 cash 1000.000000
        table
        show feed
        market perp pre-open
            feed state perp pre-open
        alice a1 buy perp 10 @ 101.0
            alice accepted a1 buy perp 10 @ 101.0
            feed add a1 buy perp 10 @ 101.0
        bob b1 sell perp 6 @ 99.0
            bob accepted b1 sell perp 6 @ 99.0
            feed add b1 sell perp 6 @ 99.0
        carol c1 sell perp 6 @ 100.0
            carol accepted c1 sell perp 6 @ 100.0
            feed add c1 sell perp 6 @ 100.0
        dave d1 buy perp 4 @ 99.5
            dave accepted d1 buy perp 4 @ 99.5
            feed add d1 buy perp 4 @ 99.5
        timer   // no price is shown before the auction
        market perp auction
            feed state perp auction
        timer   // 99.5: 6, 100.0: 10, 101.0: 10; sellers are left over, so the lowest
            feed auction perp 10 @ 100.0 imbalance -2
        dave d2 sell perp 1 @ 98.0
            dave accepted d2 sell perp 1 @ 98.0
            feed add d2 sell perp 1 @ 98.0
        timer   // one more is left over
            feed auction perp 10 @ 100.0 imbalance -3
        timer   // nothing has changed
        alice replace a1 -> a2 perp 12 @ 101.0   // replaces and cancels pass
            alice replaced a2 buy perp 12 @ 101.0 loses its place
            feed delete a1
            feed add a2 buy perp 12 @ 101.0
        dave cancel d2 perp
            dave canceled d2 1 requested
            feed delete d2
        timer   // nobody is left over: the mark
            feed auction perp 12 @ 100.0 imbalance 0
        market perp open
            alice filled a2 6 @ 100.0 leaves 6 taker fee 0.003000
            bob filled b1 6 @ 100.0 leaves 0 maker fee -0.000600
            feed trade b1 6 @ 100.0 leaves 0
            feed trade a2 6 @ 100.0 leaves 6
            alice filled a2 6 @ 100.0 leaves 0 taker fee 0.003000
            carol filled c1 6 @ 100.0 leaves 0 maker fee -0.000600
            feed trade c1 6 @ 100.0 leaves 0
            feed trade a2 6 @ 100.0 leaves 0
            feed auction perp 12 @ 100.0 imbalance 0
            feed state perp open
        state alice
            alice cash 987.994000000000 nonce 0 perp 12 worst 998.074000 fund 4800000000
        state carol
            carol cash 1006.000600000000 nonce 0 perp -6 worst 999.040600 fund 4800000000
        ",
    );
}

#[test]
fn orders_of_an_auction_trade_by_price_then_age() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 2 @ 100.5
            alice accepted a1 buy perp 2 @ 100.5
        bob b1 buy perp 2 @ 100.5
            bob accepted b1 buy perp 2 @ 100.5
        bob b2 buy perp 2 @ 100.6
            bob accepted b2 buy perp 2 @ 100.6
        carol c1 sell perp 5 @ 100.5
            carol accepted c1 sell perp 5 @ 100.5
        market perp open
            carol filled c1 2 @ 100.5 leaves 3 taker fee 0.001005
            bob filled b2 2 @ 100.5 leaves 0 maker fee -0.000201
            carol filled c1 2 @ 100.5 leaves 1 taker fee 0.001005
            alice filled a1 2 @ 100.5 leaves 0 maker fee -0.000201
            carol filled c1 1 @ 100.5 leaves 0 taker fee 0.000503
            bob filled b1 1 @ 100.5 leaves 1 maker fee -0.000100
        ",
    );
}

#[test]
fn among_prices_with_as_many_lots_the_least_is_left_over() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 5 @ 101.0
            alice accepted a1 buy perp 5 @ 101.0
        bob b1 buy perp 3 @ 100.4
            bob accepted b1 buy perp 3 @ 100.4
        carol c1 sell perp 5 @ 99.0
            carol accepted c1 sell perp 5 @ 99.0
        show feed
        timer   // five trade from 99.0 to 101.0: above 100.4 nobody is left over
            feed auction perp 5 @ 101.0 imbalance 0
        market perp open
            carol filled c1 5 @ 101.0 leaves 0 taker fee 0.002525
            alice filled a1 5 @ 101.0 leaves 0 maker fee -0.000505
            feed trade a1 5 @ 101.0 leaves 0
            feed trade c1 5 @ 101.0 leaves 0
            feed auction perp 5 @ 101.0 imbalance 0
            feed state perp open
        ",
    );
}

#[test]
fn buyers_left_over_at_all_prices_take_the_highest() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 9 @ 101.0
            alice accepted a1 buy perp 9 @ 101.0
        bob b1 sell perp 5 @ 99.0
            bob accepted b1 sell perp 5 @ 99.0
        show feed
        market perp open
            bob filled b1 5 @ 101.0 leaves 0 taker fee 0.002525
            alice filled a1 5 @ 101.0 leaves 4 maker fee -0.000505
            feed trade a1 5 @ 101.0 leaves 4
            feed trade b1 5 @ 101.0 leaves 0
            feed auction perp 5 @ 101.0 imbalance 4
            feed state perp open
        ",
    );
}

#[test]
fn sellers_left_over_at_all_prices_take_the_lowest() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 5 @ 101.0
            alice accepted a1 buy perp 5 @ 101.0
        bob b1 sell perp 9 @ 99.0
            bob accepted b1 sell perp 9 @ 99.0
        show feed
        market perp open
            bob filled b1 5 @ 99.0 leaves 4 taker fee 0.002475
            alice filled a1 5 @ 99.0 leaves 0 maker fee -0.000495
            feed trade a1 5 @ 99.0 leaves 0
            feed trade b1 5 @ 99.0 leaves 4
            feed auction perp 5 @ 99.0 imbalance -4
            feed state perp open
        ",
    );
}

#[test]
fn nobody_left_over_takes_the_price_nearest_to_the_mark() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 5 @ 101.0
            alice accepted a1 buy perp 5 @ 101.0
        bob b1 sell perp 5 @ 99.0
            bob accepted b1 sell perp 5 @ 99.0
        alice a2 buy call 5 @ 6.50
            alice accepted a2 buy call 5 @ 6.50
        bob b2 sell call 5 @ 6.00
            bob accepted b2 sell call 5 @ 6.00
            bob filled b2 5 @ 6.50 leaves 0 taker fee 0.000163
            alice filled a2 5 @ 6.50 leaves 0 maker fee -0.000032
        market call auction
        alice a3 buy call 5 @ 7.50
            alice accepted a3 buy call 5 @ 7.50
        bob b3 sell call 5 @ 7.20   // the mark is below both
            bob accepted b3 sell call 5 @ 7.20
        show feed
        market all open
            bob filled b1 5 @ 100.0 leaves 0 taker fee 0.002500
            alice filled a1 5 @ 100.0 leaves 0 maker fee -0.000500
            feed trade a1 5 @ 100.0 leaves 0
            feed trade b1 5 @ 100.0 leaves 0
            feed auction perp 5 @ 100.0 imbalance 0
            feed state perp open
            bob filled b3 5 @ 7.20 leaves 0 taker fee 0.000180
            alice filled a3 5 @ 7.20 leaves 0 maker fee -0.000036
            feed trade a3 5 @ 7.20 leaves 0
            feed trade b3 5 @ 7.20 leaves 0
            feed auction call 5 @ 7.20 imbalance 0
            feed state call open
        ",
    );
}

#[test]
fn an_auction_in_which_nothing_crosses_just_opens() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 5 @ 99.0
            alice accepted a1 buy perp 5 @ 99.0
        bob b1 sell perp 5 @ 101.0
            bob accepted b1 sell perp 5 @ 101.0
        show feed
        timer
            feed auction perp 0 @ - imbalance 0
        market perp open
            feed state perp open
        bob b2 sell perp 1 @ 99.0
            bob accepted b2 sell perp 1 @ 99.0
            bob filled b2 1 @ 99.0 leaves 0 taker fee 0.000495
            alice filled a1 1 @ 99.0 leaves 4 maker fee -0.000099
            feed trade a1 1 @ 99.0 leaves 4
        ",
    );
}

#[test]
fn what_an_auction_does_not_take() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp pre-open
        alice a1 buy perp 5 @ 99.0 ioc
            alice rejected NotInThisState
        alice a2 buy perp 5 @ 99.0 fok
            alice rejected NotInThisState
        alice a3 buy perp 5 market
            alice rejected NotInThisState
        alice a4 buy perp 5 @ 99.0 post
            alice rejected NotInThisState
        alice a5 buy perp 5 @ 106.0   // the collar holds
            alice rejected PriceOutOfCollar
        alice a6 buy perp 5 @ 99.0
            alice accepted a6 buy perp 5 @ 99.0
        alice replace a6 -> a7 perp 5 @ 99.5 post
            alice rejected NotInThisState
        alice quote q1 perp 5@99.0/5@101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        alice quote q2 perp 5@99.1/5@101.0 post
            alice quote perp bid NotInThisState ask NotInThisState
            alice quoted 1 refused 2
        alice a8 buy perp 500000 @ 99.0
            alice rejected QuantityOutOfRange
        ",
    );
}

#[test]
fn orders_that_rest_when_an_auction_begins_keep_names_and_places() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 5 @ 99.0
            alice accepted a1 buy perp 5 @ 99.0
        bob b1 sell perp 5 @ 101.0
            bob accepted b1 sell perp 5 @ 101.0
        alice a2 buy perp 5 @ 99.0
            alice accepted a2 buy perp 5 @ 99.0
        market perp auction
        bob b2 sell perp 7 @ 98.5
            bob accepted b2 sell perp 7 @ 98.5
        alice reduce a1 perp 4
            alice replaced a1 buy perp 4 @ 99.0 keeps its place
        market perp open
            bob filled b2 4 @ 99.0 leaves 3 taker fee 0.001980
            alice filled a1 4 @ 99.0 leaves 0 maker fee -0.000396
            bob filled b2 3 @ 99.0 leaves 0 taker fee 0.001485
            alice filled a2 3 @ 99.0 leaves 2 maker fee -0.000297
        alice cancel id:a2 perp
            alice canceled a2 2 requested
        bob cancel id:b1 perp
            bob canceled b1 5 requested
        ",
    );
}

#[test]
fn what_self_trade_prevention_leaves_crossed_is_cleared_again() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 sell perp 5 @ 99.0
            alice accepted a1 sell perp 5 @ 99.0
        alice a2 buy perp 5 @ 101.0   // with a1 it makes a price of 100.0, at which b1 does not trade
            alice accepted a2 buy perp 5 @ 101.0
        bob b1 sell perp 5 @ 100.5
            bob accepted b1 sell perp 5 @ 100.5
        market perp open
            alice canceled a1 5 self-trade
            bob filled b1 5 @ 100.5 leaves 0 taker fee 0.002513
            alice filled a2 5 @ 100.5 leaves 0 maker fee -0.000502
        ",
    );
}

#[test]
fn orders_of_one_account_do_not_trade_in_an_auction() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 5 @ 101.0
            alice accepted a1 buy perp 5 @ 101.0
        alice a2 sell perp 4 @ 99.0 stp=decrement   // the later order's mode counts
            alice accepted a2 sell perp 4 @ 99.0
        bob b1 sell perp 3 @ 99.0
            bob accepted b1 sell perp 3 @ 99.0
        market perp open
            alice canceled a1 4 self-trade leaves 1
            alice canceled a2 4 self-trade
            bob filled b1 1 @ 99.0 leaves 2 taker fee 0.000495
            alice filled a1 1 @ 99.0 leaves 0 maker fee -0.000099
        bob mass-cancel
            bob canceled b1 2 mass
            bob mass-canceled 1
        market perp auction
        alice a3 sell perp 2 @ 99.0
            alice accepted a3 sell perp 2 @ 99.0
        alice a4 buy perp 2 @ 101.0   // cancels the one that was there
            alice accepted a4 buy perp 2 @ 101.0
        market perp open
            alice canceled a3 2 self-trade
        market perp auction
        alice a5 sell perp 2 @ 99.0 stp=taker   // goes itself
            alice accepted a5 sell perp 2 @ 99.0
        market perp open
            alice canceled a5 2 self-trade
        market perp auction
        alice a6 sell perp 2 @ 99.0 stp=both
            alice accepted a6 sell perp 2 @ 99.0
        market perp open
            alice canceled a4 2 self-trade
            alice canceled a6 2 self-trade
        alice2 x1 buy perp 1 @ 99.0
            alice2 rejected NoSuchAccount
        ",
    );
}

#[test]
fn protection_and_reduce_only_hold_within_an_auction() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        table
        carol c0 sell perp 4 @ 100.0
            carol accepted c0 sell perp 4 @ 100.0
        bob b0 buy perp 4 @ 100.0
            bob accepted b0 buy perp 4 @ 100.0
            bob filled b0 4 @ 100.0 leaves 0 taker fee 0.002000
            carol filled c0 4 @ 100.0 leaves 0 maker fee -0.000400
        alice mmp 1 window 10s qty 4
            alice mmp 1 configured canceled 0
        market perp auction
        alice a1 buy perp 4 @ 101.0 mmp=1
            alice accepted a1 buy perp 4 @ 101.0
        alice a2 buy perp 4 @ 100.9 mmp=1
            alice accepted a2 buy perp 4 @ 100.9
        carol c1 buy perp 4 @ 100.8 reduce
            carol accepted c1 buy perp 4 @ 100.8
        carol c2 buy perp 2 @ 101.0
            carol accepted c2 buy perp 2 @ 101.0
        bob b1 sell perp 20 @ 99.0
            bob accepted b1 sell perp 20 @ 99.0
        market perp open
            bob filled b1 4 @ 99.0 leaves 16 taker fee 0.001980
            alice filled a1 4 @ 99.0 leaves 0 maker fee -0.000396
            alice canceled a2 4 mmp
            alice mmp 1 quantity canceled 1 until reset
            bob filled b1 2 @ 99.0 leaves 14 taker fee 0.000990
            carol filled c2 2 @ 99.0 leaves 0 maker fee -0.000198
            carol canceled c1 2 reduce-only leaves 2
            bob filled b1 2 @ 99.0 leaves 12 taker fee 0.000990
            carol filled c1 2 @ 99.0 leaves 0 maker fee -0.000198
        ",
    );
}

#[test]
fn a_halt_keeps_orders_and_takes_none() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice a1 buy perp 5 @ 99.0
            alice accepted a1 buy perp 5 @ 99.0
            feed add a1 buy perp 5 @ 99.0
        market perp halt
            feed state perp halt
        alice a2 buy perp 5 @ 99.0
            alice rejected Halted
        alice replace a1 -> a3 perp 5 @ 99.5
            alice rejected Halted
        alice reduce a1 perp 4
            alice replaced a1 buy perp 4 @ 99.0 keeps its place
            feed reduce a1 to 4
        alice cancel a1 perp
            alice canceled a1 4 requested
            feed delete a1
        market perp cancel-only
            feed state perp cancel-only
        alice a4 buy perp 5 @ 99.0
            alice rejected NotInThisState
        alice a5 buy call 1 @ 6.00   // others go on
            alice accepted a5 buy call 1 @ 6.00
            feed add a5 buy call 1 @ 6.00
        market perp open
            feed state perp open
        alice a6 buy perp 5 @ 99.0
            alice accepted a6 buy perp 5 @ 99.0
            feed add a6 buy perp 5 @ 99.0
        ",
    );
}

#[test]
fn a_halt_in_the_middle_of_an_auction_uncrosses_when_it_opens() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        market perp auction
        alice a1 buy perp 5 @ 101.0
            alice accepted a1 buy perp 5 @ 101.0
        bob b1 sell perp 5 @ 99.0
            bob accepted b1 sell perp 5 @ 99.0
        market perp halt
        timer
        market perp open
            bob filled b1 5 @ 100.0 leaves 0 taker fee 0.002500
            alice filled a1 5 @ 100.0 leaves 0 maker fee -0.000500
        ",
    );
}

#[test]
fn settled_instruments_hold_no_orders() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice a1 buy call 5 @ 6.00
            alice accepted a1 buy call 5 @ 6.00
            feed add a1 buy call 5 @ 6.00
        bob b1 sell call 5 @ 8.00
            bob accepted b1 sell call 5 @ 8.00
            feed add b1 sell call 5 @ 8.00
        market call auction
            feed state call auction
        alice a2 buy call 5 @ 9.00
            alice accepted a2 buy call 5 @ 9.00
            feed add a2 buy call 5 @ 9.00
        market call settle
            alice canceled a2 5 state
            feed delete a2
            alice canceled a1 5 state
            feed delete a1
            bob canceled b1 5 state
            feed delete b1
            feed state call settle
        alice a3 buy call 5 @ 6.00
            alice rejected NotInThisState
        market call delivered
            feed state call delivered
        ",
    );
}
