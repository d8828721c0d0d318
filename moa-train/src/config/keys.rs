//! Every key of the configuration with its meaning: the source of
//! `--help-keys`, of "did you mean" and of `docs/configuration.md`.

/// Key, default as TOML (empty if there is none), meaning.
pub const KEYS: &[(&str, &str, &str)] = &[
    (
        "backbone.spec",
        "",
        "backbone: a folder, a name (`list backbones`) or owner/name[@revision] of the Hub (--backbone)",
    ),
    (
        "method.name",
        "\"paper/kadaptation-moa\"",
        "preset that fills the other method keys (--method)",
    ),
    ("method.trains", "", "backbone tensors that train: nothing, biases, linears, everything"),
    ("method.blocks", "", "\"all\", \"every-two\", \"last-two\" or a list of block numbers"),
    ("method.linears", "", "some of \"qkv\", \"proj\", \"fc1\", \"fc2\""),
    ("method.adapter.kind", "", "lora, kronecker or compacter"),
    ("method.adapter.ranks", "", "one expert per (inner) rank"),
    ("method.adapter.scale", "", "factor of the experts' output"),
    ("method.adapter.bias", "", "a trainable bias beside the experts"),
    ("method.adapter.t", "", "kronecker, compacter: size of the outer factors"),
    ("method.adapter.dropout", "", "kronecker: probability of DropConnect"),
    ("method.adapter.rank_dropout", "", "kronecker: probability that an inner rank is dropped"),
    ("method.adapter.activation", "", "compacter: gelu or none, in its bottleneck"),
    ("method.router.kind", "", "cosine or linear"),
    ("method.router.dim", "", "cosine: width of the projection"),
    ("method.router.bias", "", "cosine: whether the projection has a bias"),
    ("method.router.top_k", "", "experts per token"),
    ("method.router.renormalise", "", "divide the chosen gates by their sum"),
    ("method.router.noise", "", "noise on scores in training, over the number of experts"),
    ("method.router.aux_weight", "", "factor of the balance loss"),
    ("method.router.aux_threshold", "", "kth or max: the gate that the load compares with"),
    ("method.router.temperature", "", "cosine: logarithm of the initial scale"),
    (
        "data.dataset",
        "\"folder\"",
        "pacs, vlcs, office_home, terra_incognita, domain_net or folder (--dataset)",
    ),
    ("data.root", "", "folder of the dataset (--data)"),
    ("data.test_env", "", "environments held out (--test-env)"),
    ("data.holdout", "0.2", "share of every environment kept out for validation"),
    ("data.trial_seed", "0", "seed of the splits (--trial-seed)"),
    ("data.augment", "\"domainbed\"", "domainbed or none"),
    ("data.image_size", "0", "height and width of the input; 0 for the backbone's own"),
    ("data.workers", "0", "threads that read images; 0 for one per core"),
    ("train.steps", "5001", "optimiser steps; 15001 for domain_net (--steps)"),
    ("train.batch_per_env", "32", "images per training environment and micro-batch"),
    ("train.eval_every", "200", "steps between evaluations; 1000 for domain_net"),
    ("train.seed", "0", "seed of initial values, batches, augmentation, noise (--seed)"),
    (
        "train.hparams_seed",
        "0",
        "number of these hyper-parameters in a sweep; results carry it, nothing else changes",
    ),
    ("train.accumulate", "1", "micro-batches per step"),
    ("train.clip", "0.0", "largest norm of the gradients; 0 for no limit"),
    (
        "train.checkpoint_activations",
        "false",
        "less memory for more time, same bits (--checkpoint-activations)",
    ),
    ("train.dtype", "\"f32\"", "type to compute in: f32, or bf16 on a GPU"),
    ("train.device", "\"auto\"", "auto, cpu, cuda, cuda:N or metal (--device)"),
    ("optim.kind", "\"adam\"", "adam or adamw"),
    ("optim.lr", "5e-5", "learning rate"),
    ("optim.weight_decay", "0.0", "weight decay"),
    ("optim.schedule", "\"constant\"", "constant or cosine"),
    ("optim.warmup", "0", "steps over which the learning rate rises from 0"),
    ("checkpoint.every", "200", "steps between checkpoints; 1000 for domain_net"),
    ("checkpoint.keep", "2", "how many checkpoints are kept"),
    ("eval.batch", "64", "images per forward pass"),
    ("eval.max_images", "0", "at most this many images of each split; 0 for all"),
    (
        "eval.cache_features",
        "false",
        "keep what frozen layers give for evaluated images, same bits (--cache-features)",
    ),
    ("eval.cache_limit", "4096", "the most memory that eval.cache_features may take, in MiB"),
    (
        "swad.rule",
        "\"off\"",
        "average weights where the validation loss is flat: published or textbook (SWAD)",
    ),
    ("swad.n_converge", "3", "SWAD: evaluations without a better one that begin the average"),
    ("swad.n_tolerance", "6", "SWAD: evaluations above the threshold that end it"),
    ("swad.tolerance_ratio", "0.3", "SWAD: how far above the loss at its begin; 0.2 for vlcs"),
    (
        "miro.weight",
        "0.0",
        "MIRO: factor of the features' distance from the pretrained network's; 0 for none",
    ),
    ("miro.lr_mult", "10.0", "MIRO: learning rate of its variances over optim.lr"),
    ("head.init", "\"default\"", "default, or zero-shot: from class names, by CLIP's text tower"),
    ("head.template", "\"a photo of a {}.\"", "zero-shot: text around a class name"),
    ("head.tokenizer", "\"\"", "zero-shot: tokenizer file, if not in the backbone's folder"),
    ("head.dropout", "0.0", "probability of dropout in front of the head"),
];

/// The defaults as one TOML table.
pub fn defaults() -> toml::Table {
    let mut table = toml::Table::new();
    for (key, value, _) in KEYS.iter().filter(|(_, value, _)| !value.is_empty()) {
        let text = format!("value = {value}");
        if let Some(value) = text.parse::<toml::Table>().ok().and_then(|mut t| t.remove("value")) {
            super::layers::insert(&mut table, key, value);
        }
    }
    table
}
