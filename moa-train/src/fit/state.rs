//! What a checkpoint keeps of a run, and taking it back.

use super::plan::Plan;
use crate::checkpoint::{self, State};
use crate::miro::Miro;
use crate::optim::Adam;
use crate::swad::{Swad, Tensors};
use anyhow::{Context, Result};
use moa_core::model::{AdapterFolder, Card, Training};
use moa_infer::exit::note;
use std::path::Path;
use std::sync::Arc;

impl Plan {
    /// The trained tensors as they are now, as an adapter folder.
    ///
    /// # Errors
    /// If an environment has no name.
    pub fn adapter(&self, step: u64) -> Result<AdapterFolder> {
        let (config, data) = (&self.config, &self.data);
        let training = Training {
            dataset: data.dataset.name.clone(),
            data_sha256: self.data_sha256.clone(),
            train_envs: data.names(data.train_envs())?,
            test_envs: data.names(data.test_envs.iter().copied())?,
            holdout: config.data.holdout,
            trial_seed: config.data.trial_seed,
            seed: config.train.seed,
            step,
        };
        let (method, classes) = (config.method.clone(), data.dataset.classes.clone());
        let (backbone, preprocess) = (self.backbone.clone(), self.preprocess.clone());
        let card = Card::new(method, classes, backbone, preprocess, training);
        Ok(AdapterFolder { card, tensors: self.weights() })
    }

    /// What trains, as it is now; shared, so that it changes with the next step.
    pub(super) fn weights(&self) -> Tensors {
        let all = self.model.trainable().iter();
        all.map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
    }

    /// Sets what trains.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub(super) fn set_weights(&self, tensors: &Tensors) -> Result<()> {
        for (name, var) in self.model.trainable() {
            let tensor = tensors.get(name).with_context(|| format!("`{name}` is missing"))?;
            var.set(&tensor.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// All that a checkpoint keeps besides the weights of the model.
    pub(super) fn optimizer(&self, adam: &Adam) -> Tensors {
        let mut all = adam.tensors();
        all.extend(self.miro.iter().flat_map(Miro::tensors));
        all
    }

    /// Takes model, optimiser and counters back from the newest whole checkpoint in
    /// `dir`; without one everything stays as it is.
    ///
    /// # Errors
    /// If there are checkpoints but none is whole, or it is of another run.
    pub(super) fn restore(&mut self, dir: &Path, adam: &mut Adam) -> Result<(State, Option<Swad>)> {
        let (found, damaged) = checkpoint::read_newest(dir)?;
        damaged.iter().for_each(note);
        let new = Swad::new(&self.config.swad);
        let Some(found) = found else { return Ok((State::default(), new)) };
        let hash = &found.adapter.card.backbone.sha256;
        anyhow::ensure!(
            *hash == self.backbone.sha256,
            "{}: the run used another backbone (sha256 {hash:.12}..., not {:.12}...)",
            dir.display(),
            self.backbone.sha256
        );
        anyhow::ensure!(
            found.adapter.card.training.data_sha256 == self.data_sha256,
            "{}: images were added, removed or renamed since the run began, so its splits would \
             change; put them back, or start anew with another --out",
            self.data.dataset.root.display()
        );
        self.set_weights(&found.adapter.tensors)?;
        // The folder may have another name by now; the results go on under the first.
        Arc::make_mut(&mut self.data.dataset).name = found.adapter.card.training.dataset;
        let mut state = found.state;
        anyhow::ensure!(
            state.step <= self.config.train.steps && (state.step > 0 || !state.pending_eval),
            "{}: a checkpoint of step {} is not of this run of {} steps",
            dir.display(),
            state.step,
            self.config.train.steps
        );
        let of_miro = |name: &String| name.contains("miro.");
        let (miro, own): (Tensors, Tensors) =
            found.optimizer.into_iter().partition(|(name, _)| of_miro(name));
        let other = || format!("{}: the optimiser's state is of another method", dir.display());
        adam.restore(own, state.step).with_context(other)?;
        if let Some(term) = &mut self.miro {
            term.restore(miro, state.step).with_context(other)?;
        }
        let swad = match state.swad.take() {
            Some(numbers) => Swad::restore(&self.config.swad, numbers, found.swad, &self.device)?,
            None => new,
        };
        Ok((state, swad))
    }
}
