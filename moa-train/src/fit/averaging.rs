//! The end of a run with SWAD: its average as an adapter in `swad/`, with its evaluation.

use super::evaluation;
use super::progress::Progress;
use super::record::{record, summary};
use super::run::Run;
use super::signals::StopFlag;
use crate::protocol::results::{RESULTS_FILE, append_record};
use crate::swad::{FOLDER, SwadRule, Tensors};
use anyhow::Result;
use candle_core::Tensor;
use moa_core::files::replace_dir;
use moa_infer::exit::note;
use moa_infer::predictor::Predictor;
use serde_json::json;
use std::time::Instant;

impl Run {
    /// Evaluates and writes the average, unless it is there; false if a signal came first.
    pub(super) fn average(&mut self, stop: &StopFlag, progress: &mut Progress) -> Result<bool> {
        let folder = self.dir.join(FOLDER);
        let Some(swad) = self.swad.clone().filter(|_| !folder.exists()) else { return Ok(true) };
        let Some((average, choice)) = swad.finish()? else {
            note("SWAD: the validation loss did not converge; there is no average");
            return Ok(true);
        };
        // Copies: setting a variable writes over what it shares.
        let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.copy()?));
        let last: Tensors = self.plan.weights().into_iter().map(copy).collect::<Result<_>>()?;
        self.plan.set_weights(&average)?;
        let (plan, cache, started) = (&self.plan, self.cache.as_mut(), Instant::now());
        let predictor = Predictor::of(plan.model.clone(), plan.preprocess.clone(), &plan.device);
        let found = evaluation::run(&predictor, &plan.data, &plan.config, cache, stop)?;
        if let Some(evaluation) = &found {
            let at = self.state.step - 1;
            let mut adapter = plan.adapter(at)?;
            adapter.card.temperature = Some(evaluation.temperature);
            let mut record = record(plan, &self.state, at, evaluation);
            record.loss = None; // of the steps, not of the average
            record.args.algorithm += match plan.config.swad.rule {
                SwadRule::Textbook => " + SWAD (textbook)",
                _ => " + SWAD",
            };
            replace_dir(&folder, |dir| -> Result<()> {
                adapter.write_into(dir)?;
                Ok(append_record(&dir.join(RESULTS_FILE), &record)?)
            })?;
            self.events.line(&json!({
                "kind": "swad",
                "segments": choice.added,
                "threshold": choice.threshold,
                "train_out": evaluation.train_out,
            }))?;
            let line = format!(
                "SWAD of {} segment(s): {}",
                choice.added.len(),
                summary(plan, at, evaluation, false)
            );
            progress.evaluated(&line, started.elapsed().as_secs_f64());
        }
        self.plan.set_weights(&last)?;
        Ok(found.is_some())
    }
}
