//! Rules of orders as text: time in force, replace and reduce, self-trade prevention, reduce-only, queries.
//! Each rule and its source venue: `matcher/RULES.md`. Numbers as in `engine_scenarios.rs`.

mod common;

use common::script::check;

#[test]
fn a_good_till_date_order_goes_at_its_expiry_and_not_before() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice a1 buy perp 5 @ 99.0 gtd=20s
            alice accepted a1 buy perp 5 @ 99.0
            feed add a1 buy perp 5 @ 99.0
        alice a2 buy perp 5 @ 99.0 gtd=5s
            alice accepted a2 buy perp 5 @ 99.0
            feed add a2 buy perp 5 @ 99.0
        alice a3 buy perp 5 @ 99.0
            alice accepted a3 buy perp 5 @ 99.0
            feed add a3 buy perp 5 @ 99.0
        wait 4s
        timer   // nothing is due
        wait 1s
        timer   // a2 is due to the nanosecond
            alice canceled a2 5 expired
            feed delete a2
        bob b1 sell perp 7 @ 99.0   // a1 kept its place before a3
            bob accepted b1 sell perp 7 @ 99.0
            bob filled b1 5 @ 99.0 leaves 2 taker fee 0.002475
            alice filled a1 5 @ 99.0 leaves 0 maker fee -0.000495
            feed trade a1 5 @ 99.0 leaves 0
            bob filled b1 2 @ 99.0 leaves 0 taker fee 0.000990
            alice filled a3 2 @ 99.0 leaves 3 maker fee -0.000198
            feed trade a3 2 @ 99.0 leaves 3
        wait 5d
        timer   // nothing is left of a1; a3 stays for good
            alice settled 1 transfer 0.000000 delta 0.000000 rest 0.000000 collateral 1000.070693 maintenance 1.120000
            bob settled 1 transfer 0.000000 delta 0.000000 rest 0.000000 collateral 999.926535 maintenance 1.120000
            feed settlement 1 by time index 100.000000 to 100.000000 transferred 0.000000 delta 0.000000 rest 0.000000 accounts 2
        ",
    );
}

#[test]
fn a_day_order_goes_at_midnight() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        table
        alice a1 buy perp 5 @ 99.0 day
            alice accepted a1 buy perp 5 @ 99.0
        alice a2 buy perp 5 @ 99.0 gtd=0s
            alice rejected InvalidExpiry
        wait 1d
        timer
            alice canceled a1 5 expired
            feed settlement 1 by time index 100.000000 to 100.000000 transferred 0.000000 delta 0.000000 rest 0.000000 accounts 0
        ",
    );
}

#[test]
fn what_trades_before_it_expires_leaves_nothing_behind() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 5 @ 99.0 gtd=5s
            alice accepted a1 buy perp 5 @ 99.0
        alice a2 buy perp 5 @ 99.0 gtd=6s
            alice accepted a2 buy perp 5 @ 99.0
        bob b1 sell perp 5 @ 99.0
            bob accepted b1 sell perp 5 @ 99.0
            bob filled b1 5 @ 99.0 leaves 0 taker fee 0.002475
            alice filled a1 5 @ 99.0 leaves 0 maker fee -0.000495
        alice cancel a2 perp
            alice canceled a2 5 requested
        wait 9s
        timer
        ",
    );
}

#[test]
fn a_replace_keeps_the_expiry_and_what_was_filled() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 10 @ 99.0 gtd=8s
            alice accepted a1 buy perp 10 @ 99.0
        bob b1 sell perp 4 @ 99.0
            bob accepted b1 sell perp 4 @ 99.0
            bob filled b1 4 @ 99.0 leaves 0 taker fee 0.001980
            alice filled a1 4 @ 99.0 leaves 6 maker fee -0.000396
        alice replace a1 -> a2 perp 9 @ 99.1
            alice replaced a2 buy perp 9 @ 99.1 loses its place
        alice open-orders
            alice open a2 buy perp 9 @ 99.1 filled 4
            alice open orders 1
        wait 8s
        timer
            alice canceled a2 9 expired
        ",
    );
}

#[test]
fn a_total_quantity_counts_what_was_filled_meanwhile() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 10 @ 99.0
            alice accepted a1 buy perp 10 @ 99.0
        bob b1 sell perp 4 @ 99.0
            bob accepted b1 sell perp 4 @ 99.0
            bob filled b1 4 @ 99.0 leaves 0 taker fee 0.001980
            alice filled a1 4 @ 99.0 leaves 6 maker fee -0.000396
        alice replace a1 -> a2 perp 12 @ 99.0 total   // 12 in all, 4 of them filled: 8 open, more than before
            alice replaced a2 buy perp 8 @ 99.0 loses its place
        alice replace a2 -> a3 perp 7 @ 99.0 total   // 3 open: fewer, the place is kept
            alice replaced a3 buy perp 3 @ 99.0 keeps its place
        alice replace a3 -> a4 perp 7 @ 99.0 total
            alice rejected NothingToChange
        bob b2 sell perp 1 @ 99.0
            bob accepted b2 sell perp 1 @ 99.0
            bob filled b2 1 @ 99.0 leaves 0 taker fee 0.000495
            alice filled a3 1 @ 99.0 leaves 2 maker fee -0.000099
        alice replace a3 -> a5 perp 5 @ 98.0 total   // all five were filled before it came
            alice canceled a3 2 requested
        alice cancel a3 perp
            alice rejected UnknownOrder
        alice a6 buy perp 10 @ 99.0
            alice accepted a6 buy perp 10 @ 99.0
        alice replace a6 -> a7 perp 10001 @ 98.0 total
            alice rejected QuantityOutOfRange
        ",
    );
}

#[test]
fn a_reduction_keeps_the_place_and_both_names() {
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
        alice a1 buy perp 10 @ 99.0
            alice accepted a1 buy perp 10 @ 99.0
            feed add a1 buy perp 10 @ 99.0
        carol c1 buy perp 10 @ 99.0
            carol accepted c1 buy perp 10 @ 99.0
            feed add c1 buy perp 10 @ 99.0
        alice reduce a1 perp 6
            alice replaced a1 buy perp 6 @ 99.0 keeps its place
            feed reduce a1 to 6
        alice reduce id:a1 perp 5
            alice replaced a1 buy perp 5 @ 99.0 keeps its place
            feed reduce a1 to 5
        alice reduce a1 perp 5
            alice rejected NothingToChange
        alice reduce a1 perp 7
            alice rejected NothingToChange
        alice reduce a1 perp 0
            alice rejected QuantityOutOfRange
        alice reduce a1 call 2
            alice rejected UnknownOrder
        carol reduce c1 perp 3 by alice
            carol rejected UnknownAccount to alice
        bob b1 sell perp 7 @ 99.0
            bob accepted b1 sell perp 7 @ 99.0
            bob filled b1 5 @ 99.0 leaves 2 taker fee 0.002475
            alice filled a1 5 @ 99.0 leaves 0 maker fee -0.000495
            feed trade a1 5 @ 99.0 leaves 0
            bob filled b1 2 @ 99.0 leaves 0 taker fee 0.000990
            carol filled c1 2 @ 99.0 leaves 8 maker fee -0.000198
            feed trade c1 2 @ 99.0 leaves 8
        alice reduce a1 perp 1
            alice rejected UnknownOrder
        ",
    );
}

#[test]
fn a_self_trade_decrement_takes_the_smaller_quantity_off_both() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice a1 sell perp 10 @ 100.0
            alice accepted a1 sell perp 10 @ 100.0
            feed add a1 sell perp 10 @ 100.0
        bob b1 sell perp 4 @ 100.0
            bob accepted b1 sell perp 4 @ 100.0
            feed add b1 sell perp 4 @ 100.0
        alice a2 buy perp 4 @ 100.0 stp=decrement   // the resting order is larger
            alice accepted a2 buy perp 4 @ 100.0
            alice canceled a1 4 self-trade leaves 6
            feed reduce a1 to 6
            alice canceled a2 4 self-trade
        alice a3 buy perp 9 @ 100.0 stp=decrement   // and now smaller: the rest trades with bob
            alice accepted a3 buy perp 9 @ 100.0
            alice canceled a1 6 self-trade
            feed delete a1
            alice canceled a3 6 self-trade leaves 3
            alice filled a3 3 @ 100.0 leaves 0 taker fee 0.001500
            bob filled b1 3 @ 100.0 leaves 1 maker fee -0.000300
            feed trade b1 3 @ 100.0 leaves 1
        alice a4 sell perp 3 @ 101.0
            alice accepted a4 sell perp 3 @ 101.0
            feed add a4 sell perp 3 @ 101.0
        alice a5 buy perp 3 @ 101.0 ioc stp=decrement
            alice accepted a5 buy perp 3 @ 101.0
            alice filled a5 1 @ 100.0 leaves 2 taker fee 0.000500
            bob filled b1 1 @ 100.0 leaves 0 maker fee -0.000100
            feed trade b1 1 @ 100.0 leaves 0
            alice canceled a4 2 self-trade leaves 1
            feed reduce a4 to 1
            alice canceled a5 2 self-trade
        alice a6 sell perp 3 @ 101.0
            alice accepted a6 sell perp 3 @ 101.0
            feed add a6 sell perp 3 @ 101.0
        alice a7 buy perp 3 @ 101.0 fok stp=decrement   // a decrement is no fill
            alice rejected CannotFillWhole
        ",
    );
}

#[test]
fn self_match_ids_reach_over_the_accounts_of_a_member() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 2 cash 1000.000000
        table
        alice a1 sell perp 5 @ 100.0 smp=7
            alice accepted a1 sell perp 5 @ 100.0
        alice2 x1 buy perp 2 @ 100.0 smp=8   // another id: they trade
            alice2 accepted x1 buy perp 2 @ 100.0
            alice2 filled x1 2 @ 100.0 leaves 0 taker fee 0.001000
            alice filled a1 2 @ 100.0 leaves 3 maker fee -0.000200
        alice2 x2 buy perp 2 @ 100.0   // none: they trade
            alice2 accepted x2 buy perp 2 @ 100.0
            alice2 filled x2 2 @ 100.0 leaves 0 taker fee 0.001000
            alice filled a1 2 @ 100.0 leaves 1 maker fee -0.000200
        alice2 x3 buy perp 2 @ 100.0 smp=7 stp=taker
            alice2 accepted x3 buy perp 2 @ 100.0
            alice2 canceled x3 2 self-trade
        bob b1 buy perp 1 @ 100.0 smp=7   // another member's id is another id
            bob accepted b1 buy perp 1 @ 100.0
            bob filled b1 1 @ 100.0 leaves 0 taker fee 0.000500
            alice filled a1 1 @ 100.0 leaves 0 maker fee -0.000100
        ",
    );
}

#[test]
fn resting_reduce_only_orders_follow_the_position() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 10 @ 100.0
            bob accepted b1 sell perp 10 @ 100.0
        alice a1 buy perp 10 @ 100.0
            alice accepted a1 buy perp 10 @ 100.0
            alice filled a1 10 @ 100.0 leaves 0 taker fee 0.005000
            bob filled b1 10 @ 100.0 leaves 0 maker fee -0.001000
        alice a2 sell perp 6 @ 101.0 reduce
            alice accepted a2 sell perp 6 @ 101.0
        alice a3 sell perp 5 @ 101.5 reduce   // six are spoken for
            alice rejected WouldIncrease
        alice a4 sell perp 4 @ 102.0 reduce
            alice accepted a4 sell perp 4 @ 102.0
        bob b2 buy perp 3 @ 100.5
            bob accepted b2 buy perp 3 @ 100.5
        alice a5 sell perp 3 @ 100.5   // takes three off the position: the oldest keeps its lots
            alice accepted a5 sell perp 3 @ 100.5
            alice filled a5 3 @ 100.5 leaves 0 taker fee 0.001508
            bob filled b2 3 @ 100.5 leaves 0 maker fee -0.000301
            alice canceled a4 3 reduce-only leaves 1
        state alice
            alice cash 993.008492500000 nonce 0 perp 7 worst 998.888492 fund 5206000000
        bob b3 buy perp 10 @ 101.0   // six fill; a4 would now turn the position
            bob accepted b3 buy perp 10 @ 101.0
            bob filled b3 6 @ 101.0 leaves 4 taker fee 0.003030
            alice filled a2 6 @ 101.0 leaves 0 maker fee -0.000606
        state alice
            alice cash 999.069098500000 nonce 0 perp 1 worst 999.909098 fund 7630000000
        alice a6 sell perp 2 @ 102.5 reduce
            alice rejected WouldIncrease
        alice a7 sell perp 1 @ 102.5 reduce
            alice rejected WouldIncrease
        alice replace a7 -> a8 perp 2 @ 102.6
            alice rejected UnknownOrder
        alice replace a7 -> a9 perp 1 @ 102.6
            alice rejected UnknownOrder
        bob b4 buy perp 2 @ 102.6
            bob accepted b4 buy perp 2 @ 102.6
            bob filled b4 1 @ 102.0 leaves 1 taker fee 0.000510
            alice filled a4 1 @ 102.0 leaves 0 maker fee -0.000102
        ",
    );
}

#[test]
fn a_fill_or_kill_order_does_not_count_on_reduce_only_orders() {
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
        alice a2 sell perp 5 @ 100.0 reduce
            alice accepted a2 sell perp 5 @ 100.0
        carol c1 buy perp 5 @ 100.0 fok
            carol rejected CannotFillWhole
        carol c2 buy perp 5 @ 100.0 ioc
            carol accepted c2 buy perp 5 @ 100.0
            carol filled c2 5 @ 100.0 leaves 0 taker fee 0.002500
            alice filled a2 5 @ 100.0 leaves 0 maker fee -0.000500
        ",
    );
}

#[test]
fn open_orders_and_positions_are_told_as_of_one_record() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 10 @ 99.0 cod
            alice accepted a1 buy perp 10 @ 99.0
        alice a2 sell call 5 @ 7.00
            alice accepted a2 sell call 5 @ 7.00
        bob b1 sell perp 4 @ 99.0
            bob accepted b1 sell perp 4 @ 99.0
            bob filled b1 4 @ 99.0 leaves 0 taker fee 0.001980
            alice filled a1 4 @ 99.0 leaves 6 maker fee -0.000396
        bob b2 buy call 5 @ 7.00
            bob accepted b2 buy call 5 @ 7.00
            bob filled b2 5 @ 7.00 leaves 0 taker fee 0.000175
            alice filled a2 5 @ 7.00 leaves 0 maker fee -0.000035
        alice a3 buy put 1 @ 5.00
            alice accepted a3 buy put 1 @ 5.00
        alice open-orders
            alice open a1 buy perp 6 @ 99.0 filled 4
            alice open a3 buy put 1 @ 5.00 filled 0
            alice open orders 2
        alice open-orders put
            alice open a3 buy put 1 @ 5.00 filled 0
            alice open orders 1
        alice open-orders call
            alice open orders 0
        alice positions
            alice position perp 4 mark 1.000000
            alice position call -5 mark 0.068539
            alice account cash 996.390431 equity 1000.047736 worst 998.731666
        bob positions
            bob position perp -4 mark 1.000000
            bob position call 5 mark 0.068539
            bob account cash 1003.607845 equity 999.950540 worst 999.799065
        bob open-orders by alice
            bob rejected UnknownAccount to alice
        ",
    );
}
