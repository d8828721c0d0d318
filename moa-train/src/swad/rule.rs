//! Which segments of a run SWAD averages (Cha et al., "SWAD: Domain Generalization by Seeking
//! Flat Minima", section 3.3). A segment is what lies between two evaluations.

use serde::{Deserialize, Serialize};

/// How segments are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwadRule {
    /// Nothing is averaged.
    Off,
    /// As the published program does (khanrc/swad 252190e, `LossValley`), which leaves one segment
    /// out and takes others twice.
    Published,
    /// As the paper says: each segment of the valley once.
    Textbook,
}

/// The numbers of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwadConfig {
    /// How segments are chosen.
    pub rule: SwadRule,
    /// Evaluations without a better one after which the loss has converged (N_s).
    pub n_converge: usize,
    /// Evaluations above the threshold that end the valley (N_e).
    pub n_tolerance: usize,
    /// How far above the mean loss at convergence the threshold is (r).
    pub tolerance_ratio: f64,
}

/// What the losses so far say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Segments in the order in which they are added; may hold one more than once.
    pub added: Vec<usize>,
    /// Loss above which the valley has ended, once it has begun.
    pub threshold: Option<f64>,
    /// The segment with which the valley began.
    pub base: Option<usize>,
    /// The evaluation at which it ended, if it did.
    pub stopped_at: Option<usize>,
}

impl SwadConfig {
    /// Chooses by the validation losses of all segments so far. As long as the run has not
    /// `ended`, the segments added are a begin of those of any longer list.
    pub fn choose(&self, losses: &[f64], ended: bool) -> Choice {
        match self.rule {
            SwadRule::Off => Choice::default(),
            SwadRule::Published => self.published(losses, ended),
            SwadRule::Textbook => self.textbook(losses, ended),
        }
    }

    fn threshold(&self, window: &[f64]) -> f64 {
        window.iter().sum::<f64>() / window.len() as f64 * (1.0 + self.tolerance_ratio)
    }

    fn published(&self, losses: &[f64], ended: bool) -> Choice {
        let (ns, ne) = (self.n_converge, self.n_tolerance);
        let Some(at) = self.converged(losses) else {
            // It never converges: the last segment alone.
            let added = losses.len().checked_sub(1).filter(|_| ended).into_iter().collect();
            return Choice { added, ..Choice::default() };
        };
        let base = at + 1 - ns;
        let threshold = self.threshold(&losses[base..=at]);
        let mut choice =
            Choice { threshold: Some(threshold), base: Some(base), ..Choice::default() };
        let window = |i: usize| (i + 1).saturating_sub(ne)..=i;
        if ne < ns {
            choice.added.extend(base + 1..=base + ns - ne);
        } else if ne > ns {
            let head: Vec<usize> = window(at).take(ne - ns + 1).collect();
            let cut = head.iter().rposition(|&k| losses[k] > threshold).map_or(0, |k| k + 1);
            choice.added.extend(head.iter().skip(cut + 1));
        }
        for i in at + 1..losses.len() {
            let oldest = *window(i).start();
            if oldest < base {
                continue;
            }
            if least(&losses[window(i)]) > threshold {
                choice.stopped_at = Some(i);
                break;
            }
            choice.added.push(oldest);
        }
        if !ended {
            return choice;
        }
        if choice.stopped_at.is_none() {
            let mut rest = *window(losses.len() - 1).start() + 1;
            while rest < losses.len() && least(&losses[rest..]) <= threshold {
                choice.added.push(rest);
                rest += 1;
            }
        }
        if choice.added.is_empty() {
            choice.added.push(base);
        }
        choice
    }

    fn textbook(&self, losses: &[f64], ended: bool) -> Choice {
        let (ns, ne) = (self.n_converge, self.n_tolerance);
        let Some(at) = self.converged(losses) else { return Choice::default() };
        let start = at + 1 - ns;
        let threshold = self.threshold(&losses[start..=at]);
        let over = |i: &usize| *i + 1 >= start + ne && least(&losses[*i + 1 - ne..=*i]) > threshold;
        let stopped_at = (at + 1..losses.len()).find(over);
        let end = match stopped_at {
            Some(i) => Some(start.max(i.saturating_sub(ne))),
            None if ended => Some(losses.len() - 1),
            None => (losses.len() - 1).checked_sub(ne).filter(|end| *end >= start),
        };
        let added = end.map_or(Vec::new(), |end| (start..=end).collect());
        Choice { added, threshold: Some(threshold), base: Some(start), stopped_at }
    }

    /// The first evaluation of which the oldest of the last `n_converge` losses is the least,
    /// the first of equals.
    fn converged(&self, losses: &[f64]) -> Option<usize> {
        let ns = self.n_converge;
        (ns - 1..losses.len()).find(|&i| least(&losses[i + 1 - ns..=i]) >= losses[i + 1 - ns])
    }
}

fn least(losses: &[f64]) -> f64 {
    losses.iter().copied().fold(f64::INFINITY, f64::min)
}
