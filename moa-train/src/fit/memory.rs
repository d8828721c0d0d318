//! How much memory a run will take, roughly.

use super::plan::Plan;
use crate::swad::SwadRule;
use moa_core::method::{LinearName, Trains};

/// Bytes at the peak of a training step: weights, optimiser, what the backward
/// pass keeps of every block from the first trained one on, gradients in flight,
/// batches read ahead and what evaluation keeps.
pub fn estimate(plan: &Plan) -> usize {
    let (config, method) = (&plan.model.vit.config, &plan.config.method);
    let batch = plan.config.train.batch_per_env * plan.data.train_envs().count();
    let (rows, cols) = config.grid();
    let tokens = batch * (rows * cols + 1 + config.registers);
    let (d, h) = (config.dim, config.mlp_hidden);
    let everything = method.trains == Trains::Everything;
    let touched = |which, block| everything || method.places(which, block, config.depth);
    let first = method.first_trained(config.depth);
    let routed = method.router.as_ref().map_or(0, |router| router.dim);
    let recompute = plan.config.train.checkpoint_activations;
    // Per token: the residual stream and qkv always, more where something trains.
    let kept_of = |block| {
        let adapted = |which| if touched(which, block) { 1 } else { 0 };
        let (qkv, proj) = (adapted(LinearName::Qkv), adapted(LinearName::Proj));
        let mlp = adapted(LinearName::Fc1).max(adapted(LinearName::Fc2));
        let inner = if mlp == 1 { 2 * d + 2 * h } else { usize::from(!recompute) * h };
        let routers: usize = LinearName::ALL.into_iter().map(adapted).sum();
        5 * d + qkv * d + proj * 2 * d + inner + routers * routed
    };
    let saved = tokens * (first..config.depth).map(kept_of).sum::<usize>();
    let running = tokens * (4 * d + 3 * h);
    let weights: usize = config.tensors().iter().map(|(_, s)| s.iter().product::<usize>()).sum();
    let trained = plan.model.trainable_parameters() + plan.head_parameters();
    let swad = &plan.config.swad;
    let averages = match swad.rule {
        SwadRule::Off => 0,
        _ => swad.n_converge.max(swad.n_tolerance) + 3,
    };
    let ahead = 12 * batch * plan.preprocess.height * plan.preprocess.width;
    let kept = plan.kept.as_ref().map_or(0, |kept| kept.bytes);
    kept + 4 * (saved + running + weights + (4 + averages) * trained + ahead)
}
