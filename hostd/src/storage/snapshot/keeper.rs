//! The thread that has snapshots made while the box runs: by a child process of low priority, so that neither
//! its memory nor its time is the box's.

use super::list;
use crate::config::SnapshotSection;
use crate::machine::log;
use crate::storage::data_dir::DataDir;
use anyhow::Context;
use lane::WatermarkReader;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks whether a snapshot is due, or done.
const TURN: Duration = Duration::from_millis(250);

/// See the module.
pub struct Keeper {
    /// When.
    pub section: SnapshotSection,
    /// Where.
    pub data: DataDir,
    /// Up to which record.
    pub durable: WatermarkReader,
}

/// The running thread; it ends, and with it a child, when this is dropped.
pub struct KeeperHandle {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for KeeperHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked: its own message says why, and the box runs without it.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    /// Starts the thread, if snapshots are wanted at all.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(self) -> anyhow::Result<Option<KeeperHandle>> {
        if self.section.every_records.is_none() && self.section.every_s.is_none() {
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("snapshots".into());
        let thread = thread.spawn(move || self.run(&stopped));
        Ok(Some(KeeperHandle {
            stop: Some(stop),
            thread: Some(thread.context("cannot start thread snapshots")?),
        }))
    }

    fn run(self, stopped: &mpsc::Receiver<()>) {
        let newest = list(&self.data.snapshots()).ok();
        let newest = newest.and_then(|all| Some(all.first()?.0));
        let (mut last_seq, mut last_time) = (newest.unwrap_or(0), Instant::now());
        let mut child: Option<(Child, u64)> = None;
        while stopped.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
            if let Some((running, until)) = &mut child {
                match running.try_wait() {
                    Ok(None) => {}
                    ended => {
                        if ended.is_ok_and(|status| status.is_some_and(|s| s.success())) {
                            last_seq = *until;
                        } else {
                            log::event("snapshot_failed", &[("until", until)]);
                        }
                        last_time = Instant::now();
                        child = None;
                    }
                }
                continue;
            }
            let durable = self.durable.get();
            let new = durable.saturating_sub(last_seq);
            let by_count = self.section.every_records.is_some_and(|n| new >= n);
            let by_time =
                (self.section.every_s).is_some_and(|s| last_time.elapsed().as_secs() >= s);
            if new > 0 && (by_count || by_time) {
                match self.spawn(durable) {
                    Ok(running) => child = Some((running, durable)),
                    Err(e) => {
                        log::event("snapshot_failed", &[("reason", &e)]);
                        last_time = Instant::now();
                    }
                }
            }
        }
        if let Some((mut running, _)) = child {
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// This very program, also when its file was replaced meanwhile. Its one line goes to standard error, where the
    /// box's events go.
    fn spawn(&self, until: u64) -> std::io::Result<Child> {
        Command::new("/proc/self/exe")
            .args(["snapshot", "--child-of"])
            .arg(std::process::id().to_string())
            .arg("--until")
            .arg(until.to_string())
            .arg("--data")
            .arg(self.data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    }
}
