//! The same way on anvil, which is another node around the EVM: the client and the embedded chain's likeness to it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy::primitives::Address;
use l1::L1Client;
use l1::devnet::DEV_KEYS;

use crate::settlement::the_whole_way;
use crate::world::{World, client};

struct Anvil(Child);

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_whole_way_works_on_anvil_too() {
    let binary = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.tools/l1/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
    );
    if !std::path::Path::new(binary).exists() {
        // Tools are installed by the runner; a bare `cargo test` does without.
        assert!(
            std::env::var_os("CI").is_none(),
            "anvil is not installed: node proof/l1/build.mjs --install"
        );
        println!("anvil is not installed: not tried");
        return;
    }
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let child = Command::new(binary)
        .args([
            "--host",
            "127.0.0.1",
            "--silent",
            "--port",
            &port.to_string(),
        ])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let _anvil = Anvil(child);
    let url = format!("http://127.0.0.1:{port}");
    let mut tries = 0;
    while L1Client::connect(&url, DEV_KEYS[0]).await.is_err() {
        tries += 1;
        assert!(tries < 200, "anvil does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    the_whole_way(World::with_token(url, None).await).await;
}

#[tokio::test]
async fn the_development_accounts_are_those_of_anvil() {
    let url = crate::world::start_devnet(l1::devnet::DEV_CHAIN_ID).await;
    let first: Address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        .parse()
        .unwrap();
    let last: Address = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
        .parse()
        .unwrap();
    assert_eq!(client(&url, 0).await.address(), first);
    assert_eq!(client(&url, 9).await.address(), last);
}
