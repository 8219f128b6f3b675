//! `hostd top`: the box at a glance, over the socket for looking. Plain text once where nobody sits at a terminal.

mod draw;
mod model;
#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::ops::http;
use crate::ops::role::Role;
use anyhow::{Context, ensure};
use clap::Args;
use model::{Answers, Model};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the box is asked.
const TURN: Duration = Duration::from_secs(1);
/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// `hostd top`
#[derive(Args)]
pub struct TopArgs {
    /// Directory of the sockets.
    #[arg(long, env = "HOSTD_ADMIN_DIR", default_value = "/run/hostd")]
    dir: PathBuf,
    /// TOML file of the box, to find the directory in it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print once as plain text.
    #[arg(long)]
    once: bool,
}

/// Shows a box until somebody presses q.
///
/// # Errors
/// When no box answers, or the terminal cannot be used.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let dir = match &args.config {
        None => args.dir.clone(),
        Some(path) => Config::load(path)?.admin.dir,
    };
    let socket = Role::View.socket(&dir);
    let mut model = Model::default();
    let begun = Instant::now();
    model.take(ask(&socket, begun)?);
    if args.once || !std::io::stdout().is_terminal() {
        // Who reads it may have read enough.
        let _ = writeln!(std::io::stdout(), "{}", model.text().trim_end());
        return Ok(());
    }
    let mut terminal = ratatui::try_init().context("this terminal")?;
    let ended = show(&mut terminal, &socket, begun, &mut model);
    ratatui::restore();
    ended
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    socket: &Path,
    begun: Instant,
    model: &mut Model,
) -> anyhow::Result<()> {
    let (mut is_paused, mut trouble) = (false, None);
    let mut next = Instant::now() + TURN;
    loop {
        terminal.draw(|frame| draw::all(frame, model, is_paused, trouble.as_deref()))?;
        let left = next.saturating_duration_since(Instant::now());
        if event::poll(left)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if is_interrupt => return Ok(()),
                    KeyCode::Char('p' | ' ') => is_paused = !is_paused,
                    _ => {}
                }
            }
            continue;
        }
        next = Instant::now() + TURN;
        if !is_paused {
            // A box that is started anew comes back by itself.
            match ask(socket, begun) {
                Ok(answers) => {
                    trouble = None;
                    model.take(answers);
                }
                Err(e) => trouble = Some(format!("{e:#}")),
            }
        }
    }
}

fn ask(socket: &Path, begun: Instant) -> anyhow::Result<Answers> {
    let get = |path: &str| -> anyhow::Result<Value> {
        let answer = http::call(socket, "GET", path, None, "", PATIENCE);
        let answer = answer.with_context(|| format!("no box answers on {}", socket.display()))?;
        // Not ready is an answer too.
        ensure!(
            answer.status == 200 || path == "/v1/readyz",
            "{path}: status {}",
            answer.status
        );
        serde_json::from_str(&answer.body).with_context(|| path.to_owned())
    };
    Ok(Answers {
        status: get("/v1/status")?,
        health: get("/v1/readyz")?,
        instruments: get("/v1/instruments")?,
        at: begun.elapsed().as_secs_f64(),
    })
}
