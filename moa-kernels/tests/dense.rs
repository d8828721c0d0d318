//! The layers of a plain transformer against the reference.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{Arg, arg, check, device, every_way, kernels_run, tensor, values};
use moa_kernels::rng::{Key, Purpose};
use moa_kernels::{
    activation::{Activation, activate},
    attention::attention,
    cross_entropy::cross_entropy,
    dropout::dropout,
    layer_norm::layer_norm,
    linear::linear,
    miro::penalty,
    reference,
    residual::residual,
};

#[test]
fn linear_with_and_without_bias() {
    for (rows, width, out) in [(1, 1, 1), (5, 7, 3), (260, 6, 5)] {
        let args = [arg(1, &[rows, width], 1.0), arg(2, &[out, width], 0.3), arg(3, &[out], 1.0)];
        check(
            "linear",
            &args,
            |t| linear(&t[0], &t[1], Some(&t[2])),
            |v| reference::linear(&v[0], &v[1], &v[2], width),
        );
        check(
            "linear without bias",
            &args[..2],
            |t| linear(&t[0], &t[1], None),
            |v| reference::linear(&v[0], &v[1], &[], width),
        );
    }
}

#[test]
fn linear_of_a_batch_of_sequences_and_of_a_view() {
    check(
        "linear, transposed input",
        &[arg(4, &[6, 5], 1.0), arg(5, &[4, 6], 1.0)],
        |t| linear(&t[0].t()?.reshape((1, 5, 6))?, &t[1], None),
        |v| {
            let x: Vec<f64> = (0..30).map(|i| v[0][i % 6 * 5 + i / 6]).collect();
            reference::linear(&x, &v[1], &[], 6)
        },
    );
}

#[test]
fn layer_norm_trains_input_and_affine() {
    for (rows, width) in [(1, 3), (7, 20), (260, 8)] {
        check(
            "layer norm",
            &[arg(6, &[rows, width], 2.0), arg(7, &[width], 1.0), arg(8, &[width], 1.0)],
            |t| layer_norm(&t[0], &t[1], &t[2], 1e-6),
            |v| reference::layer_norm(&v[0], &v[1], &v[2], 1e-6),
        );
    }
}

#[test]
fn attention_of_odd_sizes() {
    for (batch, tokens, queries, heads, width) in
        [(1, 1, 1, 1, 2), (2, 5, 5, 3, 4), (3, 17, 17, 2, 8), (3, 17, 1, 2, 8), (2, 19, 9, 1, 4)]
    {
        let row = 3 * heads * width;
        check(
            "attention",
            &[arg(9, &[batch, tokens, row], 1.0)],
            |t| attention(&t[0], heads, queries),
            |v| {
                let images = v[0].chunks(tokens * row);
                let first = |image| {
                    reference::attention(image, tokens, heads)[..queries * heads * width].to_vec()
                };
                images.flat_map(first).collect()
            },
        );
    }
}

#[test]
fn activations() {
    let x = arg(10, &[3, 40], 2.0);
    let edge = Arg(vec![-30.0, -6.0, -1.0, 0.0, 1e-3, 6.0, 30.0, 100.0], vec![1, 8]);
    for x in [x, edge] {
        let one = [Arg(x.0.clone(), x.1.clone())];
        let map = |f: fn(f64) -> f64| move |v: &[Vec<f64>]| v[0].iter().map(|&x| f(x)).collect();
        check("gelu", &one, |t| activate(&t[0], Activation::Gelu), map(reference::gelu));
        let quick = |t: &[Tensor]| activate(&t[0], Activation::QuickGelu);
        check("quick gelu", &one, quick, map(reference::quick_gelu));
        let (half, swiglu) = (x.1[1] / 2, |t: &[Tensor]| activate(&t[0], Activation::SwiGlu));
        check("swiglu", &one, swiglu, |v| reference::swiglu(&v[0], half));
    }
}

#[test]
fn residual_with_and_without_layer_scale() {
    let args = [arg(11, &[2, 3, 5], 1.0), arg(12, &[2, 3, 5], 1.0), arg(13, &[5], 0.5)];
    check(
        "residual",
        &args[..2],
        |t| residual(&t[0], &t[1], None),
        |v| reference::residual(&v[0], &v[1], &[1.0]),
    );
    check(
        "residual with layer scale",
        &args,
        |t| residual(&t[0], &t[1], Some(&t[2])),
        |v| reference::residual(&v[0], &v[1], &v[2]),
    );
}

#[test]
fn cross_entropy_of_labels() {
    let labels = [0, 4, 2, 4, 1];
    check(
        "cross entropy",
        &[arg(14, &[5, 5], 3.0)],
        |t| cross_entropy(&t[0], &labels),
        |v| vec![reference::cross_entropy(&v[0], &labels)],
    );
}

#[test]
fn distance_from_pretrained_features() {
    for (rows, width) in [(1, 1), (7, 5), (300, 6)] {
        let target = arg(16, &[rows, width], 1.0);
        let fixed = |like: &Tensor| tensor(&target.0, &target.1, like.dtype());
        check(
            "miro",
            &[arg(15, &[rows, width], 1.0), arg(17, &[width], 2.0)],
            |t| penalty(&t[0], &fixed(&t[0]).to_device(t[0].device())?, &t[1]),
            |v| vec![reference::miro(&v[0], &target.0, &v[1])],
        );
    }
}

#[test]
fn dropout_keeps_the_share_and_the_mean() {
    let x = Tensor::ones((200, 300), candle_core::DType::F32, &Device::Cpu).unwrap();
    let key = Key::new(5, Purpose::HeadDropout, 9);
    let y = dropout(&x, 0.25, key).unwrap();
    let mean = y.mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    assert_eq!(common::values(&y), common::values(&dropout(&x, 0.25, key).unwrap()));
    assert!(dropout(&x, 1.0, key).is_err());
}

#[test]
fn wrong_shapes_are_errors() {
    let t = |shape: &[usize]| arg(1, shape, 1.0);
    let make = |a: Arg| common::tensor(&a.0, &a.1, candle_core::DType::F32);
    let (x, w) = (make(t(&[2, 3])), make(t(&[4, 5])));
    assert!(linear(&x, &w, None).is_err());
    assert!(layer_norm(&x, &make(t(&[2])), &make(t(&[3])), 1e-6).is_err());
    assert!(penalty(&x, &x, &w).is_err());
    assert!(attention(&make(t(&[1, 2, 10])), 3, 2).is_err());
    assert!(activate(&x, Activation::SwiGlu).is_err());
    assert!(cross_entropy(&x, &[0, 3]).is_err());
    assert!(cross_entropy(&x, &[0]).is_err());
    let half = x.to_dtype(candle_core::DType::F16).unwrap();
    assert!(activate(&half, Activation::Gelu).unwrap_err().to_string().contains("F16"));
}

/// On a device, half precision has kernels of its own for heads of 64: as close to single
/// precision on the same numbers as rounding lets them.
#[test]
fn attention_in_half_precision() {
    let cases = [(1, 1, 1, 1), (2, 64, 64, 3), (1, 65, 65, 2), (3, 197, 1, 2), (1, 257, 70, 1)];
    let on_a_device = std::env::var_os("MOA_TEST_DEVICE").map(|_| (2, 197, 197, 12));
    let cases = cases.into_iter().chain(on_a_device).map(|case| (case, false));
    for ((batch, tokens, queries, heads), low) in cases.chain([((1, 17, 17, 1), true)]) {
        let mut qkv = arg(71, &[batch, tokens, 3 * heads * 64], 1.5);
        if low {
            // Products so far below 0 that their exponentials have no place in any type.
            let columns = qkv.0.iter_mut().enumerate();
            columns.for_each(|(i, v)| *v += [3.9, -3.9, 0.0][i / (heads * 64) % 3]);
        }
        let weights = arg(72, &[batch, queries, heads * 64], 1.0);
        for (dtype, bound) in [(DType::BF16, 0.02), (DType::F16, 0.004), (DType::F32, 1e-5)] {
            let run = |qkv: &[f64], w: &[f64], as_type: DType| {
                let x = Var::from_tensor(&tensor(qkv, &[batch, tokens, 3 * heads * 64], as_type));
                let (x, w) = (x.unwrap(), tensor(w, &[batch, queries, heads * 64], as_type));
                let y = attention(x.as_tensor(), heads, queries).unwrap();
                let grads = (&y * w).unwrap().sum_all().unwrap().backward().unwrap();
                [values(&y), values(grads.get(&x).unwrap())]
            };
            // By other kernels or the processor, from the same rounded numbers.
            let [x, w] = [&qkv, &weights].map(|a| values(&tensor(&a.0, &a.1, dtype)));
            let wanted = match common::shim::compiler() {
                Some(_) => common::shim::on_the_shim(|_| run(&x, &w, DType::F32)),
                None => run(&x, &w, DType::F32),
            };
            every_way(|way| {
                // Metal has a kernel of its own for single precision, too.
                let own = dtype != DType::F32 || way.contains("metal");
                if !kernels_run() || !own || (heads == 12 && device().is_cpu()) {
                    return;
                }
                let case = (batch, tokens, queries, heads);
                for (what, (got, wanted)) in
                    ["result", "gradient"].into_iter().zip(run(&x, &w, dtype).iter().zip(&wanted))
                {
                    let gap = distance(got, wanted);
                    assert!(gap < bound, "{what} of {case:?} in {dtype:?} ({way}): {gap}");
                }
            });
        }
    }
}

/// The length of the difference over the length of what is wanted.
fn distance(got: &[f64], wanted: &[f64]) -> f64 {
    let length = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let apart = length(&mut got.iter().zip(wanted).map(|(a, b)| a - b));
    apart / length(&mut wanted.iter().copied())
}
