//! What a person sees: a bar on a terminal, a line now and then elsewhere.

use super::step::Losses;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Progress of a run, on stderr.
pub struct Progress {
    bar: Option<ProgressBar>,
    shown: Instant,
    steps: u64,
    first: u64,
    started: Instant,
    silent: bool,
}

impl Progress {
    /// A bar from step `first` to `steps`.
    pub fn new(first: u64, steps: u64, silent: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !silent;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
            let template = "{bar:24} {pos}/{len}  {msg}  {eta} left";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()),
            );
            bar.set_position(first);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self { bar, shown: now, steps, first, started: now, silent }
    }

    /// After a step.
    pub fn step(&mut self, step: u64, losses: &Losses, images_per_second: f64) {
        let text = format!(
            "loss {:.4}  lr {:.1e}  {:.1} images/s{}",
            losses.total(),
            losses.lr,
            images_per_second,
            usage(losses)
        );
        let done = step + 1;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(text);
        } else if !self.silent
            && (done == self.first + 1 || done == self.steps || self.shown.elapsed() > QUIET)
        {
            self.shown = Instant::now();
            let rate = self.started.elapsed().as_secs_f64() / (done - self.first) as f64;
            let left = rate * (self.steps - done) as f64;
            eprintln!("step {done}/{}  {text}  {left:.0} s left", self.steps);
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None if !self.silent => eprintln!("{text}"),
            None => {}
        }
    }
}

/// Share of tokens of each expert, over all layers.
fn usage(losses: &Losses) -> String {
    let experts = losses.usage.values().map(Vec::len).max().unwrap_or(0);
    if experts < 2 {
        return String::new();
    }
    let sum = |e: usize| -> u64 {
        losses.usage.values().filter_map(|c| c.get(e)).map(|&n| n as u64).sum()
    };
    let total: u64 = (0..experts).map(sum).sum();
    let shares: Vec<String> = (0..experts)
        .map(|e| format!("{:.0}", 100.0 * sum(e) as f64 / total.max(1) as f64))
        .collect();
    format!("  experts {} %", shares.join("/"))
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
