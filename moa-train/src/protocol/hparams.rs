//! DomainBed's hyper-parameters of plain fine-tuning ("ERM"): defaults and
//! random draws (`domainbed.hparams_registry`).

use serde::Serialize;

use moa_infer::split::mt19937::RandomState;
use moa_infer::split::seed::seed_hash;

/// The hyper-parameters that a fine-tuning run has in common with DomainBed.
/// The names are DomainBed's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HParams {
    /// Adam's learning rate.
    pub lr: f64,
    /// Samples of each training environment in a step.
    pub batch_size: usize,
    /// Adam's weight decay.
    pub weight_decay: f64,
    /// Dropout in front of the classification head, whatever the backbone.
    pub resnet_dropout: f64,
}

impl Default for HParams {
    fn default() -> Self {
        Self { lr: 5e-5, batch_size: 32, weight_decay: 0.0, resnet_dropout: 0.0 }
    }
}

impl HParams {
    /// The hyper-parameters of `hparams_seed` in trial `trial_seed`: 0 stands
    /// for the defaults, with no draw. `dataset` is DomainBed's class name;
    /// `"DomainNet"` has a smaller largest batch.
    pub fn of_seed(dataset: &str, hparams_seed: u64, trial_seed: u64) -> Self {
        match registry_seed(hparams_seed, trial_seed) {
            Some(seed) => Self::random(dataset, seed),
            None => Self::default(),
        }
    }

    /// `random_hparams("ERM", dataset, seed)`: each from a generator of its own.
    pub fn random(dataset: &str, seed: u32) -> Self {
        let of = |name: &str| RandomState::new(seed_hash(&[seed.into(), name.into()]));
        let largest = if dataset == "DomainNet" { 5.0 } else { 5.5 };
        Self {
            lr: 10f64.powf(of("lr").uniform(-5.0, -3.5)),
            batch_size: 2f64.powf(of("batch_size").uniform(3.0, largest)) as usize,
            weight_decay: 10f64.powf(of("weight_decay").uniform(-6.0, -2.0)),
            resnet_dropout: of("resnet_dropout").choice(&[0.0, 0.1, 0.5]).unwrap_or(0.0),
        }
    }
}

/// The seed that DomainBed's `train.py` hands to `random_hparams`; `None` for
/// `hparams_seed` 0.
pub fn registry_seed(hparams_seed: u64, trial_seed: u64) -> Option<u32> {
    (hparams_seed != 0).then(|| seed_hash(&[hparams_seed.into(), trial_seed.into()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `hparams` of a run that DomainBed ships (`misc/test_sweep_data`).
    #[test]
    fn a_published_run() {
        let drawn = HParams::of_seed("VLCS", 1, 0);
        assert!((drawn.lr / 2.702_893_074_214_870_6e-5 - 1.0).abs() < 1e-14);
        assert_eq!(drawn.batch_size, 39);
        assert!((drawn.weight_decay / 0.000_448_328_838_816_099_76 - 1.0).abs() < 1e-14);
        assert_eq!(drawn.resnet_dropout, 0.5);
    }

    #[test]
    fn seed_0_is_the_defaults() {
        assert_eq!(HParams::of_seed("PACS", 0, 2), HParams::default());
        assert_eq!(registry_seed(0, 2), None);
    }

    #[test]
    fn domain_net_batches_are_at_most_32() {
        let largest = (1..200).map(|h| HParams::of_seed("DomainNet", h, 0).batch_size).max();
        assert_eq!(largest, Some(31));
        let largest = (1..200).map(|h| HParams::of_seed("PACS", h, 0).batch_size).max();
        assert!((40..46).contains(&largest.unwrap_or(0)));
    }
}
