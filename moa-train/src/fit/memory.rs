//! How much memory a run will take, roughly.

use super::plan::Plan;
use crate::swad::SwadRule;
use moa_core::adapter::Init;
use moa_core::backbone::Pool;
use moa_core::method::{LinearName, Trains};

/// Batches of images that are alive at the same time: read ahead, joined, on their way.
const AHEAD: usize = 5;
/// The program itself.
const PROGRAM: usize = 16 << 20;

/// Bytes at the peak of a training step: weights, optimiser, what the backward
/// pass keeps of every block from the first trained one on, gradients in flight,
/// batches read ahead and what evaluation keeps. Or of an evaluation, if that is more: it keeps
/// nothing of the blocks, but its batches may be larger, and two more are read ahead.
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
        let mlp = adapted(LinearName::Fc1).max(adapted(LinearName::Fc2));
        let inner = if mlp == 1 { 2 * h } else { usize::from(!recompute) * h };
        let routers: usize = LinearName::ALL.into_iter().map(adapted).sum();
        let class_only = block + 1 == config.depth && config.pool == Pool::Cls;
        // The last MLP then sees a token of each image, unless its own routers look at all.
        let second = if class_only && (routed == 0 || mlp == 0) { 0 } else { d + inner };
        4 * d + adapted(LinearName::Proj) * d + second + routers * routed
    };
    let saved = tokens * (first..config.depth).map(kept_of).sum::<usize>();
    let per_image = 4 * (rows * cols + 1 + config.registers) * (4 * d + 3 * h);
    let weights: usize = config.tensors().iter().map(|(_, s)| s.iter().product::<usize>()).sum();
    let trained = plan.model.trainable_parameters() + plan.head_parameters();
    let swad = &plan.config.swad;
    let averages = match swad.rule {
        SwadRule::Off => 0,
        _ => swad.n_converge.max(swad.n_tolerance) + 3,
    };
    let pixels = 12 * plan.preprocess.height * plan.preprocess.width;
    let training = 4 * saved + batch * (per_image + AHEAD * pixels);
    let mut miro = 0;
    if let Some(term) = &plan.miro {
        // Copies of what trains of the backbone, and features beside each other.
        let own = plan.config.method.trainable(&plan.model.vit.config);
        let copied = own.iter().filter(|(_, (_, init))| *init == Init::Pretrained);
        let copied: usize = copied.map(|(_, (shape, _))| shape.iter().product::<usize>()).sum();
        miro = 4 * (copied + tokens * term.kept_per_token());
    }
    let limit = plan.config.eval.max_images;
    let most = plan.data.evaluated().map(|(env, part)| plan.data.count(env, part, limit)).max();
    let evaluated = plan.config.eval.batch.min(most.unwrap_or(0));
    let evaluation = evaluated * per_image + most.unwrap_or(0).min(AHEAD * evaluated) * pixels;
    let kept = plan.kept.as_ref().map_or(0, |kept| kept.bytes);
    PROGRAM + kept + miro + training.max(evaluation) + 4 * (weights + (4 + averages) * trained)
}
