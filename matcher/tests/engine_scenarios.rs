//! The rules of the venue as text: what a request causes, down to the pico-unit.
//!
//! Numbers to check by hand: a lot of the perpetual is worth 1.000000 at the index of 100, a tick of 0.1
//! is 0.001 a lot. Takers pay 500 ppm, makers get 100 ppm. Scenarios move the index by up to 16 %.

mod common;

use common::script::{check, check_with};
use common::watch::Watch;
use common::{CALL, PERP, Venue, specs};
use firmware::units::Side;
use firmware::wire::input::{TIMER_OPERATOR, TIMER_SEAL};
use firmware::wire::order::{NewOrder, ORD_LIMIT, TIF_GTC, Withdraw};
use firmware::wire::report::{CANCEL_FILL_LIMIT, Report};
use matcher::batch::{SealReason, decode};
use matcher::book::{LadderBook, OrderBook};
use matcher::engine::DepositError;
use matcher::outbox::Outcome;

#[test]
fn orders_trade_by_price_then_age_at_the_makers_price() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        table
        show feed
        bob b1 sell perp 5 @ 100.2
            bob accepted b1 sell perp 5 @ 100.2
            feed add b1 sell perp 5 @ 100.2
        carol c1 sell perp 4 @ 100.1
            carol accepted c1 sell perp 4 @ 100.1
            feed add c1 sell perp 4 @ 100.1
        bob b2 sell perp 3 @ 100.1
            bob accepted b2 sell perp 3 @ 100.1
            feed add b2 sell perp 3 @ 100.1
        alice a1 buy perp 10 @ 100.2       // better price first, then the older order; the rest rests not
            alice accepted a1 buy perp 10 @ 100.2
            alice filled a1 4 @ 100.1 leaves 6 taker fee 0.002002
            carol filled c1 4 @ 100.1 leaves 0 maker fee -0.000400
            feed trade c1 4 @ 100.1 leaves 0
            alice filled a1 3 @ 100.1 leaves 3 taker fee 0.001502
            bob filled b2 3 @ 100.1 leaves 0 maker fee -0.000300
            feed trade b2 3 @ 100.1 leaves 0
            alice filled a1 3 @ 100.2 leaves 0 taker fee 0.001503
            bob filled b1 3 @ 100.2 leaves 2 maker fee -0.000300
            feed trade b1 3 @ 100.2 leaves 2
        alice a2 buy perp 4 @ 100.2        // what is left of it rests
            alice accepted a2 buy perp 4 @ 100.2
            alice filled a2 2 @ 100.2 leaves 2 taker fee 0.001002
            bob filled b1 2 @ 100.2 leaves 0 maker fee -0.000200
            feed trade b1 2 @ 100.2 leaves 0
            feed add a2 buy perp 2 @ 100.2
        bob b3 sell perp 1 @ 99.0          // it trades at alice's price
            bob accepted b3 sell perp 1 @ 99.0
            bob filled b3 1 @ 100.2 leaves 0 taker fee 0.000501
            alice filled a2 1 @ 100.2 leaves 1 maker fee -0.000100
            feed trade a2 1 @ 100.2 leaves 1
        state alice
            alice cash 986.975091700000 nonce 0 perp 13 worst 997.895091 fund 5207600000
        state bob
            bob cash 1009.015300300000 nonce 0 perp -9 worst 998.575300 fund 5207600000
        state carol
            carol cash 1004.004400400000 nonce 0 perp -4 worst 999.364400 fund 5207600000
        ",
    );
}

#[test]
fn fees_and_rebates_are_exact_to_the_pico_unit() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table fees 333 -77
        bob b1 sell call 7 @ 6.83
            bob accepted b1 sell call 7 @ 6.83
        alice a1 buy call 7 @ 6.83         // notional 7 x 683 x 100 = 478100 micro: taker 159.2073, maker -36.8137
            alice accepted a1 buy call 7 @ 6.83
            alice filled a1 7 @ 6.83 leaves 0 taker fee 0.000160
            bob filled b1 7 @ 6.83 leaves 0 maker fee -0.000036
        state alice
            alice cash 999.521740792700 nonce 0 call 7 worst 999.555431 fund 122393600
        state bob
            bob cash 1000.478136813700 nonce 0 call -7 worst 999.123440 fund 122393600
        table fees 500 200                 // makers can be asked to pay, too; the batch closes under its own fees
            feed sealed 1 table rows 1 accounts 2
        bob b2 buy perp 1 @ 100.1
            bob accepted b2 buy perp 1 @ 100.1
        alice a2 sell perp 1 @ 100.1       // 500.5 and 200.2 micro; what is shown is rounded up
            alice accepted a2 sell perp 1 @ 100.1
            alice filled a2 1 @ 100.1 leaves 0 taker fee 0.000501
            bob filled b2 1 @ 100.1 leaves 0 maker fee 0.000201
        state alice
            alice cash 1000.522240292700 nonce 0 perp -1 call 7 worst 999.713962 fund 823093600
        state bob
            bob cash 999.476936613700 nonce 0 perp 1 call -7 worst 999.282240 fund 823093600
        timer seal
            feed sealed 2 timer rows 1 accounts 2
        ",
    );
}

#[test]
fn immediate_orders_take_what_there_is_and_never_rest() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 3 @ 100.0
            bob accepted b1 sell perp 3 @ 100.0
        alice a1 buy perp 5 @ 100.0 ioc
            alice accepted a1 buy perp 5 @ 100.0
            alice filled a1 3 @ 100.0 leaves 2 taker fee 0.001500
            bob filled b1 3 @ 100.0 leaves 0 maker fee -0.000300
            alice canceled a1 2 ioc
        alice a2 buy perp 5 @ 100.0 ioc
            alice accepted a2 buy perp 5 @ 100.0
            alice canceled a2 5 ioc
        bob b2 sell perp 3 @ 100.0
            bob accepted b2 sell perp 3 @ 100.0
        bob b3 sell perp 3 @ 100.5
            bob accepted b3 sell perp 3 @ 100.5
        alice a3 buy perp 5 @ 100.4 fok    // only 3 within the limit
            alice rejected CannotFillWhole
        alice a4 buy perp 6 @ 100.5 fok
            alice accepted a4 buy perp 6 @ 100.5
            alice filled a4 3 @ 100.0 leaves 3 taker fee 0.001500
            bob filled b2 3 @ 100.0 leaves 0 maker fee -0.000300
            alice filled a4 3 @ 100.5 leaves 0 taker fee 0.001508
            bob filled b3 3 @ 100.5 leaves 0 maker fee -0.000301
        bob b4 sell perp 2 @ 104.9
            bob accepted b4 sell perp 2 @ 104.9
        alice a5 buy perp 3 market         // takes to the end of the collar, the rest is cancelled
            alice accepted a5 buy perp 3 @ 105.0
            alice filled a5 2 @ 104.9 leaves 1 taker fee 0.001049
            bob filled b4 2 @ 104.9 leaves 0 maker fee -0.000209
            alice canceled a5 1 ioc
        alice a6 sell perp 1 market fok
            alice rejected CannotFillWhole
        bob b5 buy perp 1 @ 95.0
            bob accepted b5 buy perp 1 @ 95.0
        alice a7 sell perp 1 market fok
            alice accepted a7 sell perp 1 @ 95.0
            alice filled a7 1 @ 95.0 leaves 0 taker fee 0.000475
            bob filled b5 1 @ 95.0 leaves 0 maker fee -0.000095
        state alice
            alice cash 989.830968500000 nonce 0 perp 10 worst 998.230968 fund 4825200000
        ",
    );
}

#[test]
fn fill_or_kill_looks_past_own_orders_only_if_they_may_be_cancelled() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 sell perp 5 @ 100.0
            alice accepted a1 sell perp 5 @ 100.0
        bob b1 sell perp 5 @ 100.1
            bob accepted b1 sell perp 5 @ 100.1
        alice a2 buy perp 6 @ 100.1 fok                // own lots do not count
            alice rejected CannotFillWhole
        alice a3 buy perp 5 @ 100.1 fok stp=taker      // it would stop at a1
            alice rejected CannotFillWhole
        alice a4 buy perp 5 @ 100.1 fok stp=both
            alice rejected CannotFillWhole
        alice a5 buy perp 5 @ 100.1 fok stp=maker      // a1 goes, b1 fills it whole
            alice accepted a5 buy perp 5 @ 100.1
            alice canceled a1 5 self-trade
            alice filled a5 5 @ 100.1 leaves 0 taker fee 0.002503
            bob filled b1 5 @ 100.1 leaves 0 maker fee -0.000500
        bob b2 sell perp 5 @ 100.0
            bob accepted b2 sell perp 5 @ 100.0
        alice a6 sell perp 5 @ 100.1
            alice accepted a6 sell perp 5 @ 100.1
        alice a7 buy perp 5 @ 100.1 fok stp=taker      // full before it would meet a6
            alice accepted a7 buy perp 5 @ 100.1
            alice filled a7 5 @ 100.0 leaves 0 taker fee 0.002500
            bob filled b2 5 @ 100.0 leaves 0 maker fee -0.000500
        ",
    );
}

#[test]
fn post_only_orders_are_refused_when_they_would_take() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 5 @ 100.0
            bob accepted b1 sell perp 5 @ 100.0
        alice a1 buy perp 5 @ 100.0 post
            alice rejected WouldTake
        alice a2 buy perp 5 @ 99.9 post
            alice accepted a2 buy perp 5 @ 99.9
        alice replace a2 -> a3 perp 5 @ 100.0 post     // refused, and a2 stays as it was
            alice rejected WouldTake
        alice replace a2 -> a4 perp 6 @ 99.9 post
            alice replaced a4 buy perp 6 @ 99.9 loses its place
        alice replace a4 -> a5 perp 2 @ 100.0          // without the flag a replace may take
            alice replaced a5 buy perp 2 @ 100.0 loses its place
            alice filled a5 2 @ 100.0 leaves 0 taker fee 0.001000
            bob filled b1 2 @ 100.0 leaves 3 maker fee -0.000200
        alice a6 buy perp 1 @ 100.0 post ioc           // the gate: post-only must rest
            alice rejected InvalidField
        ",
    );
}

#[test]
fn reduce_only_orders_never_pass_zero_together_with_resting_ones() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 5 @ 100.0
            bob accepted b1 sell perp 5 @ 100.0
        alice a1 buy perp 5 @ 100.0
            alice accepted a1 buy perp 5 @ 100.0
            alice filled a1 5 @ 100.0 leaves 0 taker fee 0.002500
            bob filled b1 5 @ 100.0 leaves 0 maker fee -0.000500
        bob b2 buy perp 20 @ 99.9
            bob accepted b2 buy perp 20 @ 99.9
        alice a2 buy perp 1 @ 100.0 ioc reduce         // the wrong side
            alice rejected WouldIncrease
        alice a3 sell perp 6 @ 99.9 ioc reduce         // more than the position
            alice rejected WouldIncrease
        alice a4 sell perp 2 @ 99.9 fok reduce
            alice accepted a4 sell perp 2 @ 99.9
            alice filled a4 2 @ 99.9 leaves 0 taker fee 0.000999
            bob filled b2 2 @ 99.9 leaves 18 maker fee -0.000199
        alice a5 sell perp 2 @ 101.0                   // rests, and counts
            alice accepted a5 sell perp 2 @ 101.0
        alice a6 sell perp 2 @ 99.9 ioc reduce
            alice rejected WouldIncrease
        alice a7 sell perp 1 @ 99.9 ioc reduce
            alice accepted a7 sell perp 1 @ 99.9
            alice filled a7 1 @ 99.9 leaves 0 taker fee 0.000500
            bob filled b2 1 @ 99.9 leaves 17 maker fee -0.000099
        alice a8 sell perp 1 @ 99.9 gtc reduce         // nothing is left to reduce
            alice rejected WouldIncrease
        state alice
            alice cash 997.993001500000 nonce 0 perp 2 worst 999.673001 fund 3198800000
        ",
    );
}

#[test]
fn an_account_between_maintenance_and_initial_margin_may_only_reduce() {
    check(
        "
        deposit alice 17
            alice deposited 17.000000 number 0 cash 17.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 80 @ 100.0
            bob accepted b1 sell perp 80 @ 100.0
        alice a1 buy perp 80 @ 100.0
            alice accepted a1 buy perp 80 @ 100.0
            alice filled a1 80 @ 100.0 leaves 0 taker fee 0.040000
            bob filled b1 80 @ 100.0 leaves 0 maker fee -0.008000
        table index 95.9
            alice settled 1 transfer -3.280000 delta -3.280000 rest 0.000000 collateral 13.680000 maintenance 12.275200
            bob settled 1 transfer 3.280000 delta 3.280000 rest 0.000000 collateral 1003.288000 maintenance 12.275200
            feed settlement 1 by move index 100.000000 to 95.900000 transferred 3.280000 delta 6.560000 rest 0.000000 accounts 2
        state alice                                    // above maintenance, but without the extra fifth
            alice cash -63.040000000000 nonce 0 perp 80 worst 1.404800 fund 32000000000
        bob b2 buy perp 200 @ 95.9
            bob accepted b2 buy perp 200 @ 95.9
        bob b3 sell perp 200 @ 96.0
            bob accepted b3 sell perp 200 @ 96.0
        alice a2 buy perp 1 @ 96.0 ioc
            alice rejected InsufficientMargin
        alice a3 sell perp 1 @ 96.0
            alice rejected InsufficientMargin
        alice a4 sell perp 10 @ 95.9 ioc reduce        // takes risk off: maintenance is enough
            alice accepted a4 sell perp 10 @ 95.9
            alice filled a4 10 @ 95.9 leaves 0 taker fee 0.004795
            bob filled b2 10 @ 95.9 leaves 190 maker fee -0.000959
        alice withdraw 0.000001
            alice withdrew 0.000001 cash -53.454796 in batch 1
        state alice
            alice cash -53.454796000000 nonce 1 perp 70 worst 2.934404 fund 35836000000
        ",
    );
}

#[test]
fn self_trades_are_prevented_in_the_mode_of_the_incoming_order() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 2 cash 1000.000000
        table
        show feed
        alice a1 sell perp 5 @ 100.0
            alice accepted a1 sell perp 5 @ 100.0
            feed add a1 sell perp 5 @ 100.0
        bob b1 sell perp 5 @ 100.0
            bob accepted b1 sell perp 5 @ 100.0
            feed add b1 sell perp 5 @ 100.0
        alice a2 buy perp 7 @ 100.0 stp=maker          // a1 goes, bob fills, the rest rests
            alice accepted a2 buy perp 7 @ 100.0
            alice canceled a1 5 self-trade
            feed delete a1
            alice filled a2 5 @ 100.0 leaves 2 taker fee 0.002500
            bob filled b1 5 @ 100.0 leaves 0 maker fee -0.000500
            feed trade b1 5 @ 100.0 leaves 0
            feed add a2 buy perp 2 @ 100.0
        alice a3 sell perp 3 @ 100.0 stp=taker         // the incoming one goes whole
            alice accepted a3 sell perp 3 @ 100.0
            alice canceled a3 3 self-trade
        alice a4 sell perp 3 @ 100.0 stp=both
            alice accepted a4 sell perp 3 @ 100.0
            alice canceled a2 2 self-trade
            feed delete a2
            alice canceled a4 3 self-trade
        alice a5 sell perp 1 @ 100.1
            alice accepted a5 sell perp 1 @ 100.1
            feed add a5 sell perp 1 @ 100.1
        bob b2 sell perp 1 @ 100.0
            bob accepted b2 sell perp 1 @ 100.0
            feed add b2 sell perp 1 @ 100.0
        alice a6 buy perp 3 @ 100.1 stp=taker          // what filled before is filled
            alice accepted a6 buy perp 3 @ 100.1
            alice filled a6 1 @ 100.0 leaves 2 taker fee 0.000500
            bob filled b2 1 @ 100.0 leaves 0 maker fee -0.000100
            feed trade b2 1 @ 100.0 leaves 0
            alice canceled a6 2 self-trade
        alice2 x1 buy perp 1 @ 100.1                   // another account of the same member does trade
            alice2 accepted x1 buy perp 1 @ 100.1
            alice2 filled x1 1 @ 100.1 leaves 0 taker fee 0.000501
            alice filled a5 1 @ 100.1 leaves 0 maker fee -0.000100
            feed trade a5 1 @ 100.1 leaves 0
        ",
    );
}

#[test]
fn a_replace_keeps_its_place_only_for_a_smaller_quantity() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        table
        show feed
        alice a1 buy perp 5 @ 100.0
            alice accepted a1 buy perp 5 @ 100.0
            feed add a1 buy perp 5 @ 100.0
        bob b1 buy perp 5 @ 100.0
            bob accepted b1 buy perp 5 @ 100.0
            feed add b1 buy perp 5 @ 100.0
        alice replace a1 -> a2 perp 3 @ 100.0
            alice replaced a2 buy perp 3 @ 100.0 keeps its place
            feed reduce a2 to 3
        carol c1 sell perp 1 @ 100.0
            carol accepted c1 sell perp 1 @ 100.0
            carol filled c1 1 @ 100.0 leaves 0 taker fee 0.000500
            alice filled a2 1 @ 100.0 leaves 2 maker fee -0.000100
            feed trade a2 1 @ 100.0 leaves 2
        alice replace a2 -> a3 perp 4 @ 100.0          // larger: to the tail
            alice replaced a3 buy perp 4 @ 100.0 loses its place
            feed delete a2
            feed add a3 buy perp 4 @ 100.0
        carol c2 sell perp 6 @ 100.0
            carol accepted c2 sell perp 6 @ 100.0
            carol filled c2 5 @ 100.0 leaves 1 taker fee 0.002500
            bob filled b1 5 @ 100.0 leaves 0 maker fee -0.000500
            feed trade b1 5 @ 100.0 leaves 0
            carol filled c2 1 @ 100.0 leaves 0 taker fee 0.000500
            alice filled a3 1 @ 100.0 leaves 3 maker fee -0.000100
            feed trade a3 1 @ 100.0 leaves 3
        alice replace id:a3 -> a4 perp 3 @ 99.9        // another price, by the venue's name
            alice replaced a4 buy perp 3 @ 99.9 loses its place
            feed delete a3
            feed add a4 buy perp 3 @ 99.9
        carol c3 sell perp 2 @ 100.3
            carol accepted c3 sell perp 2 @ 100.3
            feed add c3 sell perp 2 @ 100.3
        alice replace a4 -> a5 perp 5 @ 100.3          // it takes and rests
            alice replaced a5 buy perp 5 @ 100.3 loses its place
            feed delete a4
            alice filled a5 2 @ 100.3 leaves 3 taker fee 0.001003
            carol filled c3 2 @ 100.3 leaves 0 maker fee -0.000200
            feed trade c3 2 @ 100.3 leaves 0
            feed add a5 buy perp 3 @ 100.3
        state alice
            alice cash 995.993197000000 nonce 0 perp 4 worst 999.353197 fund 3602400000
        ",
    );
}

#[test]
fn a_refused_replace_leaves_the_order_as_it_was() {
    check(
        "
        deposit alice 100
            alice deposited 100.000000 number 0 cash 100.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 5 @ 100.0
            alice accepted a1 buy perp 5 @ 100.0
        alice replace a1 -> a2 perp 5 @ 100.0          // nothing to change
            alice rejected NothingToChange
        alice replace a1 -> a3 perp 5 @ 105.1          // out of the collar
            alice rejected PriceOutOfCollar
        alice replace a1 -> a4 perp 5 @ 200.0          // out of the band: the gate
            alice rejected PriceOutOfBand
        alice replace a1 -> a5 perp 9000 @ 100.0       // beyond the position limit
            alice rejected PositionLimit
        alice replace a1 -> a6 perp 5000 @ 100.0       // beyond the margin
            alice rejected InsufficientMargin
        alice replace a1 -> a7 call 5 @ 6.00           // not of this instrument
            alice rejected UnknownOrder
        bob replace id:a1 -> b1 perp 5 @ 99.0          // not his
            bob rejected UnknownOrder
        alice2 replace a1 -> x1 perp 5 @ 99.0          // not of this account
            alice2 rejected UnknownOrder
        alice replace a5 -> a8 perp 5 @ 99.0           // a5 never named an order
            alice rejected UnknownOrder
        wait 11s
        alice replace a1 -> a9 perp 5 @ 99.0           // the oracle is stale
            alice rejected OracleStale
        alice replace a1 -> a10 perp 4 @ 100.0         // but reducing is always allowed
            alice replaced a10 buy perp 4 @ 100.0 keeps its place
        alice cancel a1 perp                           // renamed
            alice rejected UnknownOrder
        alice cancel a10 perp
            alice canceled a10 4 requested
        ",
    );
}

#[test]
fn cancels_go_by_either_name_and_only_for_the_own_account() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice a1 buy perp 5 @ 100.0
            alice accepted a1 buy perp 5 @ 100.0
            feed add a1 buy perp 5 @ 100.0
        alice a2 buy perp 5 @ 99.0
            alice accepted a2 buy perp 5 @ 99.0
            feed add a2 buy perp 5 @ 99.0
        alice a3 buy put 5 @ 5.00
            alice accepted a3 buy put 5 @ 5.00
            feed add a3 buy put 5 @ 5.00
        bob cancel id:a1 perp
            bob rejected UnknownOrder
        bob cancel a1 perp
            bob rejected UnknownOrder
        alice2 cancel id:a1 perp
            alice2 rejected UnknownOrder
        alice cancel id:a1 call
            alice rejected UnknownOrder
        alice cancel id:a1 perp by bob                 // the gate: bob does not trade for alice
            alice rejected UnknownAccount to bob
        alice cancel id:a1 perp
            alice canceled a1 5 requested
            feed delete a1
        alice cancel id:a1 perp                        // dead now
            alice rejected UnknownOrder
        alice cancel a2 perp
            alice canceled a2 5 requested
            feed delete a2
        alice cancel a2 perp
            alice rejected UnknownOrder
        alice a4 buy perp 5 @ 100.0                    // it gets the slot of a1; a1's name stays dead
            alice accepted a4 buy perp 5 @ 100.0
            feed add a4 buy perp 5 @ 100.0
        alice cancel id:a1 perp
            alice rejected UnknownOrder
        bob b1 sell perp 5 @ 100.0
            bob accepted b1 sell perp 5 @ 100.0
            bob filled b1 5 @ 100.0 leaves 0 taker fee 0.002500
            alice filled a4 5 @ 100.0 leaves 0 maker fee -0.000500
            feed trade a4 5 @ 100.0 leaves 0
        alice cancel a4 perp                           // filled
            alice rejected UnknownOrder
        wait 1m
        alice cancel a3 put                            // cancels pass when the oracle is stale
            alice canceled a3 5 requested
            feed delete a3
        ",
    );
}

#[test]
fn mass_cancel_takes_what_matches_and_says_how_many() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 2 cash 1000.000000
        table
        alice a1 buy perp 1 @ 99.0
            alice accepted a1 buy perp 1 @ 99.0
        alice a2 buy perp 1 @ 99.1
            alice accepted a2 buy perp 1 @ 99.1
        alice a3 sell perp 1 @ 101.0
            alice accepted a3 sell perp 1 @ 101.0
        alice a4 buy put 1 @ 5.00
            alice accepted a4 buy put 1 @ 5.00
        alice a5 sell call 1 @ 7.00
            alice accepted a5 sell call 1 @ 7.00
        alice2 x1 buy perp 1 @ 99.0
            alice2 accepted x1 buy perp 1 @ 99.0
        bob b1 buy perp 1 @ 99.0
            bob accepted b1 buy perp 1 @ 99.0
        show feed
        alice mass-cancel perp buy
            alice canceled a1 1 mass
            feed delete a1
            alice canceled a2 1 mass
            feed delete a2
            alice mass-canceled 2
        alice mass-cancel call
            alice canceled a5 1 mass
            feed delete a5
            alice mass-canceled 1
        alice mass-cancel sell
            alice canceled a3 1 mass
            feed delete a3
            alice mass-canceled 1
        alice mass-cancel
            alice canceled a4 1 mass
            feed delete a4
            alice mass-canceled 1
        alice mass-cancel
            alice mass-canceled 0
        bob mass-cancel put
            bob mass-canceled 0
        alice2 mass-cancel buy
            alice2 canceled x1 1 mass
            feed delete x1
            alice2 mass-canceled 1
        bob mass-cancel
            bob canceled b1 1 mass
            feed delete b1
            bob mass-canceled 1
        ",
    );
}

#[test]
fn a_lost_session_cancels_by_the_policy_that_the_member_chose() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 2 cash 1000.000000
        table
        session alice established cod=0
        alice a1 buy perp 1 @ 99.0 cod
            alice accepted a1 buy perp 1 @ 99.0
        session alice lost                             // policy 0: nothing
        session alice established cod=1
        alice a2 buy perp 1 @ 99.0
            alice accepted a2 buy perp 1 @ 99.0
        alice2 x1 buy perp 1 @ 99.0 cod                // of the member, not of the account
            alice2 accepted x1 buy perp 1 @ 99.0
        bob b1 buy perp 1 @ 99.0 cod
            bob accepted b1 buy perp 1 @ 99.0
        session alice lost                             // policy 1: the flagged ones
            alice canceled a1 1 disconnect
            alice2 canceled x1 1 disconnect
        session alice established cod=2
        alice a3 buy call 1 @ 6.00
            alice accepted a3 buy call 1 @ 6.00
        alice a4 buy call 2 @ 6.00 cod
            alice accepted a4 buy call 2 @ 6.00
        alice replace a4 -> a5 call 1 @ 6.01           // the flag goes with the order
            alice replaced a5 buy call 1 @ 6.01 loses its place
        session alice established cod=1
        session alice replaced
            alice canceled a5 1 disconnect
        session alice established cod=2
        session alice terminated                       // policy 2: all
            alice canceled a2 1 disconnect
            alice canceled a3 1 disconnect
        session bob lost                               // he never chose
        ",
    );
}

#[test]
fn a_replace_keeps_the_self_trade_mode_of_its_order() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        table
        alice a1 sell perp 1 @ 100.0
            alice accepted a1 sell perp 1 @ 100.0
        alice a2 buy perp 2 @ 99.0 stp=taker
            alice accepted a2 buy perp 2 @ 99.0
        alice replace a2 -> a3 perp 2 @ 100.0          // a1 stays
            alice replaced a3 buy perp 2 @ 100.0 loses its place
            alice canceled a3 2 self-trade
        alice a4 buy perp 2 @ 99.0 stp=both
            alice accepted a4 buy perp 2 @ 99.0
        alice replace a4 -> a5 perp 2 @ 100.0
            alice replaced a5 buy perp 2 @ 100.0 loses its place
            alice canceled a1 1 self-trade
            alice canceled a5 2 self-trade
        ",
    );
}

#[test]
fn each_reject_of_the_engine_is_met_in_the_order_of_its_checks() {
    check_with(
        2,
        "
        deposit alice 100
            alice deposited 100.000000 number 0 cash 100.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        alice a1 buy perp 1 @ 100.0                    // no table yet
            alice rejected Halted
        table
        carol c1 buy perp 1 @ 100.0                    // never funded
            carol rejected NoSuchAccount
        carol withdraw 1
            carol rejected NoSuchAccount
        alice a2 buy perp 1 @ 105.1
            alice rejected PriceOutOfCollar
        alice a3 sell perp 1 @ 94.9
            alice rejected PriceOutOfCollar
        alice a4 sell perp 1 @ 105.1                   // a far ask is no risk to anybody: it may rest
            alice accepted a4 sell perp 1 @ 105.1
        bob b1 buy perp 1 @ 94.9
            bob accepted b1 buy perp 1 @ 94.9
        bob b2 buy perp 1 @ 94.9                       // both slots are taken
            bob rejected BookFull
        bob b3 buy perp 1 @ 94.9 ioc                   // which is nothing to an order that does not rest
            bob accepted b3 buy perp 1 @ 94.9
            bob canceled b3 1 ioc
        bob replace b1 -> b4 perp 1 @ 95.0             // nor to a replace, that brings its own slot
            bob replaced b4 buy perp 1 @ 95.0 loses its place
        alice a5 buy perp 6001 @ 100.0
            alice rejected PositionLimit
        alice a6 buy perp 6000 @ 100.0
            alice rejected InsufficientMargin
        alice a7 buy perp 10001 @ 100.0                // the gate
            alice rejected QuantityOutOfRange
        alice withdraw 100.000001
            alice rejected InsufficientCollateral
        alice withdraw 0
            alice rejected AmountOutOfRange
        wait 11s
        alice a8 buy perp 1 @ 100.0
            alice rejected OracleStale
        alice a9 buy perp 1 @ 100.0 ioc reduce         // fresh or not, there is nothing to reduce
            alice rejected WouldIncrease
        oracle
        alice a10 buy perp 1 @ 100.0 fok
            alice rejected CannotFillWhole
        ",
    );
}

#[test]
fn the_position_limit_counts_open_orders_of_the_side() {
    check(
        "
        deposit alice 100000
            alice deposited 100000.000000 number 0 cash 100000.000000
        deposit bob 100000
            bob deposited 100000.000000 number 1 cash 100000.000000
        table
        bob b1 sell perp 4000 @ 100.0
            bob accepted b1 sell perp 4000 @ 100.0
        alice a1 buy perp 4000 @ 100.0
            alice accepted a1 buy perp 4000 @ 100.0
            alice filled a1 4000 @ 100.0 leaves 0 taker fee 2.000000
            bob filled b1 4000 @ 100.0 leaves 0 maker fee -0.400000
        alice a2 buy perp 2000 @ 99.0
            alice accepted a2 buy perp 2000 @ 99.0
        alice a3 buy perp 1 @ 99.0
            alice rejected PositionLimit
        alice replace a2 -> a4 perp 2001 @ 99.0
            alice rejected PositionLimit
        alice replace a2 -> a5 perp 2000 @ 99.1
            alice replaced a5 buy perp 2000 @ 99.1 loses its place
        alice a6 sell perp 6000 @ 100.0                // from 4000 long to 2000 short
            alice accepted a6 sell perp 6000 @ 100.0
        alice a7 sell perp 4001 @ 100.0
            alice rejected PositionLimit
        bob b2 buy call 6001 @ 6.00
            bob rejected PositionLimit
        ",
    );
}

#[test]
fn the_margin_check_counts_the_worst_set_of_open_orders() {
    check(
        "
        deposit alice 20
            alice deposited 20.000000 number 0 cash 20.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 100 @ 100.0                  // 16 and a fee of 0.05, and a fifth more: 19.26
            alice accepted a1 buy perp 100 @ 100.0
        alice a2 buy perp 5 @ 100.0
            alice rejected InsufficientMargin
        alice replace a1 -> a1b perp 101 @ 99.9        // the old order's share is free for the new one
            alice replaced a1b buy perp 101 @ 99.9 loses its place
        alice a3 sell perp 100 @ 100.1                 // only one of the two can lose in a scenario
            alice accepted a3 sell perp 100 @ 100.1
        alice cancel a1b perp
            alice canceled a1b 101 requested
        alice a4 buy perp 100 @ 104.9                  // 4.9 a lot over the mark is lost at once
            alice rejected InsufficientMargin
        alice a5 buy perp 100 @ 100.0
            alice accepted a5 buy perp 100 @ 100.0
        alice withdraw 0.8
            alice rejected InsufficientCollateral
        alice withdraw 0.7
            alice withdrew 0.700000 cash 19.300000 in batch 1
        state alice
            alice cash 19.300000000000 nonce 1 worst 19.300000 fund 0
        ",
    );
}

#[test]
fn deposits_follow_the_queue_and_their_owner() {
    let mut venue = common::Venue::<LadderBook>::new(8);
    assert_eq!(venue.deposit(5, 10), Ok(()));
    let next = firmware::wire::input::InDeposit {
        queue_index: 1,
        amount: 1,
        account: 5,
        owner: common::owner_of(5),
        key: [0; 32],
    };
    let check = |m| venue.engine.check_deposit(&m);
    assert_eq!(check(next), Ok(()));
    for queue_index in [0, 2] {
        let wrong = firmware::wire::input::InDeposit {
            queue_index,
            ..next
        };
        let error = DepositError::Order {
            want: 1,
            got: queue_index,
        };
        assert_eq!(check(wrong), Err(error));
    }
    for owner in [[0; 20], common::owner_of(6)] {
        let wrong = firmware::wire::input::InDeposit { owner, ..next };
        assert_eq!(check(wrong), Err(DepositError::Owner(5)));
    }
    for account in [0, common::ACCOUNTS as u32, u32::MAX] {
        let wrong = firmware::wire::input::InDeposit { account, ..next };
        assert_eq!(check(wrong), Err(DepositError::Account(account)));
    }
    for amount in [0, 1 << 62, u64::MAX] {
        let wrong = firmware::wire::input::InDeposit { amount, ..next };
        assert_eq!(check(wrong), Err(DepositError::Amount(amount)));
    }
}

#[test]
fn collateral_beyond_the_bits_of_an_equity_is_refused_and_turnover_is_not() {
    let mut floor = Floor::open();
    let half = 1 << 61;
    for round in 0..20 {
        floor.venue.deposit(1, half).unwrap();
        floor.check();
        let error = DepositError::Total(half);
        assert_eq!(floor.venue.deposit(2, half), Err(error), "round {round}");
        let withdraw = Withdraw {
            cl_ord_id: 1,
            amount: half as i64,
            account: 1,
            pad1: 0,
        };
        floor.venue.request(1, withdraw);
        floor.check();
    }
    assert_eq!(floor.venue.engine.counters().withdrawals, 20);
}

#[test]
fn money_goes_in_by_the_queue_and_out_by_nonce() {
    check(
        "
        deposit alice 10
            alice deposited 10.000000 number 0 cash 10.000000
        deposit alice 5.5
            alice deposited 5.500000 number 1 cash 15.500000
        deposit bob 1
            bob deposited 1.000000 number 2 cash 1.000000
        alice withdraw 0.5                             // free money needs no table
            alice withdrew 0.500000 cash 15.000000 in batch 1
        alice withdraw 15.000001
            alice rejected InsufficientCollateral
        alice withdraw 15
            alice withdrew 15.000000 cash 0.000000 in batch 1
        alice withdraw 0.000001
            alice rejected InsufficientCollateral
        alice withdraw 1 by bob
            alice rejected UnknownAccount to bob
        state alice
            alice cash 0.000000000000 nonce 2 worst 0.000000 fund 0
        state bob
            bob cash 1.000000000000 nonce 0 worst 1.000000 fund 0
        timer seal
            feed sealed 1 timer rows 0 accounts 2
        timer seal                                     // nothing to seal
        ",
    );
}

#[test]
fn a_stale_oracle_stops_what_may_add_risk() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 5 @ 100.0
            bob accepted b1 sell perp 5 @ 100.0
        alice a1 buy perp 5 @ 100.0
            alice accepted a1 buy perp 5 @ 100.0
            alice filled a1 5 @ 100.0 leaves 0 taker fee 0.002500
            bob filled b1 5 @ 100.0 leaves 0 maker fee -0.000500
        bob b2 buy perp 5 @ 99.0
            bob accepted b2 buy perp 5 @ 99.0
        wait 10s
        alice a2 buy perp 1 @ 98.0                     // ten seconds old is still fresh
            alice accepted a2 buy perp 1 @ 98.0
        wait 1s
        alice a3 buy perp 1 @ 98.0
            alice rejected OracleStale
        alice a4 sell perp 2 @ 99.0                    // it would reduce, but does not promise to
            alice rejected OracleStale
        alice a5 sell perp 2 @ 99.0 ioc reduce
            alice accepted a5 sell perp 2 @ 99.0
            alice filled a5 2 @ 99.0 leaves 0 taker fee 0.000990
            bob filled b2 2 @ 99.0 leaves 3 maker fee -0.000198
        alice mass-cancel
            alice canceled a2 1 mass
            alice mass-canceled 1
        oracle
        alice a6 buy perp 1 @ 98.0
            alice accepted a6 buy perp 1 @ 98.0
        ",
    );
}

#[test]
fn a_collar_that_moves_cancels_the_orders_that_it_leaves_behind() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 1 @ 105.0
            alice accepted a1 buy perp 1 @ 105.0
        alice a2 buy perp 1 @ 104.0
            alice accepted a2 buy perp 1 @ 104.0
        alice a3 buy perp 1 @ 90.0
            alice accepted a3 buy perp 1 @ 90.0
        bob b1 sell perp 1 @ 110.0
            bob accepted b1 sell perp 1 @ 110.0
        bob b2 sell put 1 @ 10.00
            bob accepted b2 sell put 1 @ 10.00
        show feed
        table index 99.5                               // the collar now ends at 104.5
            feed index 99.500000 epoch 2
            feed mark perp 0.995000 collar 94.5 to 104.5
            feed mark call 0.065897 collar 1.61 to 11.57
            feed mark put 0.073338 collar 2.35 to 12.31
            alice canceled a1 1 collar
            feed delete a1
        table index 112.0                              // bids may stay below the collar, but no ask below it
            feed index 112.000000 epoch 3
            feed mark perp 1.120000 collar 106.4 to 117.6
            feed mark call 0.147815 collar 9.18 to 20.38
            feed mark put 0.037134 collar 0.01 to 9.31
            feed settlement 1 by move index 100.000000 to 112.000000 transferred 0.000000 delta 0.000000 rest 0.000000 accounts 0
        table index 120.0
            feed index 120.000000 epoch 4
            feed mark perp 1.200000 collar 114.0 to 126.0
            feed mark call 0.213955 collar 15.40 to 27.40
            feed mark put 0.023217 collar 0.01 to 8.32
            bob canceled b1 1 collar
            feed delete b1
            feed settlement 2 by move index 112.000000 to 120.000000 transferred 0.000000 delta 0.000000 rest 0.000000 accounts 0
        ",
    );
}

#[test]
fn an_expired_option_closes_and_keeps_no_orders() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell call 5 @ 6.80
            bob accepted b1 sell call 5 @ 6.80
        alice a1 buy call 3 @ 6.80
            alice accepted a1 buy call 3 @ 6.80
            alice filled a1 3 @ 6.80 leaves 0 taker fee 0.000102
            bob filled b1 3 @ 6.80 leaves 2 maker fee -0.000020
        alice a2 buy call 1 @ 6.00
            alice accepted a2 buy call 1 @ 6.00
        alice a3 buy put 1 @ 4.00
            alice accepted a3 buy put 1 @ 4.00
        timer seal
            feed sealed 1 timer rows 1 accounts 2
        wait 31d
        table                                          // both sides of the call go
            alice canceled a2 1 collar
            bob canceled b1 2 collar
            alice settled 1 transfer -0.205617 delta 0.000000 rest -0.205617 collateral 999.795898 maintenance 0.000000
            bob settled 1 transfer 0.205617 delta 0.000000 rest 0.205617 collateral 1000.204020 maintenance 0.480000
            feed settlement 1 by time index 100.000000 to 100.000000 transferred 0.205617 delta 0.000000 rest 0.411234 accounts 2
        alice a4 buy call 1 @ 1.00
            alice rejected Halted
        bob replace b1 -> b2 call 1 @ 6.90
            bob rejected UnknownOrder
        bob cancel b1 call
            bob rejected UnknownOrder
        alice a5 sell call 3 market reduce
            alice rejected Halted
        state alice
            alice cash 999.795898000000 nonce 0 call 3 worst 999.795898 fund 81600000
        ",
    );
}

#[test]
fn a_short_account_loses_its_orders_and_a_deposit_cures_it() {
    check(
        "
        deposit alice 20
            alice deposited 20.000000 number 0 cash 20.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 80 @ 100.0
            bob accepted b1 sell perp 80 @ 100.0
        alice a1 buy perp 80 @ 100.0
            alice accepted a1 buy perp 80 @ 100.0
            alice filled a1 80 @ 100.0 leaves 0 taker fee 0.040000
            bob filled b1 80 @ 100.0 leaves 0 maker fee -0.008000
        alice a2 sell perp 10 @ 101.0
            alice accepted a2 sell perp 10 @ 101.0
        alice a3 buy perp 20 @ 97.0
            alice accepted a3 buy perp 20 @ 97.0
        bob b2 buy perp 20 @ 89.0
            bob accepted b2 buy perp 20 @ 89.0
        table index 94.0                               // alice can still carry the position, not the orders
            feed sealed 1 table rows 1 accounts 2
            alice canceled a2 10 margin
            alice canceled a3 20 margin
            alice settled 1 transfer -4.800000 delta -4.800000 rest 0.000000 collateral 15.160000 maintenance 12.032000
            bob settled 1 transfer 4.800000 delta 4.800000 rest 0.000000 collateral 1004.808000 maintenance 12.032000
            feed settlement 1 by move index 100.000000 to 94.000000 transferred 4.800000 delta 9.600000 rest 0.000000 accounts 2
        state alice
            alice cash -60.040000000000 nonce 0 perp 80 worst 3.128000 fund 32000000000
        table index 89.0                               // below maintenance; her batch was closed before
            alice settled 2 transfer -4.000000 delta -4.000000 rest 0.000000 collateral 11.160000 maintenance 11.392000
            bob settled 2 transfer 4.000000 delta 4.000000 rest 0.000000 collateral 1008.808000 maintenance 11.392000
            feed settlement 2 by move index 94.000000 to 89.000000 transferred 4.000000 delta 8.000000 rest 0.000000 accounts 2
        state alice
            alice cash -60.040000000000 nonce 0 perp 80 worst -0.232000 fund 32000000000
        alice a4 sell perp 10 @ 89.0 ioc reduce
            alice rejected BelowMaintenance
        alice withdraw 0.000001
            alice rejected BelowMaintenance
        deposit alice 0.1
            alice deposited 0.100000 number 2 cash -59.940000
        alice a5 sell perp 10 @ 89.0 ioc
            alice rejected BelowMaintenance
        table index 88.9                               // a deposit alone may leave her short,
            feed sealed 2 table rows 0 accounts 1
        timer seal                                     // so the batch can be proven
        deposit alice 0.5
            alice deposited 0.500000 number 3 cash -59.440000
        alice a6 sell perp 10 @ 89.0 ioc reduce
            alice accepted a6 sell perp 10 @ 89.0
            alice filled a6 10 @ 89.0 leaves 0 taker fee 0.004450
            bob filled b2 10 @ 89.0 leaves 10 maker fee -0.000890
        alice a7 sell perp 10 @ 89.0 ioc
            alice rejected InsufficientMargin
        deposit alice 1000
            alice deposited 1000.000000 number 4 cash 949.455550
        alice a8 sell perp 10 @ 89.0 ioc
            alice accepted a8 sell perp 10 @ 89.0
            alice filled a8 10 @ 89.0 leaves 0 taker fee 0.004450
            bob filled b2 10 @ 89.0 leaves 0 maker fee -0.000890
        state alice
            alice cash 958.351100000000 nonce 0 perp 60 worst 1003.156700 fund 39120000000
        timer seal
            feed sealed 3 timer rows 1 accounts 2
        ",
    );
}

#[test]
fn settlements_move_the_mark_and_sum_to_zero() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        deposit carol 1000
            carol deposited 1000.000000 number 2 cash 1000.000000
        table
        bob b1 sell perp 10 @ 100.0
            bob accepted b1 sell perp 10 @ 100.0
        alice a1 buy perp 10 @ 100.0
            alice accepted a1 buy perp 10 @ 100.0
            alice filled a1 10 @ 100.0 leaves 0 taker fee 0.005000
            bob filled b1 10 @ 100.0 leaves 0 maker fee -0.001000
        carol c1 sell call 20 @ 6.80
            carol accepted c1 sell call 20 @ 6.80
        alice a2 buy call 20 @ 6.80
            alice accepted a2 buy call 20 @ 6.80
            alice filled a2 20 @ 6.80 leaves 0 taker fee 0.000680
            carol filled c1 20 @ 6.80 leaves 0 maker fee -0.000136
        timer                                          // not due
        table index 101.9                              // under 2 %
        table index 102.0                              // 2 %: the perpetual is all delta, the call is not
            alice settled 1 transfer 0.422860 delta 0.413707 rest 0.009153 collateral 1000.427960 maintenance 3.091280
            bob settled 1 transfer -0.200000 delta -0.200000 rest 0.000000 collateral 999.801000 maintenance 1.632000
            carol settled 1 transfer -0.222860 delta -0.213707 rest -0.009153 collateral 999.766496 maintenance 2.648380
            feed settlement 1 by move index 100.000000 to 102.000000 transferred 0.422860 delta 0.827414 rest 0.018306 accounts 3
        wait 59s
        timer
        wait 1s
        timer                                          // the interval: nothing moved, everybody is told
            alice settled 2 transfer 0.000000 delta 0.000000 rest 0.000000 collateral 1000.427960 maintenance 3.091280
            bob settled 2 transfer 0.000000 delta 0.000000 rest 0.000000 collateral 999.801000 maintenance 1.632000
            carol settled 2 transfer 0.000000 delta 0.000000 rest 0.000000 collateral 999.766496 maintenance 2.648380
            feed settlement 2 by time index 102.000000 to 102.000000 transferred 0.000000 delta 0.000000 rest 0.000000 accounts 3
        wait 30s
        table index 99.96                              // down by 2 % of the last settled index
            alice settled 3 transfer -0.431140 delta -0.440518 rest 0.009378 collateral 999.996820 maintenance 2.870260
            bob settled 3 transfer 0.204000 delta 0.204000 rest 0.000000 collateral 1000.005000 maintenance 1.599360
            carol settled 3 transfer 0.227140 delta 0.236518 rest -0.009378 collateral 999.993636 maintenance 2.496720
            feed settlement 3 by move index 102.000000 to 99.960000 transferred 0.431140 delta 0.881036 rest 0.018756 accounts 3
        deposit erin 5                                 // without a position there is nothing to settle
            erin deposited 5.000000 number 3 cash 5.000000
        wait 1m
        table index 99.9
            alice settled 4 transfer -0.012420 delta -0.012400 rest -0.000020 collateral 999.984400 maintenance 2.863880
            bob settled 4 transfer 0.006000 delta 0.006000 rest 0.000000 collateral 1000.011000 maintenance 1.598400
            carol settled 4 transfer 0.006420 delta 0.006400 rest 0.000020 collateral 1000.000056 maintenance 2.492180
            feed settlement 4 by time index 99.960000 to 99.900000 transferred 0.012420 delta 0.024800 rest 0.000040 accounts 3
        ",
    );
}

#[test]
fn batches_close_when_rows_of_money_run_out() {
    check(
        "
        deposit alice 1
            alice deposited 1.000000 number 0 cash 1.000000
        deposit alice 1
            alice deposited 1.000000 number 1 cash 2.000000
        deposit alice 1
            alice deposited 1.000000 number 2 cash 3.000000
        deposit alice 1
            alice deposited 1.000000 number 3 cash 4.000000
        deposit alice 1
            alice deposited 1.000000 number 4 cash 5.000000
        deposit alice 1
            alice deposited 1.000000 number 5 cash 6.000000
        deposit alice 1
            alice deposited 1.000000 number 6 cash 7.000000
        deposit alice 1
            alice deposited 1.000000 number 7 cash 8.000000
        deposit alice 1                                // the ninth deposit
            feed sealed 1 full rows 0 accounts 1
            alice deposited 1.000000 number 8 cash 9.000000
        alice withdraw 1
            alice withdrew 1.000000 cash 8.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 7.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 6.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 5.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 4.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 3.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 2.000000 in batch 2
        alice withdraw 1
            alice withdrew 1.000000 cash 1.000000 in batch 2
        alice withdraw 1                               // the ninth withdrawal
            feed sealed 2 full rows 0 accounts 1
            alice withdrew 1.000000 cash 0.000000 in batch 3
        timer seal
            feed sealed 3 timer rows 0 accounts 1
        deposit bob 1
            bob deposited 1.000000 number 9 cash 1.000000
        timer operator
            feed sealed 4 operator rows 0 accounts 1
        ",
    );
}

#[test]
fn batches_close_when_accounts_run_out() {
    check(
        "
        deposit alice 100
            alice deposited 100.000000 number 0 cash 100.000000
        deposit bob 100
            bob deposited 100.000000 number 1 cash 100.000000
        deposit carol 100
            carol deposited 100.000000 number 2 cash 100.000000
        deposit dave 100
            dave deposited 100.000000 number 3 cash 100.000000
        deposit erin 100
            erin deposited 100.000000 number 4 cash 100.000000
        deposit frank 100
            frank deposited 100.000000 number 5 cash 100.000000
        deposit grace 100
            grace deposited 100.000000 number 6 cash 100.000000
        deposit heidi 100
            heidi deposited 100.000000 number 7 cash 100.000000
        deposit ivan 100                               // the ninth account
            feed sealed 1 full rows 0 accounts 8
            ivan deposited 100.000000 number 8 cash 100.000000
        deposit judy 100
            judy deposited 100.000000 number 9 cash 100.000000
        table
        alice a1 sell perp 1 @ 100.0
            alice accepted a1 sell perp 1 @ 100.0
        bob b1 sell perp 1 @ 100.0
            bob accepted b1 sell perp 1 @ 100.0
        carol c1 sell perp 1 @ 100.0
            carol accepted c1 sell perp 1 @ 100.0
        dave d1 sell perp 1 @ 100.0
            dave accepted d1 sell perp 1 @ 100.0
        erin e1 sell perp 1 @ 100.0
            erin accepted e1 sell perp 1 @ 100.0
        frank f1 sell perp 1 @ 100.0
            frank accepted f1 sell perp 1 @ 100.0
        grace g1 sell perp 1 @ 100.0
            grace accepted g1 sell perp 1 @ 100.0
        heidi h1 buy perp 7 @ 100.0                    // with ivan and judy that would be ten: split
            heidi accepted h1 buy perp 7 @ 100.0
            heidi filled h1 1 @ 100.0 leaves 6 taker fee 0.000500
            alice filled a1 1 @ 100.0 leaves 0 maker fee -0.000100
            heidi filled h1 1 @ 100.0 leaves 5 taker fee 0.000500
            bob filled b1 1 @ 100.0 leaves 0 maker fee -0.000100
            heidi filled h1 1 @ 100.0 leaves 4 taker fee 0.000500
            carol filled c1 1 @ 100.0 leaves 0 maker fee -0.000100
            heidi filled h1 1 @ 100.0 leaves 3 taker fee 0.000500
            dave filled d1 1 @ 100.0 leaves 0 maker fee -0.000100
            heidi filled h1 1 @ 100.0 leaves 2 taker fee 0.000500
            erin filled e1 1 @ 100.0 leaves 0 maker fee -0.000100
            feed sealed 2 full rows 5 accounts 8
            heidi filled h1 1 @ 100.0 leaves 1 taker fee 0.000500
            frank filled f1 1 @ 100.0 leaves 0 maker fee -0.000100
            heidi filled h1 1 @ 100.0 leaves 0 taker fee 0.000500
            grace filled g1 1 @ 100.0 leaves 0 maker fee -0.000100
        ivan withdraw 1
            ivan withdrew 1.000000 cash 99.000000 in batch 3
        judy withdraw 1
            judy withdrew 1.000000 cash 99.000000 in batch 3
        timer seal
            feed sealed 3 timer rows 2 accounts 5
        ",
    );
}

#[test]
fn a_batch_closes_before_a_table_that_it_could_not_be_proven_under() {
    check(
        "
        deposit alice 20
            alice deposited 20.000000 number 0 cash 20.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 80 @ 100.0
            bob accepted b1 sell perp 80 @ 100.0
        alice a1 buy perp 80 @ 100.0
            alice accepted a1 buy perp 80 @ 100.0
            alice filled a1 80 @ 100.0 leaves 0 taker fee 0.040000
            bob filled b1 80 @ 100.0 leaves 0 maker fee -0.008000
        table index 99.9                               // alice stays above her margin: the batch goes on
        table index 94.0                               // she would not
            feed sealed 1 table rows 1 accounts 2
            alice settled 1 transfer -4.800000 delta -4.800000 rest 0.000000 collateral 15.160000 maintenance 12.032000
            bob settled 1 transfer 4.800000 delta 4.800000 rest 0.000000 collateral 1004.808000 maintenance 12.032000
            feed settlement 1 by move index 100.000000 to 94.000000 transferred 4.800000 delta 9.600000 rest 0.000000 accounts 2
        timer seal                                     // nothing since
        deposit bob 1
            bob deposited 1.000000 number 2 cash 1081.008000
        bob b2 sell perp 1 @ 98.7
            bob accepted b2 sell perp 1 @ 98.7
        deposit carol 1000
            carol deposited 1000.000000 number 3 cash 1000.000000
        carol c1 buy perp 1 @ 98.7
            carol accepted c1 buy perp 1 @ 98.7
            carol filled c1 1 @ 98.7 leaves 0 taker fee 0.000494
            bob filled b2 1 @ 98.7 leaves 0 maker fee -0.000098
        table index 93.9                               // the fill would be outside of the collar
            feed sealed 2 table rows 1 accounts 2
        bob b3 sell perp 1 @ 93.9
            bob accepted b3 sell perp 1 @ 93.9
        carol c2 buy perp 1 @ 93.9
            carol accepted c2 buy perp 1 @ 93.9
            carol filled c2 1 @ 93.9 leaves 0 taker fee 0.000470
            bob filled b3 1 @ 93.9 leaves 0 maker fee -0.000093
        table fees 400 -100                            // the fees of a batch are its table's
            feed sealed 3 table rows 1 accounts 2
        deposit bob 1
            bob deposited 1.000000 number 4 cash 1083.934192
        table fees 500 -100                            // which a deposit does not ask
        timer operator
            feed sealed 4 operator rows 0 accounts 1
        ",
    );
}

/// A venue under watch, for scenarios too long to write down.
struct Floor {
    venue: Venue<LadderBook>,
    watch: Watch,
    next_name: u64,
    /// Reason and rows of each batch.
    sealed: Vec<(SealReason, usize)>,
}

impl Floor {
    /// Accounts 1 to 8 have a million each.
    fn open() -> Self {
        let mut watch = Watch::default();
        watch.list(&specs());
        let mut floor = Self {
            venue: Venue::new(2_000),
            watch,
            next_name: 0,
            sealed: Vec::new(),
        };
        for account in 1..=8 {
            floor.venue.bind(account, account);
            floor.venue.deposit(account, 1_000_000_000_000).unwrap();
            floor.check();
        }
        floor.venue.adopt();
        floor.venue.oracle();
        floor.timer(TIMER_SEAL);
        floor.sealed.clear();
        floor
    }

    fn check(&mut self) {
        self.watch.check(&self.venue);
        let sealed = self.venue.out.sealed().map(|b| decode(b).unwrap());
        self.sealed
            .extend(sealed.map(|b| (b.reason, b.fills.len())));
    }

    fn timer(&mut self, flags: u32) {
        self.venue.timer(flags);
        self.check();
    }

    /// A limit order of member and account `who`, at a price in ticks.
    fn order(&mut self, who: u32, side: Side, instrument: u16, lots: i64, ticks: i64) {
        self.next_name += 1;
        let tick_e9 = if instrument == PERP {
            100_000_000
        } else {
            10_000_000
        };
        let order = NewOrder {
            cl_ord_id: self.next_name,
            price: ticks * tick_e9,
            quantity: lots,
            expire_time: 0,
            smp_id: 0,
            account: who,
            instrument,
            side: side as u8,
            ord_type: ORD_LIMIT,
            time_in_force: TIF_GTC,
            flags: 0,
            stp_mode: 0,
            mmp_group: 0,
            pad1: 0,
        };
        self.venue.request(who, order);
        self.check();
    }

    /// Asks of one lot: `levels` prices from `ticks` up, each with accounts 2 to 8.
    fn ladder(&mut self, instrument: u16, ticks: i64, levels: i64) {
        for level in 0..levels {
            for who in 2..=8 {
                self.order(who, Side::Sell, instrument, 1, ticks + level);
            }
        }
    }
}

#[test]
fn a_long_order_is_split_between_batches_by_rows() {
    let mut floor = Floor::open();
    floor.ladder(PERP, 1_000, 40);
    floor.order(1, Side::Buy, PERP, 280, 1_040);
    assert_eq!(floor.sealed, [(SealReason::Full, 256)]);
    floor.order(1, Side::Buy, PERP, 5, 1_000);
    floor.order(2, Side::Sell, PERP, 5, 1_000);
    floor.timer(TIMER_SEAL | TIMER_OPERATOR);
    assert_eq!(floor.sealed[1..], [(SealReason::Operator, 25)]);
    assert_eq!(floor.venue.engine.counters().fills, 281);
    let (accounts, fund) = (
        floor.venue.engine.accounts(),
        floor.venue.engine.fund_pico(),
    );
    floor.watch.auditor.assert_equals(accounts, fund);
}

#[test]
fn a_batch_closes_when_no_lane_is_left_for_another_instrument() {
    let mut floor = Floor::open();
    // 245 rows of the perpetual take 16 lanes, the last one with 11 places to spare.
    floor.ladder(PERP, 1_000, 35);
    floor.order(1, Side::Buy, PERP, 245, 1_040);
    floor.ladder(PERP, 1_041, 1);
    floor.order(1, Side::Buy, PERP, 7, 1_041);
    assert_eq!(floor.sealed, []);
    floor.order(2, Side::Sell, CALL, 1, 690);
    floor.order(1, Side::Buy, CALL, 1, 690);
    assert_eq!(floor.sealed, [(SealReason::Full, 252)]);
    floor.timer(TIMER_SEAL);
    assert_eq!(floor.sealed[1..], [(SealReason::Timer, 1)]);
}

#[test]
fn fills_of_one_pair_at_one_price_share_a_row() {
    let mut floor = Floor::open();
    for _ in 0..600 {
        floor.order(2, Side::Sell, PERP, 3, 1_000);
        floor.order(1, Side::Buy, PERP, 3, 1_000);
        floor.order(1, Side::Sell, PERP, 3, 1_000);
        floor.order(2, Side::Buy, PERP, 3, 1_000);
    }
    floor.timer(TIMER_SEAL);
    assert_eq!(floor.sealed, [(SealReason::Timer, 2)]);
}

#[test]
fn an_order_stops_at_the_bound_on_its_fills() {
    let mut floor = Floor::open();
    for i in 0..1_100 {
        floor.order(2, Side::Sell, PERP, 1, 1_000 + i / 100);
    }
    let kinds = |floor: &Floor| {
        let outcomes = floor.venue.out.outcomes().iter();
        let last = outcomes.rev().find_map(|o| match o {
            Outcome::Report(_, Report::Canceled(m)) => Some((m.reason, m.quantity)),
            _ => None,
        });
        (floor.venue.engine.counters().fills, last)
    };
    floor.order(1, Side::Buy, PERP, 1_050, 1_040);
    assert_eq!(kinds(&floor), (1_024, Some((CANCEL_FILL_LIMIT, 26))));
    // At exactly the bound nothing more is to be met, so the rest may stay.
    floor.order(2, Side::Sell, PERP, 1, 1_041);
    floor.order(1, Side::Buy, PERP, 77, 1_040);
    assert_eq!(kinds(&floor), (1_100, None));
    assert_eq!(floor.venue.engine.book().live(), 2);
}
