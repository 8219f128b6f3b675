//! EXIT.md, followed to the letter by strangers: the commands of that page against a real chain, from a journal that a
//! real engine wrote. Only the proof is left out: the verifier here takes everything.

mod prover_venue;

use firmware::wire::input::InDeposit;
use l1::devnet::{DEV_CHAIN_ID, DEV_KEYS, Devnet};
use l1::{Deployment, L1Client, ProvenBatch, Roles, Settlement, Terms, U256, Withdrawal};
use prover_venue::{MAKER, TAKER, Venue};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const DEPOSIT_MICRO: u64 = 5_000_000_000;
const WEEK_S: u64 = 7 * 86_400;

/// Runs `prover` with the words of a command line.
async fn prover(line: &str) -> Result<Value, String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    // The chain lives in this process and must go on meanwhile.
    let run = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_prover"))
            .args(words)
            .stdin(Stdio::null())
            .output()
    });
    let output = run.await.expect("not cancelled").expect("started");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).expect("one JSON value"))
}

async fn pass(url: &str, seconds: u64) {
    let ask = async |method: &str, params: Value| {
        let body =
            serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let stream = tokio::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).await;
        let io = hyper_util::rt::TokioIo::new(stream.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let body = http_body_util::Full::new(hyper::body::Bytes::from(body.to_string()));
        let request = hyper::Request::post("/")
            .header("host", "127.0.0.1")
            .header("content-type", "application/json");
        let answer = sender.send_request(request.body(body).unwrap()).await;
        assert!(answer.unwrap().status().is_success());
    };
    ask("evm_increaseTime", serde_json::json!([seconds])).await;
    ask("evm_mine", serde_json::json!([])).await;
}

/// Commits a sealed batch as the operator, with no real proof.
async fn commit(settlement: &Settlement, state: &mut proof::State, bytes: &[u8]) {
    let batch = matcher::batch::decode(bytes).expect("sealed");
    state.apply(&batch).expect("provable");
    let mut journal_hash = batch.journal_hash;
    journal_hash[0] &= 0x1F;
    let withdrawals = batch.withdrawals.iter().map(|w| Withdrawal {
        account: w.account.0,
        owner: w.owner.into(),
        amount_micro: w.amount_micro,
    });
    let proven = ProvenBatch {
        batch_no: batch.batch_no,
        new_root: U256::from_be_bytes(state.root()),
        journal_hash: U256::from_be_bytes(journal_hash),
        last_seq: batch.last_seq.0,
        time_ns: batch.time.0,
        deposit_count: batch.deposits.len() as u64,
        withdrawals: withdrawals.collect(),
        commitment: U256::from(1),
        proof: [U256::ZERO; 8],
    };
    settlement.commit_batch(&proven).await.expect("committed");
}

async fn deploy(url: &str, path: &Path) -> Settlement {
    let operator = L1Client::connect(url, DEV_KEYS[0]).await.unwrap();
    let artifact = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/l1/artifacts/test/OpenVerifier.json"
    );
    let artifact: Value =
        serde_json::from_str(&std::fs::read_to_string(artifact).unwrap()).unwrap();
    let code = artifact["bytecode"].as_str().unwrap().parse().unwrap();
    let verifier = operator.create("verifier", code).await.unwrap();
    let genesis = U256::from_be_bytes(proof::State::genesis().root());
    let token = operator.deploy(genesis, None).await.unwrap().token;
    let roles = Roles::all(operator.address());
    let terms = Terms::default();
    let deployed = operator.deploy_on(&terms, roles, genesis, token, verifier);
    let deployment: Deployment = deployed.await.unwrap();
    deployment.write(path).unwrap();
    operator.settlement(&deployment).await.unwrap()
}

#[tokio::test]
async fn strangers_leave_by_the_commands_of_the_page_and_with_what_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let devnet = Devnet::bind(0, DEV_CHAIN_ID).await.unwrap();
    let url = devnet.url();
    tokio::spawn(devnet.run());
    let settlement = deploy(&url, &folder.path().join("l1.json")).await;
    let l1 = format!("--l1 {url} --deployment {} --json", at("l1.json"));

    // Two owners with an account each, on both sides of a trade, and one who came too late.
    let data = folder.path().join("venue");
    let mut venue = Venue::open(&data);
    for (queue_index, account, key) in [(0, MAKER, 1), (1, TAKER, 2)] {
        let opened = prover(&format!("l1 open {l1} --dev-key {key}"))
            .await
            .unwrap();
        assert_eq!(opened["account"], account);
        let deposit = format!(
            "l1 deposit {l1} --dev-key {key} --account {account} --amount {DEPOSIT_MICRO} --mint"
        );
        prover(&deposit).await.unwrap();
        let owner = L1Client::connect(&url, DEV_KEYS[key])
            .await
            .unwrap()
            .address();
        let deposit = InDeposit {
            queue_index,
            amount: DEPOSIT_MICRO as _,
            account,
            owner: owner.into_array(),
            key: [0; 32],
        };
        venue.deposit(&deposit).unwrap();
    }
    assert_eq!(venue.next_deposit(), 2);
    let mut state = proof::State::genesis();
    venue.seal();
    venue.trade();
    venue.price(2, 60_050_000_000);
    venue.withdraw(MAKER, 1_000_000);
    venue.seal();
    for batch_no in [1, 2] {
        let file = data.join(format!("batches/batch-{batch_no:08}.sealed"));
        commit(&settlement, &mut state, &std::fs::read(file).unwrap()).await;
    }
    prover(&format!(
        "l1 deposit {l1} --dev-key 2 --account {TAKER} --amount 77 --mint"
    ))
    .await
    .unwrap();

    // The page: the state file, a request, a week of silence, the freeze, the exit, the money.
    let journal = data.display();
    let file = at("state.json");
    let written = prover(&format!("l1 state {l1} --data {journal} --out {file}"))
        .await
        .unwrap();
    assert_eq!(written["batch_no"], 2);
    let tried = prover(&format!(
        "l1 request {l1} --dev-key 1 --account {MAKER} --close --dry-run"
    ))
    .await;
    assert!(tried.unwrap()["gas_max"].as_u64().unwrap() > 21_000);
    let made = prover(&format!(
        "l1 request {l1} --dev-key 1 --account {MAKER} --close"
    ))
    .await
    .unwrap();
    assert_eq!(made["request"], 1);
    let standing = prover(&format!("l1 requests {l1}")).await.unwrap();
    assert_eq!(standing["requests"][0]["kind"], "close");
    let stands = prover(&format!("l1 answer {l1} --request 1 --state {file}"))
        .await
        .unwrap_err();
    assert!(stands.contains("request 1 stands"), "{stands}");
    let early = prover(&format!("l1 freeze {l1} --dev-key 9 --request 1"))
        .await
        .unwrap_err();
    assert!(early.contains("too early"), "{early}");
    pass(&url, WEEK_S + 600).await;
    prover(&format!("l1 freeze {l1} --dev-key 9 --request 1"))
        .await
        .unwrap();
    let status = prover(&format!("l1 status {l1}")).await.unwrap();
    assert_eq!(status["frozen"], true);

    let text = std::fs::read_to_string(&file).unwrap();
    let other = at("other.json");
    let turned = text.replacen("\"fund_pico\": \"0x00", "\"fund_pico\": \"0x01", 1);
    assert_ne!(turned, text);
    std::fs::write(&other, turned).unwrap();
    let wrong = prover(&format!("l1 open-exit {l1} --dev-key 9 --state {other}"))
        .await
        .unwrap_err();
    assert!(wrong.contains("it is not the state"), "{wrong}");
    prover(&format!("l1 open-exit {l1} --dev-key 9 --state {file}"))
        .await
        .unwrap();
    let mut claims = 0i128;
    for account in [MAKER, TAKER] {
        let line = format!("l1 escape {l1} --dev-key {account} --account {account} --state {file}");
        let claim = prover(&line).await.unwrap();
        claims += claim["claim_pico"]
            .as_str()
            .unwrap()
            .parse::<i128>()
            .unwrap();
    }
    // What is behind the state is what is owed and the fund, to the last pico-unit.
    let held = i128::from(2 * DEPOSIT_MICRO - 1_000_000) * 1_000_000;
    assert_eq!(claims + state.fund_pico(), held);
    pass(&url, WEEK_S + 600).await;
    let mut left = 2 * DEPOSIT_MICRO + 77;
    prover(&format!("l1 reclaim {l1} --dev-key 9 --deposit 2"))
        .await
        .unwrap();
    for account in [MAKER, TAKER] {
        let line = format!("l1 settle {l1} --dev-key 9 --account {account}");
        let granted = prover(&line).await.unwrap()["granted_micro"]
            .as_u64()
            .unwrap();
        assert!(granted > 0);
        let claimed = prover(&format!("l1 claim {l1} --dev-key {account}"))
            .await
            .unwrap();
        left -= claimed["claimed_micro"].as_u64().unwrap();
    }
    // The fund, and less than a unit of each claim, stay.
    let fund = u64::try_from(state.fund_pico() / 1_000_000).unwrap();
    assert!(left >= fund && left <= fund + 2, "{left} left, fund {fund}");
}

#[tokio::test]
async fn the_audit_counts_as_the_venue_does_where_a_deposit_was_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let devnet = Devnet::bind(0, DEV_CHAIN_ID).await.unwrap();
    let url = devnet.url();
    tokio::spawn(devnet.run());
    let settlement = deploy(&url, &folder.path().join("l1.json")).await;
    let l1 = format!("--l1 {url} --deployment {} --json", at("l1.json"));
    let data = folder.path().join("venue");
    let mut venue = Venue::open(&data);
    for account in [MAKER, TAKER] {
        let open = format!("l1 open {l1} --dev-key {account}");
        assert_eq!(prover(&open).await.unwrap()["account"], account);
    }
    let pay = async |account: u32, amount: u64| {
        let line = format!(
            "l1 deposit {l1} --dev-key {account} --account {account} --amount {amount} --mint"
        );
        prover(&line).await.unwrap();
    };
    // Row 1 becomes a hole before a batch passes it, row 4 behind all that a batch has passed.
    pay(MAKER, DEPOSIT_MICRO).await;
    pay(TAKER, 50).await;
    pass(&url, WEEK_S + 600).await;
    let reclaim = |row: u64| format!("l1 reclaim {l1} --dev-key {TAKER} --deposit {row}");
    prover(&reclaim(1)).await.unwrap();
    pay(TAKER, DEPOSIT_MICRO).await;
    for (queue_index, account) in [(0, MAKER), (1, TAKER)] {
        let client = L1Client::connect(&url, DEV_KEYS[account as usize]).await;
        let deposit = InDeposit {
            queue_index,
            amount: DEPOSIT_MICRO as _,
            account,
            owner: client.unwrap().address().into_array(),
            key: [0; 32],
        };
        venue.deposit(&deposit).unwrap();
    }
    venue.seal();
    let sealed = std::fs::read(data.join("batches/batch-00000001.sealed")).unwrap();
    commit(&settlement, &mut proof::State::genesis(), &sealed).await;
    pay(MAKER, 77).await;
    pay(TAKER, 9).await;

    let audit = format!("audit {l1} --data {}", data.display());
    let found = prover(&audit).await.unwrap();
    assert_eq!(found["unconsumed_deposits_micro"], 77 + 9);
    assert_eq!(found["pending_micro"], 50);
    pass(&url, WEEK_S + 600).await;
    prover(&reclaim(4)).await.unwrap();
    let found = prover(&audit).await.unwrap();
    assert_eq!(found["unconsumed_deposits_micro"], 77);
    assert_eq!(found["pending_micro"], 50 + 9);
    assert_eq!(found["surplus_micro"], 0);
    assert_eq!(found["state_root_match"], true);
}
