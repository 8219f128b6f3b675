//! Seeded random walks over all doors, with what must hold after every step.

use alloy::primitives::U256;
use l1::{Deposit, RequestKind, Settlement, Withdrawal};

use crate::book::Book;
use crate::world::{HOUR_S, ISettlement, World};

const PICO: i128 = 1_000_000;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What the contract should say, kept apart from it.
struct Model {
    world: World,
    users: Vec<Settlement>,
    queue: Vec<Deposit>,
    gone: Vec<u64>,
    cash: [u64; 3],
    consumed: u64,
    batch_no: u64,
    root: U256,
}

impl Model {
    async fn new() -> Self {
        let world = World::short().await;
        let mut users = Vec::new();
        for key in 1..=3 {
            let user = world.user(key).await;
            user.open_account().await.unwrap();
            let me = user.client().address();
            user.mint_test_token(me, 1 << 40).await.unwrap();
            user.approve(1 << 40).await.unwrap();
            users.push(user);
        }
        let root = world.operator.status().await.unwrap().root;
        Self {
            world,
            users,
            queue: Vec::new(),
            gone: Vec::new(),
            cash: [0; 3],
            consumed: 0,
            batch_no: 0,
            root,
        }
    }

    fn book(&self) -> Book {
        let mut book = Book::default();
        book.list(&[]);
        for (i, user) in self.users.iter().enumerate() {
            if self.cash[i] > 0 {
                let owner = user.client().address();
                book.set(i as u32 + 1, owner, i128::from(self.cash[i]) * PICO, &[]);
            }
        }
        book
    }

    async fn commit(&mut self, rng: &mut Rng) {
        let most = rng.below(4) as usize;
        let waiting = self.queue.iter().filter(|d| d.index >= self.consumed);
        let live = waiting.filter(|d| !self.gone.contains(&d.index));
        let rows: Vec<Deposit> = live.take(most).copied().collect();
        for row in &rows {
            self.cash[row.account as usize - 1] += row.amount_micro;
        }
        let who = rng.below(3) as usize;
        let mut grants = Vec::new();
        if self.cash[who] > 1 {
            let amount_micro = 1 + rng.below(self.cash[who] - 1);
            self.cash[who] -= amount_micro;
            grants.push(Withdrawal {
                account: who as u32 + 1,
                owner: self.users[who].client().address(),
                amount_micro,
            });
        }
        let book = self.book();
        self.world.commit_book(&book, &rows, &grants).await;
        if let Some(last) = rows.last() {
            self.consumed = last.index + 1;
        }
        self.batch_no += 1;
        self.root = book.root(self.batch_no);
    }

    async fn step(&mut self, rng: &mut Rng) {
        let who = rng.below(3) as usize;
        let user = self.users[who].clone();
        let (me, account) = (user.client().address(), who as u32 + 1);
        match rng.below(7) {
            0 | 1 => {
                let deposit = user.deposit(account, 1 + rng.below(1_000)).await;
                self.queue.push(deposit.unwrap());
            }
            2 | 3 => self.commit(rng).await,
            4 => {
                let owed = user.pending(me).await.unwrap();
                assert_eq!(user.claim(me).await.is_ok(), !owed.is_zero());
            }
            5 => {
                // Refused if one stands already; served or shown to be too much at the end.
                let _ = user
                    .request(account, RequestKind::Withdrawal(1 << 40))
                    .await;
            }
            _ => {
                self.world.pass(HOUR_S / 4).await;
                let index = rng.below(self.queue.len() as u64 + 1);
                if user.reclaim(index).await.is_ok() {
                    assert_eq!(self.queue[index as usize].account, account);
                    assert!(index >= self.consumed && !self.gone.contains(&index));
                    self.gone.push(index);
                }
            }
        }
    }

    async fn check(&self, seed: u64) {
        let status = self.world.operator.status().await.unwrap();
        let held: u64 = self.cash.iter().sum();
        let waiting = self.queue.iter().filter(|d| d.index >= self.consumed);
        let live = waiting.filter(|d| !self.gone.contains(&d.index));
        let queued: u64 = live.map(|d| d.amount_micro).sum();
        assert_eq!((status.batch_no, status.root), (self.batch_no, self.root));
        assert_eq!(status.deposits_consumed, self.consumed, "seed {seed}");
        assert_eq!(status.deposits, self.queue.len() as u64, "seed {seed}");
        assert_eq!(status.held_for_state_micro, U256::from(held), "seed {seed}");
        let mut pending = U256::ZERO;
        for user in &self.users {
            pending += user.pending(user.client().address()).await.unwrap();
        }
        assert_eq!(status.pending_micro, pending, "seed {seed}");
        let owed = pending + U256::from(held + queued);
        assert_eq!(status.collateral_micro, owed, "seed {seed}");
    }

    /// The operator vanishes: whoever is not served freezes, and all leave with what is theirs.
    async fn leave(&mut self, seed: u64) {
        let user = self.users[0].clone();
        if user.open_requests().await.unwrap().is_empty() {
            user.request(1, RequestKind::Close).await.unwrap();
        }
        let id = user.open_requests().await.unwrap()[0].id;
        self.world.pass(2 * HOUR_S).await;
        user.freeze(id).await.unwrap();
        for deposit in self.queue.clone() {
            let is_there = deposit.index >= self.consumed && !self.gone.contains(&deposit.index);
            assert_eq!(user.reclaim(deposit.index).await.is_ok(), is_there);
        }
        if self.batch_no > 0 {
            let book = self.book();
            user.open_exit(book.parts(), &book.table).await.unwrap();
            for account in book.leaves.keys() {
                user.escape(*account, &book.proof(*account)).await.unwrap();
            }
            self.world.pass(2 * HOUR_S).await;
            for account in book.leaves.keys() {
                let paid = user.settle_escape(*account).await.unwrap();
                let due = self.cash[*account as usize - 1];
                assert_eq!(paid, U256::from(due), "seed {seed}");
            }
        }
        for user in &self.users {
            let me = user.client().address();
            if !user.pending(me).await.unwrap().is_zero() {
                user.claim(me).await.unwrap();
            }
            assert_eq!(
                user.token_balance(me).await.unwrap(),
                U256::from(1u64 << 40)
            );
        }
        let status = user.status().await.unwrap();
        assert_eq!(status.collateral_micro, U256::ZERO, "seed {seed}");
        let frozen = ISettlement::frozenCall {};
        assert!(
            self.world
                .call(user.client().address(), &frozen)
                .await
                .unwrap()
        );
    }
}

/// `L1_SEEDS` says how many, `L1_SEED` which is the first.
#[tokio::test]
async fn random_walks_keep_every_unit_accounted_for_and_end_with_everyone_out() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let first: u64 = number("L1_SEED").unwrap_or(1);
    let walks: u64 = number("L1_SEEDS").unwrap_or(4);
    for seed in first..first + walks {
        println!("walk {seed}: L1_SEED={seed} L1_SEEDS=1 cargo test -p l1 random_walks");
        let mut rng = Rng((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut model = Model::new().await;
        for _ in 0..25 {
            model.step(&mut rng).await;
            model.check(seed).await;
        }
        model.leave(seed).await;
    }
}
