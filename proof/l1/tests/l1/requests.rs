//! Forced requests, their answers, and the freeze.

use alloy::primitives::{Address, U256};
use l1::{RequestKind, Settlement, Withdrawal};

use crate::book::{Book, Column};
use crate::world::{HOUR_S, ISettlement, SHORT, World, assert_error, reverted};

const MICRO: i128 = 1_000_000;

async fn request(user: &Settlement, account: u32, amount: u64) -> l1::Request {
    let kind = RequestKind::Withdrawal(amount);
    user.request(account, kind).await.unwrap()
}

#[tokio::test]
async fn a_forced_withdrawal_is_answered_by_the_batches_that_pay_it() {
    let world = World::short().await;
    let (alice, account) = world.funded(1, 1_000).await;
    let owner = alice.client().address();
    let made = request(&alice, account, 300).await;
    assert_eq!((made.id, made.owner, made.is_open), (1, owner, true));
    let row = |amount_micro| Withdrawal {
        account,
        owner,
        amount_micro,
    };
    let batch = world.next_batch(&[], &[row(100), row(50)]).await;
    world.operator.commit_batch(&batch).await.unwrap();
    let open = alice.open_requests().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].kind, RequestKind::Withdrawal(150));
    let batch = world.next_batch(&[], &[row(160)]).await;
    world.operator.commit_batch(&batch).await.unwrap();
    assert!(alice.open_requests().await.unwrap().is_empty());
    assert!(!alice.request_at(1).await.unwrap().is_open);
    // Past its deadline an answered request freezes nothing, and a new one may be made.
    world.pass(2 * HOUR_S).await;
    let wrong = ISettlement::RequestNotOpen { id: 1 };
    assert_error(&reverted(alice.freeze(1).await).1, wrong);
    assert_eq!(request(&alice, account, 1).await.id, 2);
}

#[tokio::test]
async fn a_request_is_the_owners_costs_the_fee_and_is_one_at_a_time() {
    let world = World::short().await;
    let (alice, account) = world.funded(1, 1_000).await;
    let bob = world.user(2).await;
    let caller = bob.client().address();
    let kind = RequestKind::Withdrawal(5);
    let wrong = ISettlement::NotOwner { account, caller };
    assert_error(&reverted(bob.request(account, kind).await).1, wrong);
    let call = ISettlement::requestCloseCall { account };
    let owner = alice.client().address();
    let wrong = ISettlement::WrongFee {
        fee: SHORT.request_fee_wei,
        given: U256::ZERO,
    };
    assert_error(&world.call(owner, &call).await.unwrap_err(), wrong);
    for amount in [0, 1 << 62] {
        let kind = RequestKind::Withdrawal(amount);
        let wrong = ISettlement::AmountOutOfRange {
            amount: U256::from(amount),
        };
        assert_error(&reverted(alice.request(account, kind).await).1, wrong);
    }
    request(&alice, account, 5).await;
    let wrong = ISettlement::RequestStands { id: 1 };
    assert_error(&reverted(alice.request(account, kind).await).1, wrong);
    alice.request(account, RequestKind::Close).await.unwrap();
    // Eight more fill the queue, and no more fit.
    let close = RequestKind::Close;
    for _ in 0..8 {
        let account = bob.open_account().await.unwrap();
        bob.request(account, close).await.unwrap();
    }
    let more = bob.open_account().await.unwrap();
    let wrong = ISettlement::TooManyRequests {
        most: U256::from(10),
    };
    assert_error(&reverted(bob.request(more, close).await).1, wrong);
    // The fees go to the admin, and to nobody else.
    let to = Address::repeat_byte(0x77);
    let call = ISettlement::collectFeesCall { to };
    assert!(world.send(2, &call).await.is_err());
    world.send(0, &call).await.unwrap();
    use alloy::providers::Provider;
    let got = crate::world::provider(&world.url).get_balance(to).await;
    assert_eq!(got.unwrap(), U256::from(10_000));
}

/// Alice, account 1, holds 1,000 units and a long position of 10 lots; Bob the other side.
async fn with_positions(world: &World) -> (Settlement, Settlement, Book) {
    let (alice, a, first) = world.depositor(1, &[1_000_000_000]).await;
    let (bob, b, second) = world.depositor(2, &[2_000_000_000]).await;
    let mut book = Book::default();
    book.list(&[Column {
        mark: 50_000_000,
        spread: 13_000_000,
        funding: 2_000_000,
    }]);
    book.set(a, alice.client().address(), 1_000_000_000 * MICRO, &[10]);
    book.set(b, bob.client().address(), 2_000_000_000 * MICRO, &[-10]);
    world.commit_book(&book, &[first[0], second[0]], &[]).await;
    (alice, bob, book)
}

#[tokio::test]
async fn a_withdrawal_is_refused_by_proof_only_if_the_margin_does_not_let_it_go() {
    let world = World::short().await;
    let (alice, bob, book) = with_positions(&world).await;
    // Worst scenario of the long: 1,000 + 10 * (50 - 13 - 2) = 1,350. Of the short: 2,000 - 10 * (50 + 13 - 2) = 1,390.
    for (user, account, free) in [(&alice, 1, 1_350_000_000), (&bob, 2, 1_390_000_000)] {
        let stands = request(user, account, free).await;
        let (state, proof) = (book.parts(), book.proof(account));
        let answer = async |id, state, proof: &l1::LeafProof, table: &[U256]| {
            world.operator.answer_request(id, state, proof, table).await
        };
        let id = stands.id;
        let data = reverted(answer(id, state, &proof, &book.table).await).1;
        assert_error(&data, ISettlement::RequestStands { id });
        // Another leaf, another account's leaf, another state, another table, no table.
        let mut richer = proof;
        richer.leaf[2] += U256::from(1);
        let data = reverted(answer(id, state, &richer, &book.table).await).1;
        assert_error(&data, ISettlement::NotInState { account });
        let others = book.proof(3 - account);
        let data = reverted(answer(id, state, &others, &book.table).await).1;
        assert_error(&data, ISettlement::NotInState { account });
        let mut poorer = state;
        poorer.fund += U256::from(1);
        let data = reverted(answer(id, poorer, &proof, &book.table).await).1;
        assert_error(&data, ISettlement::NotTheRoot {});
        let mut table = book.table.clone();
        table[1] += U256::from(1);
        for table in [&table[..], &[], &book.table[..80]] {
            let data = reverted(answer(id, state, &proof, table).await).1;
            assert_error(&data, ISettlement::WrongTable {});
        }
        // Served, and then asked for one unit too much.
        let row = Withdrawal {
            account,
            owner: user.client().address(),
            amount_micro: free,
        };
        world.commit_book(&book, &[], &[row]).await;
        let greedy = request(user, account, free + 1).await;
        answer(greedy.id, state, &proof, &book.table).await.unwrap();
        assert!(!user.request_at(greedy.id).await.unwrap().is_open);
    }
}

#[tokio::test]
async fn a_close_stands_while_positions_are_open_and_an_untouched_account_has_nothing() {
    let world = World::short().await;
    let (alice, _, mut book) = with_positions(&world).await;
    let id = alice.request(1, RequestKind::Close).await.unwrap().id;
    let operator = &world.operator;
    let leaf = book.proof(1);
    let answer = operator.answer_request(id, book.parts(), &leaf, &[]);
    assert_error(&reverted(answer.await).1, ISettlement::RequestStands { id });
    let owner = alice.client().address();
    book.set(1, owner, 1_490_000_000 * MICRO, &[0]);
    world.commit_book(&book, &[], &[]).await;
    let leaf = book.proof(1);
    let answer = operator.answer_request(id, book.parts(), &leaf, &[]);
    answer.await.unwrap();
    assert!(alice.open_requests().await.unwrap().is_empty());
    // Opened, deposited into, not consumed yet: no owner in the state.
    let (carol, account, _) = world.depositor(3, &[77]).await;
    let id = request(&carol, account, 77).await.id;
    let leaf = book.proof(account);
    let answer = operator.answer_request(id, book.parts(), &leaf, &[]);
    answer.await.unwrap();
}

#[tokio::test]
async fn a_request_past_its_deadline_lets_anyone_freeze_and_nothing_thaws() {
    let world = World::short().await;
    let (alice, account) = world.funded(1, 1_000).await;
    let made = request(&alice, account, 300).await;
    let bob = world.user(2).await;
    let wrong = ISettlement::TooEarly {
        time: made.deadline_s,
    };
    assert_error(&reverted(bob.freeze(1).await).1, wrong);
    for id in [0, 2] {
        let wrong = ISettlement::RequestNotOpen { id };
        assert_error(&reverted(bob.freeze(id).await).1, wrong);
    }
    world.pass(2 * HOUR_S).await;
    // A late answer still counts while nobody has frozen; here nobody answers.
    bob.freeze(1).await.unwrap();
    assert!(bob.frozen().await.unwrap());
    let frozen = || ISettlement::Frozen {};
    assert_error(&reverted(bob.freeze(1).await).1, frozen());
    assert_error(&reverted(alice.open_account().await).1, frozen());
    assert_error(&reverted(alice.deposit(account, 5).await).1, frozen());
    let close = alice.request(account, RequestKind::Close).await;
    assert_error(&reverted(close).1, frozen());
    let row = Withdrawal {
        account,
        owner: alice.client().address(),
        amount_micro: 300,
    };
    let batch = world.next_batch(&[], &[row]).await;
    assert_error(&world.refusal(&batch).await, frozen());
    world.send(0, &ISettlement::pauseCall {}).await.unwrap();
    world.send(0, &ISettlement::unpauseCall {}).await.unwrap();
    assert!(bob.frozen().await.unwrap());
}
