//! Long jobs: each is a child process of low priority, so that neither its memory nor its time is the box's.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Jobs that are kept.
const KEPT: usize = 64;
/// Jobs at a time.
const RUNNING_MAX: usize = 2;

/// How a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Under way.
    Running,
    /// It did what it should.
    Done,
    /// It did not; `error` says why.
    Failed,
}

/// One job.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Job {
    /// Its number.
    pub(super) job: u64,
    /// `snapshot` or `replay`.
    pub(super) kind: &'static str,
    /// How it stands.
    pub(super) state: State,
    /// When it began, ms since the epoch.
    pub(super) begun_ms: u64,
    /// How long it took, or takes up to now, ms.
    pub(super) took_ms: u64,
    /// Record that it has come to.
    pub(super) at_seq: u64,
    /// Record that it ends with.
    pub(super) of_seq: u64,
    /// What came of it.
    pub(super) result: Option<Value>,
    /// Why it failed.
    pub(super) error: Option<String>,
    #[serde(skip)]
    begun: Option<Instant>,
}

/// All jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs(Arc<Mutex<(u64, BTreeMap<u64, Job>)>>);

impl Jobs {
    fn with<T>(&self, f: impl FnOnce(&mut (u64, BTreeMap<u64, Job>)) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All, the newest last.
    pub(super) fn list(&self) -> Vec<Job> {
        self.with(|(_, all)| all.values().map(shown).collect())
    }

    /// One.
    pub(super) fn get(&self, job: u64) -> Option<Job> {
        self.with(|(_, all)| all.get(&job).map(shown))
    }

    /// Starts this very program with these arguments; it prints JSON, and its progress as lines `at N` on standard
    /// error. `None`: enough are running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        &self,
        kind: &'static str,
        args: &[String],
        of_seq: u64,
    ) -> std::io::Result<Option<u64>> {
        let running = |all: &BTreeMap<u64, Job>| {
            let running = all.values().filter(|j| j.state == State::Running);
            running.count()
        };
        if self.with(|(_, all)| running(all)) >= RUNNING_MAX {
            return Ok(None);
        }
        let mut child = Command::new("/proc/self/exe")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let job = self.with(|(last, all)| {
            *last += 1;
            let job = Job {
                job: *last,
                kind,
                state: State::Running,
                begun_ms: now.as_millis() as u64,
                took_ms: 0,
                at_seq: 0,
                of_seq,
                result: None,
                error: None,
                begun: Some(Instant::now()),
            };
            all.insert(*last, job);
            while all.len() > KEPT {
                all.pop_first();
            }
            *last
        });
        let jobs = self.clone();
        let thread = std::thread::Builder::new().name(format!("job-{job}"));
        thread.spawn(move || {
            let end = follow(&mut child, |at| jobs.note(job, |j| j.at_seq = at));
            jobs.note(job, |j| {
                j.took_ms = elapsed(j);
                j.begun = None;
                match end {
                    Ok(result) => {
                        (j.state, j.result, j.at_seq) = (State::Done, Some(result), j.of_seq);
                    }
                    Err(why) => (j.state, j.error) = (State::Failed, Some(why)),
                }
            });
        })?;
        Ok(Some(job))
    }

    fn note(&self, job: u64, f: impl FnOnce(&mut Job)) {
        self.with(|(_, all)| all.get_mut(&job).map(f));
    }
}

fn elapsed(job: &Job) -> u64 {
    job.begun
        .map_or(job.took_ms, |t| t.elapsed().as_millis() as u64)
}

fn shown(job: &Job) -> Job {
    Job {
        took_ms: elapsed(job),
        ..job.clone()
    }
}

/// Waits for a child's end; its JSON, or the last line that it wrote to standard error.
fn follow(child: &mut Child, mut progress: impl FnMut(u64)) -> Result<Value, String> {
    // Beside the other pipe: a child that cannot write to one does not close the other.
    let text = child.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        })
    });
    let mut last = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            match line.strip_prefix("at ").and_then(|n| n.parse().ok()) {
                Some(at) => progress(at),
                None => last = line,
            }
        }
    }
    let text = match text.map(std::thread::JoinHandle::join) {
        Some(Ok(Ok(text))) => text,
        _ => return Err("its answer could not be read".into()),
    };
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(if last.is_empty() {
            status.to_string()
        } else {
            last
        });
    }
    let values = serde_json::Deserializer::from_str(&text).into_iter();
    let values: Result<Vec<Value>, _> = values.collect();
    let mut values = values.map_err(|e| format!("its answer is no JSON: {e}"))?;
    Ok(match values.len() {
        1 => values.remove(0),
        _ => Value::Array(values),
    })
}
