//! Rules of market makers as text: mass quotes, protection groups, mass cancels, kill switch, dead-man timer.
//! Each rule and its source venue: `matcher/RULES.md`. Numbers as in `engine_scenarios.rs`.

mod common;

use common::script::check;

#[test]
fn a_mass_quote_takes_the_place_of_the_one_before() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice quote q1 perp 5@99.0/6@101.0 call 3@6.00/3@8.00
            feed add ? buy perp 5 @ 99.0
            feed add ? sell perp 6 @ 101.0
            alice quote perp bid accepted ask accepted
            feed add ? buy call 3 @ 6.00
            feed add ? sell call 3 @ 8.00
            alice quote call bid accepted ask accepted
            alice quoted 2 refused 0
        alice quote q2 perp 5@99.0/4@101.0   // the bid is kept, the ask lowered: both keep their places
            feed reduce q1 to 4
            alice quote perp bid kept ask reduced
            alice quoted 1 refused 0
        alice quote q3 perp 7@99.0/4@101.5 call -/0   // more lots and another price lose them
            feed delete q2
            feed delete q2
            feed add ? buy perp 7 @ 99.0
            feed add ? sell perp 4 @ 101.5
            alice quote perp bid accepted ask accepted
            feed delete q1
            alice quote call bid - ask withdrawn
            alice quoted 2 refused 0
        bob b1 sell perp 2 @ 99.0
            bob accepted b1 sell perp 2 @ 99.0
            bob filled b1 2 @ 99.0 leaves 0 taker fee 0.000990
            alice filled q3 2 @ 99.0 leaves 5 maker fee -0.000198
            feed trade q3 2 @ 99.0 leaves 5
        alice quote q4 perp 7@99.0/-   // it is five now: seven again goes to the end
            feed delete q3
            feed add ? buy perp 7 @ 99.0
            alice quote perp bid accepted ask -
            alice quoted 1 refused 0
        alice quote q5 perp 0/0 call 0/0   // withdraws; what is not there is withdrawn too
            feed delete q4
            feed delete q4
            alice quote perp bid withdrawn ask withdrawn
            feed delete q3
            alice quote call bid withdrawn ask withdrawn
            alice quoted 2 refused 0
        alice open-orders
            alice open orders 0
        ",
    );
}

#[test]
fn a_bad_entry_refuses_the_whole_mass_quote_and_changes_nothing() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        table
        alice quote q1 perp 5@99.0/6@101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        alice quote q2 perp 5@99.1/6@101.1 call 0@0.0/5@7.005
            alice rejected PriceOffTick
        alice quote q3 perp 5@99.1/6@101.1 perp 5@99.2/6@101.1
            alice rejected BadEntries
        alice quote q4 perp 5@99.1/6@99.1
            alice rejected BadEntries
        alice quote q5 perp 10001@99.1/-
            alice rejected QuantityOutOfRange
        alice open-orders
            alice open q1 buy perp 5 @ 99.0 filled 0
            alice open q1 sell perp 6 @ 101.0 filled 0
            alice open orders 2
        ",
    );
}

#[test]
fn a_side_that_the_engine_refuses_takes_its_old_quote_with_it() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 10
            bob deposited 10.000000 number 1 cash 10.000000
        table
        alice quote q1 perp 5@99.0/6@101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        alice quote q2 perp 5@105.1/6@106.0   // the bid is above the collar
            alice quote perp bid PriceOutOfCollar ask accepted
            alice quoted 1 refused 1
        alice quote q3 perp 5@99.0/6@101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        bob b1 buy perp 1 @ 100.0
            bob accepted b1 buy perp 1 @ 100.0
        alice quote q4 perp 5@99.0/6@100.0 post
            alice quote perp bid accepted ask WouldTake
            alice quoted 1 refused 1
        bob quote r1 perp 900@98.0/1@102.0   // beyond bob's means
            bob quote perp bid InsufficientMargin ask accepted
            bob quoted 1 refused 1
        alice open-orders
            alice open q4 buy perp 5 @ 99.0 filled 0
            alice open orders 1
        ",
    );
}

#[test]
fn quotes_move_through_their_own_old_places() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice quote q1 perp 5@99.0/5@100.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        alice quote q2 perp 5@100.5/5@101.5   // up through its own ask
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        alice quote q3 perp 5@97.0/5@98.0   // and down through its own bid
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        bob b1 sell perp 5 @ 96.0
            bob accepted b1 sell perp 5 @ 96.0
            bob filled b1 5 @ 97.0 leaves 0 taker fee 0.002425
            alice filled q3 5 @ 97.0 leaves 0 maker fee -0.000485
        ",
    );
}

#[test]
fn a_quote_that_crosses_trades_and_what_is_left_rests() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        bob b1 sell perp 3 @ 100.0
            bob accepted b1 sell perp 3 @ 100.0
            feed add b1 sell perp 3 @ 100.0
        alice quote q1 perp 5@100.0/5@101.0
            alice filled q1 3 @ 100.0 leaves 2 taker fee 0.001500
            bob filled b1 3 @ 100.0 leaves 0 maker fee -0.000300
            feed trade b1 3 @ 100.0 leaves 0
            feed add ? buy perp 2 @ 100.0
            feed add ? sell perp 5 @ 101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        alice open-orders
            alice open q1 buy perp 2 @ 100.0 filled 3
            alice open q1 sell perp 5 @ 101.0 filled 0
            alice open orders 2
        bob b2 sell perp 2 @ 100.0
            bob accepted b2 sell perp 2 @ 100.0
            bob filled b2 2 @ 100.0 leaves 0 taker fee 0.001000
            alice filled q1 2 @ 100.0 leaves 0 maker fee -0.000200
            feed trade q1 2 @ 100.0 leaves 0
        ",
    );
}

#[test]
fn what_only_withdraws_always_passes() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        table
        alice quote q1 perp 5@99.0/5@101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        market all halt
        alice quote q2 perp 5@99.0/5@101.0   // kept as they are
            alice quote perp bid kept ask kept
            alice quoted 1 refused 0
        alice quote q3 perp 6@99.0/4@101.0
            alice quote perp bid Halted ask reduced
            alice quoted 1 refused 1
        alice quote q4 perp -/0
            alice quote perp bid - ask withdrawn
            alice quoted 1 refused 0
        alice kill
            alice locked by member canceled 0
        alice quote q5 perp 5@99.0/5@101.0
            alice rejected Locked
        alice quote q6 perp 0/0
            alice quote perp bid withdrawn ask withdrawn
            alice quoted 1 refused 0
        alice unlock
            alice unlocked by member canceled 0
        ",
    );
}

#[test]
fn a_protection_group_triggers_on_quantity_and_takes_all_its_orders_with_it() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        show feed
        alice quote q0 perp 5@99.0/5@101.0 mmp=1   // no such group yet
            alice rejected NoSuchMmpGroup
        alice mmp 1 window 10s qty 8 freeze 3s
            alice mmp 1 configured canceled 0
        alice quote q1 perp 5@99.0/5@101.0 call 5@6.00/5@8.00 mmp=1
            feed add ? buy perp 5 @ 99.0
            feed add ? sell perp 5 @ 101.0
            alice quote perp bid accepted ask accepted
            feed add ? buy call 5 @ 6.00
            feed add ? sell call 5 @ 8.00
            alice quote call bid accepted ask accepted
            alice quoted 2 refused 0
        alice a1 buy perp 2 @ 98.0 mmp=1
            alice accepted a1 buy perp 2 @ 98.0
            feed add a1 buy perp 2 @ 98.0
        alice a2 buy perp 2 @ 97.0   // not of the group
            alice accepted a2 buy perp 2 @ 97.0
            feed add a2 buy perp 2 @ 97.0
        bob b1 sell perp 4 @ 99.0   // four within the window: not yet
            bob accepted b1 sell perp 4 @ 99.0
            bob filled b1 4 @ 99.0 leaves 0 taker fee 0.001980
            alice filled q1 4 @ 99.0 leaves 1 maker fee -0.000396
            feed trade q1 4 @ 99.0 leaves 1
        bob b2 buy call 9 @ 8.00   // nine: the limit is passed by one fill at most
            bob accepted b2 buy call 9 @ 8.00
            bob filled b2 5 @ 8.00 leaves 4 taker fee 0.000200
            alice filled q1 5 @ 8.00 leaves 0 maker fee -0.000040
            feed trade q1 5 @ 8.00 leaves 0
            alice canceled a1 2 mmp
            feed delete a1
            alice canceled q1 1 mmp
            feed delete q1
            alice canceled q1 5 mmp
            feed delete q1
            alice canceled q1 5 mmp
            feed delete q1
            alice mmp 1 quantity canceled 4 for 3000 ms
            feed add b2 buy call 4 @ 8.00
        alice quote q2 perp 5@99.0/5@101.0 mmp=1
            alice rejected MmpFrozen
        wait 2s
        alice a3 buy perp 2 @ 98.0 mmp=1
            alice rejected MmpFrozen
        wait 1s
        alice quote q3 perp 5@99.0/5@101.0 mmp=1   // thawed; the fills still count
            feed add ? buy perp 5 @ 99.0
            feed add ? sell perp 5 @ 101.0
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        bob b3 sell perp 1 @ 99.0
            bob accepted b3 sell perp 1 @ 99.0
            bob filled b3 1 @ 99.0 leaves 0 taker fee 0.000495
            alice filled q3 1 @ 99.0 leaves 4 maker fee -0.000099
            feed trade q3 1 @ 99.0 leaves 4
            alice canceled q3 4 mmp
            feed delete q3
            alice canceled q3 5 mmp
            feed delete q3
            alice mmp 1 quantity canceled 2 for 3000 ms
        ",
    );
}

#[test]
fn a_window_slides() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice mmp 1 window 10s qty 6
            alice mmp 1 configured canceled 0
        alice a1 buy perp 20 @ 99.0 mmp=1
            alice accepted a1 buy perp 20 @ 99.0
        bob b1 sell perp 3 @ 99.0
            bob accepted b1 sell perp 3 @ 99.0
            bob filled b1 3 @ 99.0 leaves 0 taker fee 0.001485
            alice filled a1 3 @ 99.0 leaves 17 maker fee -0.000297
        wait 6s
        oracle
        bob b2 sell perp 2 @ 99.0
            bob accepted b2 sell perp 2 @ 99.0
            bob filled b2 2 @ 99.0 leaves 0 taker fee 0.000990
            alice filled a1 2 @ 99.0 leaves 15 maker fee -0.000198
        wait 4s
        oracle
        bob b3 sell perp 3 @ 99.0   // the first three are ten seconds old: five count
            bob accepted b3 sell perp 3 @ 99.0
            bob filled b3 3 @ 99.0 leaves 0 taker fee 0.001485
            alice filled a1 3 @ 99.0 leaves 12 maker fee -0.000297
        bob b4 sell perp 1 @ 99.0
            bob accepted b4 sell perp 1 @ 99.0
            bob filled b4 1 @ 99.0 leaves 0 taker fee 0.000495
            alice filled a1 1 @ 99.0 leaves 11 maker fee -0.000099
            alice canceled a1 11 mmp
            alice mmp 1 quantity canceled 1 until reset
        alice a2 buy perp 1 @ 99.0 mmp=1
            alice rejected MmpFrozen
        wait 1d
        oracle
        alice a3 buy perp 1 @ 99.0 mmp=1   // without a freeze time it stays frozen
            alice rejected MmpFrozen
        alice mmp-reset 1
            alice mmp 1 reset canceled 0
        alice mmp-reset 2
            alice rejected NoSuchMmpGroup
        alice a4 buy perp 1 @ 99.0 mmp=1
            alice accepted a4 buy perp 1 @ 99.0
        ",
    );
}

#[test]
fn a_protection_group_triggers_on_net_delta_and_vega() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice mmp 1 window 10s delta 0.05   // a lot of the perpetual is 0.01 of the underlying
            alice mmp 1 configured canceled 0
        alice mmp 2 window 10s vega 0.05
            alice mmp 2 configured canceled 0
        alice quote q1 perp 4@99.0/4@101.0 mmp=1
            alice quote perp bid accepted ask accepted
            alice quoted 1 refused 0
        bob b1 sell perp 4 @ 99.0
            bob accepted b1 sell perp 4 @ 99.0
            bob filled b1 4 @ 99.0 leaves 0 taker fee 0.001980
            alice filled q1 4 @ 99.0 leaves 0 maker fee -0.000396
        bob b2 buy perp 3 @ 101.0   // net 0.01
            bob accepted b2 buy perp 3 @ 101.0
            bob filled b2 3 @ 101.0 leaves 0 taker fee 0.001515
            alice filled q1 3 @ 101.0 leaves 1 maker fee -0.000303
        alice quote q2 perp 9@99.0/- mmp=1
            alice quote perp bid accepted ask -
            alice quoted 1 refused 0
        bob b3 sell perp 3 @ 99.0   // 0.04
            bob accepted b3 sell perp 3 @ 99.0
            bob filled b3 3 @ 99.0 leaves 0 taker fee 0.001485
            alice filled q2 3 @ 99.0 leaves 6 maker fee -0.000297
        bob b4 sell perp 1 @ 99.0   // 0.05
            bob accepted b4 sell perp 1 @ 99.0
            bob filled b4 1 @ 99.0 leaves 0 taker fee 0.000495
            alice filled q2 1 @ 99.0 leaves 5 maker fee -0.000099
            alice canceled q1 1 mmp
            alice canceled q2 5 mmp
            alice mmp 1 delta canceled 2 until reset
        alice a1 buy call 4 @ 7.00 mmp=2
            alice accepted a1 buy call 4 @ 7.00
        bob b5 sell call 1 @ 7.00
            bob accepted b5 sell call 1 @ 7.00
            bob filled b5 1 @ 7.00 leaves 0 taker fee 0.000035
            alice filled a1 1 @ 7.00 leaves 3 maker fee -0.000007
        bob b6 sell call 2 @ 7.00
            bob accepted b6 sell call 2 @ 7.00
            bob filled b6 2 @ 7.00 leaves 0 taker fee 0.000070
            alice filled a1 2 @ 7.00 leaves 1 maker fee -0.000014
            alice canceled a1 1 mmp
            alice mmp 2 vega canceled 1 until reset
        ",
    );
}

#[test]
fn an_aggressive_order_of_a_group_counts_and_stops_there() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        bob b1 sell perp 3 @ 100.0
            bob accepted b1 sell perp 3 @ 100.0
        bob b2 sell perp 3 @ 100.1
            bob accepted b2 sell perp 3 @ 100.1
        bob b3 sell perp 3 @ 100.2
            bob accepted b3 sell perp 3 @ 100.2
        alice mmp 1 window 10s qty 5
            alice mmp 1 configured canceled 0
        alice a1 buy perp 9 @ 100.2 mmp=1
            alice accepted a1 buy perp 9 @ 100.2
            alice filled a1 3 @ 100.0 leaves 6 taker fee 0.001500
            bob filled b1 3 @ 100.0 leaves 0 maker fee -0.000300
            alice filled a1 3 @ 100.1 leaves 3 taker fee 0.001502
            bob filled b2 3 @ 100.1 leaves 0 maker fee -0.000300
            alice mmp 1 quantity canceled 0 until reset
            alice canceled a1 3 mmp
        alice a2 buy perp 3 @ 100.2 fok
            alice accepted a2 buy perp 3 @ 100.2
            alice filled a2 3 @ 100.2 leaves 0 taker fee 0.001503
            bob filled b3 3 @ 100.2 leaves 0 maker fee -0.000300
        ",
    );
}

#[test]
fn a_fill_or_kill_order_gets_all_that_a_group_shows() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 1 cash 1000.000000
        table
        alice mmp 1 window 10s qty 2
            alice mmp 1 configured canceled 0
        alice a1 sell perp 2 @ 100.0 mmp=1
            alice accepted a1 sell perp 2 @ 100.0
        alice a2 sell perp 2 @ 100.1 mmp=1
            alice accepted a2 sell perp 2 @ 100.1
        alice a3 sell perp 2 @ 100.2 mmp=1
            alice accepted a3 sell perp 2 @ 100.2
        bob b1 buy perp 4 @ 100.1 fok
            bob accepted b1 buy perp 4 @ 100.1
            bob filled b1 2 @ 100.0 leaves 2 taker fee 0.001000
            alice filled a1 2 @ 100.0 leaves 0 maker fee -0.000200
            bob filled b1 2 @ 100.1 leaves 0 taker fee 0.001001
            alice filled a2 2 @ 100.1 leaves 0 maker fee -0.000200
            alice canceled a3 2 mmp
            alice mmp 1 quantity canceled 1 until reset
        ",
    );
}

#[test]
fn mass_cancels_have_scopes() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        table
        alice mmp 3 window 10s qty 50
            alice mmp 3 configured canceled 0
        alice quote q1 perp 1@99.0/1@101.0 call 1@6.00/1@8.00
            alice quote perp bid accepted ask accepted
            alice quote call bid accepted ask accepted
            alice quoted 2 refused 0
        alice a1 buy perp 1 @ 98.0
            alice accepted a1 buy perp 1 @ 98.0
        alice a2 buy perp 1 @ 97.0 mmp=3
            alice accepted a2 buy perp 1 @ 97.0
        alice2 x1 buy perp 1 @ 97.0
            alice2 accepted x1 buy perp 1 @ 97.0
        alice mass-cancel quotes perp
            alice canceled q1 1 mass
            alice canceled q1 1 mass
            alice mass-canceled 2
        alice mass-cancel mmp=3
            alice canceled a2 1 mass
            alice mass-canceled 1
        alice mass-cancel orders
            alice canceled a1 1 mass
            alice mass-canceled 1
        alice mass-cancel all
            alice canceled q1 1 mass
            alice canceled q1 1 mass
            alice2 canceled x1 1 mass
            alice mass-canceled 3
        ",
    );
}

#[test]
fn the_kill_switch_locks_until_it_is_undone() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        deposit bob 1000
            bob deposited 1000.000000 number 2 cash 1000.000000
        table
        bob b1 sell perp 5 @ 100.0
            bob accepted b1 sell perp 5 @ 100.0
        alice a1 buy perp 5 @ 100.0
            alice accepted a1 buy perp 5 @ 100.0
            alice filled a1 5 @ 100.0 leaves 0 taker fee 0.002500
            bob filled b1 5 @ 100.0 leaves 0 maker fee -0.000500
        alice a2 buy perp 5 @ 99.0
            alice accepted a2 buy perp 5 @ 99.0
        alice2 x1 buy perp 5 @ 99.0
            alice2 accepted x1 buy perp 5 @ 99.0
        alice kill   // this account only
            alice canceled a2 5 kill switch
            alice locked by member canceled 1
        alice a3 buy perp 1 @ 98.0
            alice rejected Locked
        alice a4 sell perp 5 @ 99.0 reduce   // what reduces passes
            alice accepted a4 sell perp 5 @ 99.0
            alice filled a4 5 @ 99.0 leaves 0 taker fee 0.002475
            alice2 filled x1 5 @ 99.0 leaves 0 maker fee -0.000495
        alice positions
            alice account cash 999.945025 equity 999.945025 worst 999.945025 locked
        alice replace a4 -> a5 perp 4 @ 99.5
            alice rejected UnknownOrder
        alice cancel a5 perp
            alice rejected UnknownOrder
        alice2 x2 buy perp 1 @ 98.0
            alice2 accepted x2 buy perp 1 @ 98.0
        alice kill all
            alice2 canceled x2 1 kill switch
            alice locked by member canceled 1
        alice2 x3 buy perp 1 @ 98.0
            alice2 rejected Locked
        alice unlock all
            alice unlocked by member canceled 0
        alice a6 buy perp 1 @ 98.0
            alice accepted a6 buy perp 1 @ 98.0
        venue lock alice
            alice canceled a6 1 kill switch
            alice locked by venue canceled 1
        alice a7 buy perp 1 @ 98.0
            alice rejected Locked
        alice unlock   // it is the venue's
            alice rejected LockedByVenue
        venue unlock alice
            alice unlocked by venue canceled 0
        alice a8 buy perp 1 @ 98.0
            alice accepted a8 buy perp 1 @ 98.0
        venue cancel perp
            alice canceled a8 1 operator
        ",
    );
}

#[test]
fn the_dead_man_timer_fires_unless_it_is_armed_again() {
    check(
        "
        deposit alice 1000
            alice deposited 1000.000000 number 0 cash 1000.000000
        deposit alice2 1000
            alice2 deposited 1000.000000 number 1 cash 1000.000000
        table
        alice a1 buy perp 5 @ 99.0
            alice accepted a1 buy perp 5 @ 99.0
        alice2 x1 buy call 5 @ 6.00
            alice2 accepted x1 buy call 5 @ 6.00
        alice dead-man 5s
            alice dead man armed canceled 0
        wait 4s
        timer   // a second early
        alice dead-man 5s
            alice dead man armed canceled 0
        wait 4s
        timer   // it was put off
        wait 1s
        timer   // and fires for all accounts
            alice canceled a1 5 dead man
            alice2 canceled x1 5 dead man
            alice dead man fired canceled 2
        wait 5s
        timer   // once
        alice a2 buy perp 5 @ 99.0
            alice rejected OracleStale
        oracle
        alice a3 buy perp 5 @ 99.0
            alice accepted a3 buy perp 5 @ 99.0
        alice dead-man 5s
            alice dead man armed canceled 0
        alice dead-man off
            alice dead man disarmed canceled 0
        wait 9s
        timer
        ",
    );
}
