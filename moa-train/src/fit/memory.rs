//! How much memory a run will take, roughly.

use super::plan::Plan;
use moa_core::method::{LinearName, Trains};

/// Bytes at the peak of a training step: weights, optimiser, what the backward
/// pass keeps of every block from the first trained one on, gradients in flight
/// and batches read ahead.
pub fn estimate(plan: &Plan) -> usize {
    let (config, method) = (&plan.model.vit.config, &plan.config.method);
    let batch = plan.config.train.batch_per_env * plan.data.train_envs().count();
    let (rows, cols) = config.grid();
    let tokens = batch * (rows * cols + 1 + config.registers);
    let (d, h) = (config.dim, config.mlp_hidden);
    let trains = |block: usize| {
        method.trains == Trains::Everything
            || LinearName::ALL.iter().any(|&which| method.places(which, block, config.depth))
    };
    let kept = (0..config.depth).position(trains).map_or(0, |first| config.depth - first);
    // Per token and block: two norms, qkv, attention, proj, fc1, its activation,
    // fc2 and two residual sums.
    let saved = kept * tokens * (9 * d + 2 * h);
    let running = tokens * (4 * d + 3 * h);
    let weights: usize = config.tensors().iter().map(|(_, s)| s.iter().product::<usize>()).sum();
    let trained = plan.model.trainable_parameters() + plan.head_parameters();
    let ahead = 12 * batch * plan.preprocess.height * plan.preprocess.width;
    4 * (saved + running + weights + 4 * trained + ahead)
}
