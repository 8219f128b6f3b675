//! The way out after a freeze: valued at the stored marks, once an account, shared where the vault is short.

use alloy::primitives::U256;
use l1::{RequestKind, Settlement, Withdrawal};

use crate::book::{Book, Column};
use crate::world::{HOUR_S, ISettlement, World, assert_error, reverted};

const PICO: i128 = 1_000_000;

/// Three owners with positions, frozen because the first was not served.
struct Frozen {
    world: World,
    users: Vec<Settlement>,
    book: Book,
}

/// `cash` in micro-units and lots in instruments 0 and 1, for accounts 1, 2 and 3; deposits are 1,000 each.
async fn frozen(world: World, cash: [i128; 3], lots: [[i128; 2]; 3], fund: i128) -> Frozen {
    let mut users = Vec::new();
    let mut rows = Vec::new();
    for key in 1..=3 {
        let (user, _, deposits) = world.depositor(key, &[1_000]).await;
        users.push(user);
        rows.extend(deposits);
    }
    let mut book = Book::default();
    book.list(&[
        Column {
            mark: 60,
            spread: 13,
            funding: 10,
        },
        Column {
            mark: -7,
            spread: 0,
            funding: -27,
        },
    ]);
    for (i, user) in users.iter().enumerate() {
        let owner = user.client().address();
        book.set(i as u32 + 1, owner, cash[i] * PICO, &lots[i]);
    }
    book.fund_pico = fund * PICO;
    world.commit_book(&book, &rows, &[]).await;
    let kind = RequestKind::Withdrawal(900);
    users[0].request(1, kind).await.unwrap();
    world.pass(2 * HOUR_S).await;
    users[1].freeze(1).await.unwrap();
    Frozen { world, users, book }
}

async fn paid(user: &Settlement) -> u64 {
    let me = user.client().address();
    let owed = user.pending(me).await.unwrap();
    if owed.is_zero() {
        return 0;
    }
    assert_eq!(user.claim(me).await.unwrap(), owed);
    assert_eq!(user.token_balance(me).await.unwrap(), owed);
    owed.to()
}

#[tokio::test]
async fn everyone_leaves_with_cash_and_positions_at_the_mark_less_funding() {
    everyone_leaves(World::short().await).await;
}

/// Also run on anvil.
pub(crate) async fn everyone_leaves(world: World) {
    // A lot of instrument 0 is worth 60 - 10 = 50, of instrument 1 -7 + 27 = 20.
    let lots = [[4, -3], [-4, 0], [0, 3]];
    let f = frozen(world, [1_000, 1_100, 880], lots, 20).await;
    let (u, book) = (&f.users, &f.book);
    let closed = reverted(u[0].escape(1, &book.proof(1)).await).1;
    assert_error(&closed, ISettlement::ExitNotOpen {});
    let mut table = book.table.clone();
    table[0] += U256::from(1);
    let wrong = u[2].open_exit(book.parts(), &table).await;
    assert_error(&reverted(wrong).1, ISettlement::WrongTable {});
    let mut parts = book.parts();
    parts.tree += U256::from(1);
    let wrong = u[2].open_exit(parts, &book.table).await;
    assert_error(&reverted(wrong).1, ISettlement::NotTheRoot {});
    let ends = u[2].open_exit(book.parts(), &book.table).await.unwrap();
    let again = u[2].open_exit(book.parts(), &book.table).await;
    assert_error(&reverted(again).1, ISettlement::ExitIsOpen {});

    let mut richer = book.proof(1);
    richer.leaf[2] += U256::from(1);
    let wrong = reverted(u[0].escape(1, &richer).await).1;
    assert_error(&wrong, ISettlement::NotInState { account: 1 });
    let wrong = reverted(u[0].escape(1, &book.proof(2)).await).1;
    assert_error(&wrong, ISettlement::NotInState { account: 1 });
    let nobody = reverted(u[0].escape(9, &book.proof(9)).await).1;
    assert_error(&nobody, ISettlement::NothingToEscape { account: 9 });

    // Anyone may bring any leaf: the claim is its owner's.
    assert_eq!(u[2].escape(1, &book.proof(1)).await.unwrap(), "1140000000");
    assert_eq!(u[1].escape(2, &book.proof(2)).await.unwrap(), "900000000");
    let twice = reverted(u[0].escape(1, &book.proof(1)).await).1;
    assert_error(&twice, ISettlement::AlreadyEscaped { account: 1 });
    let early = reverted(u[0].settle_escape(1).await).1;
    assert_error(&early, ISettlement::TooEarly { time: ends });
    f.world.pass(2 * HOUR_S).await;
    assert_eq!(u[1].settle_escape(1).await.unwrap(), U256::from(1_140));
    assert_eq!(u[1].settle_escape(2).await.unwrap(), U256::from(900));
    let twice = reverted(u[0].settle_escape(1).await).1;
    assert_error(&twice, ISettlement::NothingToEscape { account: 1 });
    // Late, and paid at once: 880 + 60 = 940.
    u[2].escape(3, &book.proof(3)).await.unwrap();
    assert_eq!(paid(&u[0]).await, 1_140);
    assert_eq!(paid(&u[1]).await, 900);
    assert_eq!(paid(&u[2]).await, 940);
    let status = u[0].status().await.unwrap();
    assert_eq!(status.collateral_micro, U256::from(20), "the fund's");
    assert_eq!(status.held_for_state_micro, U256::from(20));
}

#[tokio::test]
async fn the_fund_takes_the_first_loss_and_the_rest_is_shared() {
    // Account 3 lacks 500; the fund has 200; 3,300 are owed out of 3,000.
    let f = frozen(World::short().await, [2_000, 1_300, -500], [[0; 2]; 3], 200).await;
    let (u, book) = (&f.users, &f.book);
    u[0].open_exit(book.parts(), &book.table).await.unwrap();
    assert_eq!(u[0].escape(3, &book.proof(3)).await.unwrap(), "-500000000");
    u[0].escape(1, &book.proof(1)).await.unwrap();
    f.world.pass(2 * HOUR_S).await;
    let nothing = reverted(u[2].settle_escape(3).await).1;
    assert_error(&nothing, ISettlement::NothingToEscape { account: 3 });
    // Account 2 comes late, and its share was kept.
    assert_eq!(u[0].settle_escape(1).await.unwrap(), U256::from(1_818));
    u[1].escape(2, &book.proof(2)).await.unwrap();
    let totals = u[0].exit_totals().await.unwrap();
    assert_eq!(totals.shortfall_micro, U256::from(500));
    assert_eq!(totals.held_micro, U256::from(3_000));
    assert_eq!(totals.total_micro, U256::from(3_300));
    assert_eq!(totals.paid_micro, U256::from(1_818 + 1_181));
    assert_eq!(paid(&u[1]).await, 1_181);
}

#[tokio::test]
async fn where_nobody_brings_the_losers_the_claims_brought_are_still_shared_evenly() {
    let f = frozen(World::short().await, [2_000, 1_300, -500], [[0; 2]; 3], 200).await;
    let (u, book) = (&f.users, &f.book);
    u[0].open_exit(book.parts(), &book.table).await.unwrap();
    for account in [1, 2] {
        u[0].escape(account, &book.proof(account)).await.unwrap();
    }
    f.world.pass(2 * HOUR_S).await;
    assert_eq!(u[0].settle_escape(2).await.unwrap(), U256::from(1_181));
    assert_eq!(u[0].settle_escape(1).await.unwrap(), U256::from(1_818));
    // A loser that comes late changes nothing.
    u[0].escape(3, &book.proof(3)).await.unwrap();
    assert_eq!(
        u[0].status().await.unwrap().held_for_state_micro,
        U256::from(1)
    );
}

#[tokio::test]
async fn a_mark_out_of_all_bounds_stops_nobody() {
    let world = World::short().await;
    let (alice, account, rows) = world.depositor(1, &[1_000]).await;
    let mut book = Book::default();
    book.list(&[Column {
        mark: i128::MAX,
        spread: 0,
        funding: 0,
    }]);
    book.set(account, alice.client().address(), 1_000 * PICO, &[1]);
    world.commit_book(&book, &rows, &[]).await;
    alice.request(account, RequestKind::Close).await.unwrap();
    world.pass(2 * HOUR_S).await;
    alice.freeze(1).await.unwrap();
    alice.open_exit(book.parts(), &book.table).await.unwrap();
    let claim = alice.escape(account, &book.proof(account)).await.unwrap();
    assert_eq!(claim, ((1_000 + (1i128 << 30)) * PICO).to_string());
    world.pass(2 * HOUR_S).await;
    // There is no more than there is.
    assert_eq!(
        alice.settle_escape(account).await.unwrap(),
        U256::from(1_000)
    );
}

#[tokio::test]
async fn deposits_that_no_batch_consumed_come_back_late_or_frozen() {
    let world = World::short().await;
    let (alice, _, rows) = world.depositor(1, &[100, 200, 300]).await;
    let (bob, _, more) = world.depositor(2, &[400]).await;
    let early = reverted(alice.reclaim(0).await).1;
    assert!(matches!(
        alloy::sol_types::SolError::abi_decode(&early),
        Ok(ISettlement::TooEarly { .. })
    ));
    world.pass(2 * HOUR_S).await;
    let caller = bob.client().address();
    let account = 1;
    let wrong = ISettlement::NotOwner { account, caller };
    assert_error(&reverted(bob.reclaim(1).await).1, wrong);
    assert_eq!(alice.reclaim(1).await.unwrap(), 200);
    let twice = reverted(alice.reclaim(1).await).1;
    assert_error(&twice, ISettlement::DepositNotQueued { index: 1 });
    // Whoever follows the queue passes over the row that is gone, and so does a batch.
    let mut watch = alice.watch_deposits(0, 0);
    let mut told = Vec::new();
    while watch.next_index() < 3 {
        told.extend(watch.poll(&alice).await.unwrap());
    }
    let told: Vec<_> = told.iter().map(|d| (d.index, d.amount_micro)).collect();
    assert_eq!(told, [(0, 100), (1, 300), (2, 400)]);
    let batch = world.next_batch(&[rows[0], rows[2]], &[]).await;
    world.operator.commit_batch(&batch).await.unwrap();
    let status = alice.status().await.unwrap();
    assert_eq!(status.deposits_consumed, 3);
    assert_eq!(status.held_for_state_micro, U256::from(400));
    let consumed = reverted(alice.reclaim(2).await).1;
    assert_error(&consumed, ISettlement::DepositNotQueued { index: 2 });
    // Frozen: anyone sends Bob's deposit back to Bob.
    alice.request(account, RequestKind::Close).await.unwrap();
    world.pass(2 * HOUR_S).await;
    alice.freeze(1).await.unwrap();
    assert_eq!(alice.reclaim(more[0].index).await.unwrap(), 400);
    assert_eq!(bob.claim(caller).await.unwrap(), U256::from(400));
    assert_eq!(paid(&alice).await, 200);
}

#[tokio::test]
async fn every_way_out_is_open_while_paused_and_the_ways_in_are_shut() {
    let world = World::short().await;
    let (alice, account, rows) = world.depositor(1, &[1_000, 50]).await;
    let owner = alice.client().address();
    let mut book = Book::default();
    book.list(&[]);
    book.set(account, owner, 900 * PICO, &[]);
    let row = Withdrawal {
        account,
        owner,
        amount_micro: 100,
    };
    world.commit_book(&book, &rows[..1], &[row]).await;
    let next = world.next_batch(&[], &[]).await;
    world.send(0, &ISettlement::pauseCall {}).await.unwrap();
    let paused = |data: &alloy::primitives::Bytes| {
        assert_eq!(
            data.to_vec(),
            alloy::primitives::keccak256("EnforcedPause()")[..4]
        );
    };
    paused(&reverted(alice.open_account().await).1);
    paused(&reverted(alice.deposit(account, 1).await).1);
    paused(&world.refusal(&next).await);

    assert_eq!(alice.claim(owner).await.unwrap(), U256::from(100));
    let close = alice.request(account, RequestKind::Close).await.unwrap();
    let operator = &world.operator;
    let leaf = book.proof(account);
    let answer = operator.answer_request(close.id, book.parts(), &leaf, &[]);
    answer.await.unwrap();
    let kind = RequestKind::Withdrawal(900);
    let id = alice.request(account, kind).await.unwrap().id;
    world.pass(2 * HOUR_S).await;
    assert_eq!(alice.reclaim(1).await.unwrap(), 50);
    alice.freeze(id).await.unwrap();
    alice.open_exit(book.parts(), &book.table).await.unwrap();
    alice.escape(account, &book.proof(account)).await.unwrap();
    world.pass(2 * HOUR_S).await;
    alice.settle_escape(account).await.unwrap();
    assert_eq!(alice.claim(owner).await.unwrap(), U256::from(950));
}
