//! What a person sees: a bar on a terminal, a line now and then elsewhere.

use super::step::Losses;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use moa_infer::exit::note;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Progress of a run, on stderr.
pub struct Progress {
    bar: Option<ProgressBar>,
    shown: Option<Instant>,
    pace: Pace,
    silent: bool,
}

impl Progress {
    /// A bar of `steps` steps of which `first` are done, evaluated every `eval_every`.
    pub fn new(first: u64, steps: u64, eval_every: u64, silent: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !silent;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}")
                    .unwrap_or(ProgressStyle::default_bar()),
            );
            bar.set_position(first);
            bar
        });
        Self { bar, shown: None, pace: Pace::new(steps, eval_every), silent }
    }

    /// After step `step`, which took `seconds`.
    pub fn step(&mut self, step: u64, losses: &Losses, images: usize, seconds: f64) {
        self.pace.trained.add(seconds);
        let done = step + 1;
        let text = format!(
            "loss {:.4}  lr {:.1e}  {:.1} images/s{}  {} left",
            losses.total(),
            losses.lr,
            images as f64 / seconds,
            usage(losses),
            duration(self.pace.left(done))
        );
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(text);
        } else if !self.silent
            && (done == self.pace.steps || self.shown.is_none_or(|at| at.elapsed() > QUIET))
        {
            self.shown = Some(Instant::now());
            note(format_args!("step {done}/{}  {text}", self.pace.steps));
        }
    }

    /// After an evaluation that took `seconds`: a line that stays.
    pub fn evaluated(&mut self, text: &str, seconds: f64) {
        self.pace.evaluated.add(seconds);
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None if !self.silent => note(text),
            None => {}
        }
    }
}

/// How long steps and evaluations take.
struct Pace {
    steps: u64,
    eval_every: u64,
    trained: Mean,
    evaluated: Mean,
}

#[derive(Default)]
struct Mean {
    seconds: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.seconds += seconds;
        self.count += 1;
    }

    fn get(&self) -> f64 {
        self.seconds / self.count.max(1) as f64
    }
}

impl Pace {
    fn new(steps: u64, eval_every: u64) -> Self {
        Self { steps, eval_every, trained: Mean::default(), evaluated: Mean::default() }
    }

    /// Seconds left once `done` steps are trained and the last of them is not yet
    /// evaluated. Evaluations count from the first one that was measured.
    fn left(&self, done: u64) -> f64 {
        // Of the steps that are evaluated (the multiples and the last), those left.
        let multiples = |below: u64| below.div_ceil(self.eval_every);
        let last = u64::from(!(self.steps - 1).is_multiple_of(self.eval_every));
        let evaluations = multiples(self.steps) - multiples(done.saturating_sub(1)) + last;
        (self.steps - done) as f64 * self.trained.get() + evaluations as f64 * self.evaluated.get()
    }
}

/// `1 h 02 min`, `3 min` or `40 s`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0..=1 => format!("{seconds:.0} s"),
        2..=59 => format!("{minutes} min"),
        _ => format!("{} h {:02} min", minutes / 60, minutes % 60),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_counts_steps_and_evaluations() {
        let mut pace = Pace::new(60, 20);
        pace.trained.add(2.0);
        pace.trained.add(4.0);
        // Nothing is known of evaluations yet.
        assert_eq!(pace.left(2), 58.0 * 3.0);
        pace.evaluated.add(100.0);
        // After steps 20, 40 and 59.
        assert_eq!(pace.left(2), 58.0 * 3.0 + 300.0);
        assert_eq!(pace.left(21), 39.0 * 3.0 + 300.0);
        assert_eq!(pace.left(22), 38.0 * 3.0 + 200.0);
        assert_eq!(pace.left(60), 100.0);
        assert_eq!(
            [duration(59.6), duration(150.0), duration(3725.0)],
            ["60 s", "3 min", "1 h 02 min"]
        );
    }
}
