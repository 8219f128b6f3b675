//! The run, stage by stage.

use super::outcome::Ended;
use super::tracker::number;
use super::{Demo, feed};
use crate::admin::Admin;
use crate::children::Start;
use crate::clock::now_ns;
use crate::scenario::{Role, RunFile, Source};
use crate::venue::{self, loopback};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Dev key that deploys the contracts and, as their operator, commits batches.
const KEY_OPERATOR: u32 = 0;
/// Dev keys of account owners: these, over and over.
const KEYS_OWNERS: std::ops::Range<u32> = 1..10;

/// A process that serves must say so within this.
const START: Duration = Duration::from_secs(30);
/// A call to L1.
const L1_CALL: Duration = Duration::from_secs(60);
/// The first run on a machine makes the proving key, which takes both cores for a while.
const KEY: Duration = Duration::from_secs(900);
/// A prover that says nothing for so long is stuck.
const PROVER_SILENCE: Duration = Duration::from_secs(240);
/// Ahead of the first send, so that all processes hear of the start before it.
const HEAD_START_NS: u64 = 300_000_000;

/// The dev key that owns an account.
pub(super) const fn owner_key(account: u32) -> u32 {
    KEYS_OWNERS.start + (account - 1) % (KEYS_OWNERS.end - KEYS_OWNERS.start)
}

pub(super) fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&s| s.to_owned()).collect()
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Demo {
    /// The whole run. Processes end with the value, however this ends.
    pub(super) fn run(&mut self) -> anyhow::Result<()> {
        self.prepare()?;
        self.start_chain()?;
        self.deploy()?;
        self.start_venue()?;
        self.start_prover()?;
        self.start_oracle()?;
        self.deposit()?;
        let workers = self.start_traders()?;
        self.trade(&workers)?;
        let withdrawal = self.withdraw(&workers)?;
        self.finish_traders(&workers)?;
        self.prove_all(&withdrawal)?;
        let claimed = self.claim(&withdrawal)?;
        let shutdown = self.shut_down()?;
        self.judge(&Ended {
            workers,
            withdrawal,
            claimed,
            shutdown,
        })
    }

    fn prepare(&mut self) -> anyhow::Result<()> {
        "keys and configuration".clone_into(&mut self.tracker.stage);
        self.progress.show(&self.tracker);
        let venue = venue::prepare_on_loopback(&self.scenario, &self.layout, &self.ports)?;
        let file = RunFile {
            scenario: self.scenario.clone(),
            venue,
        };
        let path = self.layout.run_file();
        let json = serde_json::to_string(&file).context("run file")?;
        std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    fn start_chain(&mut self) -> anyhow::Result<()> {
        self.tracker.next_stage("keys", "dev chain");
        if let Some(url) = &self.args.l1 {
            self.l1_url.clone_from(url);
            return Ok(());
        }
        self.children.start(
            "devnet",
            "prover",
            &words(&["devnet", "--port", &self.ports.l1.to_string()]),
            Start::default(),
        )?;
        self.l1_url = self.wait("the dev chain", START, |demo| {
            let ready = |(name, line): &(&str, String)| {
                (*name == "devnet")
                    .then(|| line.strip_prefix("devnet: ready ").map(str::to_owned))
                    .flatten()
            };
            Ok(demo.notes.iter().find_map(ready))
        })?;
        Ok(())
    }

    fn deploy(&mut self) -> anyhow::Result<()> {
        self.tracker.next_stage(
            "chain",
            "contracts (the first run on a machine makes the proving key)",
        );
        let out = text(&self.layout.deployment());
        let key = KEY_OPERATOR.to_string();
        let args = words(&[
            "deploy",
            "--l1",
            &self.l1_url,
            "--dev-key",
            &key,
            "--out",
            &out,
        ]);
        self.tool("prover deploy", "prover", &args, KEY)?;
        Ok(())
    }

    fn start_venue(&mut self) -> anyhow::Result<()> {
        self.tracker.next_stage("contracts", "venue");
        feed::listen(
            &loopback(self.ports.demo_feed),
            &loopback(self.ports.feed_requests),
            self.tx.clone(),
        )?;
        let config = text(&self.layout.config());
        self.children.start(
            "hostd",
            "hostd",
            &words(&["run", "--config", &config]),
            Start::default(),
        )?;
        self.wait("the venue", START, |demo| {
            Ok(demo
                .notes
                .iter()
                .any(|(name, line)| *name == "hostd" && line == "hostd: ready")
                .then_some(()))
        })?;
        self.admin = Some(Admin::new(self.layout.socket()));
        Ok(())
    }

    fn start_prover(&mut self) -> anyhow::Result<()> {
        self.tracker.next_stage("venue", "proving key");
        let (data, deployment, socket) = (
            text(&self.layout.data()),
            text(&self.layout.deployment()),
            text(&self.layout.l1_socket()),
        );
        let key = KEY_OPERATOR.to_string();
        let args = words(&[
            "run",
            "--data",
            &data,
            "--l1",
            &self.l1_url,
            "--deployment",
            &deployment,
            "--admin",
            &socket,
            "--dev-key",
            &key,
            "--json",
        ]);
        self.children
            .start("prover", "prover", &args, Start::default())?;
        self.wait("the proving key", KEY, |demo| {
            Ok(demo.tracker.key_ready.then_some(()))
        })
    }

    fn start_oracle(&mut self) -> anyhow::Result<()> {
        let file = text(&self.layout.run_file());
        self.children.start(
            "oracle",
            "bench",
            &words(&["oracle", "--run", &file]),
            Start::default(),
        )
    }

    fn l1_args(&self, verb: &str, key: u32) -> Vec<String> {
        let deployment = text(&self.layout.deployment());
        let key = key.to_string();
        words(&[
            "l1",
            verb,
            "--l1",
            &self.l1_url,
            "--deployment",
            &deployment,
            "--dev-key",
            &key,
            "--json",
        ])
    }

    fn deposit(&mut self) -> anyhow::Result<()> {
        self.tracker.next_stage("proving key", "deposits");
        let deposits: Vec<(u32, u64)> = self
            .scenario
            .deposits
            .iter()
            .map(|(a, m)| (*a, *m))
            .collect();
        let all = deposits.len();
        // The contract numbers accounts from 1 in the order of opening.
        let highest = deposits
            .iter()
            .map(|d| d.0)
            .max()
            .context("no account has money")?;
        for account in 1..=highest {
            self.tracker.stage = format!("accounts {account}/{highest}");
            let opened = self.tool(
                "prover l1 open",
                "prover",
                &self.l1_args("open", owner_key(account)),
                L1_CALL,
            )?;
            if opened["account"].as_u64() != Some(u64::from(account)) {
                bail!(
                    "L1 opened account {} instead of {account}",
                    opened["account"]
                );
            }
        }
        for (k, (account, micro)) in deposits.into_iter().enumerate() {
            self.tracker.stage = format!("deposits {}/{all} on L1", k + 1);
            let mut args = self.l1_args("deposit", owner_key(account));
            args.extend(words(&[
                "--account",
                &account.to_string(),
                "--amount",
                &micro.to_string(),
                "--mint",
            ]));
            self.tool("prover l1 deposit", "prover", &args, L1_CALL)?;
        }
        self.wait("sequencing of the deposits", L1_CALL, |demo| {
            let there = number(&demo.tracker.status, "deposits");
            demo.tracker.stage = format!("deposits {there}/{all} sequenced");
            Ok((there >= all as u64).then_some(()))
        })
    }

    /// Starts the trading processes and waits until all are logged in and see marks.
    fn start_traders(&mut self) -> anyhow::Result<Vec<&'static str>> {
        self.tracker.next_stage(
            format!("{} deposits", self.scenario.deposits.len()),
            "traders log in",
        );
        let parts: Vec<(&'static str, &str)> = match self.scenario.source {
            Source::Synthetic => vec![("makers", "makers"), ("takers", "takers")],
            Source::Recorded(_) => vec![("traders", "recorded")],
        };
        for &(name, part) in &parts {
            let (file, acks, result) = (
                text(&self.layout.run_file()),
                text(&self.layout.acks(name)),
                text(&self.layout.result(name)),
            );
            let args = words(&[
                "trade", "--run", &file, "--part", part, "--acks", &acks, "--result", &result,
            ]);
            self.children
                .start(name, "bench", &args, Start::default())?;
        }
        let workers: Vec<&'static str> = parts.iter().map(|p| p.0).collect();
        for &name in &workers {
            self.wait("the traders' login", START * 2, |demo| {
                Ok(demo.tracker.take_trader_event(name, "ready"))
            })?;
        }
        Ok(workers)
    }

    fn trade(&mut self, workers: &[&'static str]) -> anyhow::Result<()> {
        self.tracker.next_stage("traders", "trading");
        self.start_ns = now_ns() + HEAD_START_NS;
        for name in workers.iter().chain(&["oracle"]) {
            self.children
                .tell(name, &format!("start {}", self.start_ns))?;
        }
        let seconds = self.scenario.seconds;
        for &name in workers {
            self.wait("trading", Duration::from_secs(seconds + 30), |demo| {
                let since = now_ns().saturating_sub(demo.start_ns) / 1_000_000_000;
                demo.tracker.stage = format!("trading {}/{seconds} s", since.min(seconds));
                Ok(demo.tracker.take_trader_event(name, "traded"))
            })?;
        }
        Ok(())
    }

    /// The last taker (or the last member) takes a part of its money out.
    fn withdraw(&mut self, workers: &[&'static str]) -> anyhow::Result<Value> {
        self.tracker.next_stage(
            format!("{} s of trading", self.scenario.seconds),
            "withdrawal",
        );
        let members = &self.scenario.members;
        let member = members
            .iter()
            .rev()
            .find(|m| m.role == Role::Taker)
            .or(members.last());
        let account = *member
            .and_then(|m| m.accounts.first())
            .context("no member has an account")?;
        let amount = self.scenario.deposits.get(&account).copied().unwrap_or(0) / 10;
        let worker = *workers.last().context("nobody trades")?;
        self.children
            .tell(worker, &format!("withdraw {account} {amount}"))?;
        self.wait("the withdrawal", START, |demo| {
            if let Some(refused) = demo.tracker.take_trader_event(worker, "withdraw_refused") {
                bail!(
                    "the withdrawal from account {account} was refused: {}",
                    refused["code"]
                );
            }
            Ok(demo.tracker.take_trader_event(worker, "withdrawn"))
        })
    }

    fn finish_traders(&mut self, workers: &[&'static str]) -> anyhow::Result<()> {
        for &name in workers {
            self.children.may_end(name);
            self.children.tell(name, "finish")?;
            let status = self.wait("the traders' end", START, |demo| demo.children.ended(name))?;
            if !status.success() {
                bail!("{name} failed{}", self.children.last_words(name));
            }
        }
        Ok(())
    }

    /// Closes the open batch and waits until L1 has all of them.
    fn prove_all(&mut self, withdrawal: &Value) -> anyhow::Result<()> {
        self.tracker.next_stage("withdrawal", "last batch");
        let admin = self.admin.clone().context("the venue does not run")?;
        let sealed = admin
            .post("/v1/seal", &json!({}), START)
            .context("cannot seal the last batch")?;
        // The seal may find nothing open; the withdrawal is in a batch for sure.
        let last = number(&sealed, "batch_no").max(number(withdrawal, "batch_no"));
        let mut seen = (self.tracker.prover_lines, now_ns());
        self.wait("proving", Duration::from_secs(3_600), |demo| {
            let (sealed, committed) = (demo.tracker.sealed().max(last), demo.tracker.committed());
            demo.tracker.stage = format!("proving {committed}/{sealed} on L1");
            if demo.tracker.prover_lines != seen.0 {
                seen = (demo.tracker.prover_lines, now_ns());
            }
            if now_ns() - seen.1 > PROVER_SILENCE.as_nanos() as u64 {
                bail!(
                    "the prover has said nothing for {} s{}",
                    PROVER_SILENCE.as_secs(),
                    demo.children.last_words("prover")
                );
            }
            Ok((sealed > 0 && committed >= sealed).then_some(()))
        })
    }

    /// The owner takes the withdrawn money out of the contract. Gives the amount, micro-units.
    fn claim(&mut self, withdrawal: &Value) -> anyhow::Result<u64> {
        self.tracker.next_stage(
            format!("{} batches on L1", self.tracker.committed()),
            "claim on L1",
        );
        let account = number(withdrawal, "account") as u32;
        let claimed = self.tool(
            "prover l1 claim",
            "prover",
            &self.l1_args("claim", owner_key(account)),
            L1_CALL,
        )?;
        let amount = ["claimed_micro", "amount_micro", "amount"]
            .iter()
            .find_map(|k| {
                claimed[*k]
                    .as_u64()
                    .or_else(|| claimed[*k].as_str().and_then(|s| s.parse().ok()))
            });
        amount.with_context(|| format!("the claim names no amount: {claimed}"))
    }

    fn shut_down(&mut self) -> anyhow::Result<Value> {
        self.tracker.next_stage("claim", "shutdown");
        self.look_at_status();
        self.children.stop("oracle");
        self.children.may_end("hostd");
        self.children.may_end("prover");
        let admin = self.admin.take().context("the venue does not run")?;
        let reply = admin
            .post("/v1/shutdown", &json!({}), L1_CALL)
            .context("the venue does not shut down")?;
        let status = self.wait("the venue's end", START, |demo| {
            demo.children.ended("hostd")
        })?;
        if !status.success() {
            bail!("hostd failed{}", self.children.last_words("hostd"));
        }
        self.children.stop("prover");
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_dev_keys_that_nobody_else_uses() {
        let keys: Vec<u32> = (1..=10).map(owner_key).collect();
        assert_eq!(keys, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1]);
        assert!(!keys.contains(&KEY_OPERATOR));
    }
}
