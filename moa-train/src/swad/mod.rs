//! SWAD: the average of a run's weights over the flat part of its validation loss, of what trains
//! alone. It needs the segments of the last evaluations in memory, each as large as the adapter.

mod rule;

pub use rule::{Choice, SwadConfig, SwadRule};

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Folder of the average inside that of its run.
pub const FOLDER: &str = "swad";

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Averages so far.
#[derive(Clone, Debug)]
pub struct Swad {
    config: SwadConfig,
    state: SwadState,
    /// Mean of the steps since the last evaluation.
    current: Tensors,
    /// Means of segments that may still be added, by number.
    segments: BTreeMap<usize, Tensors>,
    /// Mean of what was added.
    sum: Tensors,
}

/// The numbers among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwadState {
    /// Validation loss of each segment.
    pub losses: Vec<f64>,
    /// Steps in the segment at work.
    pub steps: u64,
    /// Segments that were added.
    pub added: usize,
}

impl Swad {
    /// Nothing yet; `None` if it is off.
    pub fn new(config: &SwadConfig) -> Option<Self> {
        let (state, config) = (SwadState::default(), config.clone());
        let (current, segments, sum) = Default::default();
        (config.rule != SwadRule::Off).then_some(Self { config, state, current, segments, sum })
    }

    /// Takes the weights after a step.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn step(&mut self, weights: &Tensors) -> Result<()> {
        mix(&mut self.current, weights, self.state.steps)?;
        self.state.steps += 1;
        Ok(())
    }

    /// Ends a segment with its validation loss.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn close(&mut self, loss: f64) -> Result<()> {
        let number = self.state.losses.len();
        self.segments.insert(number, std::mem::take(&mut self.current));
        self.state.losses.push(loss);
        self.state.steps = 0;
        let choice = self.config.choose(&self.state.losses, false);
        self.add(&choice)?;
        // The begin of the valley may be all that there is in the end.
        let reach = self.config.n_converge.max(self.config.n_tolerance);
        let base = choice.base;
        self.segments.retain(|&n, _| n + reach > number || Some(n) == base);
        Ok(())
    }

    /// The average, and what it is of; `None` if by the textbook there is no valley.
    ///
    /// # Errors
    /// Only if the device fails.
    pub fn finish(mut self) -> Result<Option<(Tensors, Choice)>> {
        let choice = self.config.choose(&self.state.losses, true);
        self.add(&choice)?;
        Ok((!choice.added.is_empty()).then_some((self.sum, choice)))
    }

    fn add(&mut self, choice: &Choice) -> Result<()> {
        for number in choice.added.iter().skip(self.state.added) {
            let Some(segment) = self.segments.get(number) else {
                candle_core::bail!("SWAD: segment {number} was let go too early");
            };
            mix(&mut self.sum, segment, self.state.added as u64)?;
            self.state.added += 1;
        }
        Ok(())
    }

    /// For a checkpoint: the numbers, and all tensors.
    pub fn save(&self) -> (SwadState, Tensors) {
        let named = |prefix: String, tensors: &Tensors| {
            let name = |(n, t): (&String, &Tensor)| (format!("{prefix}.{n}"), t.clone());
            tensors.iter().map(name).collect::<Vec<_>>()
        };
        let mut all: Tensors = named("current".into(), &self.current).into_iter().collect();
        all.extend(named("sum".into(), &self.sum));
        for (number, tensors) in &self.segments {
            all.extend(named(format!("segment-{number}"), tensors));
        }
        (self.state.clone(), all)
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// If a tensor belongs nowhere, or cannot be put on the device.
    pub fn restore(
        config: &SwadConfig,
        state: SwadState,
        tensors: Tensors,
        device: &candle_core::Device,
    ) -> Result<Option<Self>> {
        let Some(mut swad) = Self::new(config) else { return Ok(None) };
        swad.state = state;
        for (name, tensor) in tensors {
            let (place, rest) = name.split_once('.').unwrap_or((&name, ""));
            let number = place.strip_prefix("segment-").and_then(|n| n.parse().ok());
            let to = match (place, number) {
                ("current", _) => &mut swad.current,
                ("sum", _) => &mut swad.sum,
                (_, Some(number)) => swad.segments.entry(number).or_default(),
                _ => candle_core::bail!("SWAD: no place for {name}"),
            };
            to.insert(rest.into(), tensor.to_device(device)?);
        }
        Ok(Some(swad))
    }
}

/// The running mean of `count` values and one more.
fn mix(mean: &mut Tensors, more: &Tensors, count: u64) -> Result<()> {
    for (name, tensor) in more {
        let next = match mean.get(name) {
            Some(mean) if count > 0 => (mean + ((tensor - mean)? / (count + 1) as f64)?)?,
            _ => tensor.copy()?,
        };
        mean.insert(name.clone(), next);
    }
    Ok(())
}
