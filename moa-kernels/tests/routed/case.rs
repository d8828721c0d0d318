//! One case per rule of the method, and its tensors.

use crate::common::{Arg, arg, normal};
use moa_kernels::routing::Gating;

/// One rule of the method.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub kronecker: bool,
    pub cosine: bool,
    pub top_k: usize,
    pub renormalise: bool,
    pub noise: bool,
    pub dropped: bool,
    pub max_threshold: bool,
    pub temperature: f64,
    /// The layer shares no work with the router's projection.
    pub alone: bool,
}

pub const PLAIN: Case = Case {
    name: "plain",
    kronecker: false,
    cosine: true,
    top_k: 1,
    renormalise: false,
    noise: true,
    dropped: false,
    max_threshold: false,
    temperature: 0.7,
    alone: false,
};

pub const CASES: &[Case] = &[
    PLAIN,
    Case { name: "evaluation", noise: false, ..PLAIN },
    Case { name: "linear router", cosine: false, ..PLAIN },
    Case { name: "alone", alone: true, ..PLAIN },
    Case { name: "alone, linear router", alone: true, cosine: false, ..PLAIN },
    Case { name: "top 2", top_k: 2, ..PLAIN },
    Case { name: "top 2 renormalised", top_k: 2, renormalise: true, ..PLAIN },
    Case {
        name: "all renormalised, max",
        top_k: 3,
        renormalise: true,
        max_threshold: true,
        ..PLAIN
    },
    Case { name: "temperature above the cap", temperature: 5.0, noise: false, ..PLAIN },
    Case { name: "kronecker", kronecker: true, ..PLAIN },
    Case { name: "kronecker, drop connect", kronecker: true, dropped: true, ..PLAIN },
    Case {
        name: "kronecker, linear, top 2 renormalised, drop connect",
        kronecker: true,
        cosine: false,
        top_k: 2,
        renormalise: true,
        dropped: true,
        ..PLAIN
    },
];

pub const TOKENS: usize = 11;
pub const WIDTH: usize = 12;
pub const OUT: usize = 18;
pub const T: usize = 3;
pub const P: usize = 5;
pub const RANKS: [usize; 3] = [1, 4, 2];
pub const STD: f64 = 1.0 / 3.0;

impl Case {
    pub fn args(&self) -> Vec<Arg> {
        let mut args = vec![arg(1, &[TOKENS, WIDTH], 1.0)];
        if self.cosine {
            args.push(arg(2, &[P, WIDTH], 0.4));
            args.push(arg(3, &[P], 0.2));
            args.push(arg(4, &[P, RANKS.len()], 0.5));
            args.push(Arg(vec![self.temperature], vec![1]));
        } else {
            args.push(arg(2, &[RANKS.len(), WIDTH], 0.4));
        }
        if self.kronecker {
            args.push(arg(5, &[T, T, 1], 0.7));
            args.push(arg(6, &[T, 1, T], 0.7));
        }
        for (e, &r) in RANKS.iter().enumerate() {
            let seed = 10 + e as u64;
            if self.kronecker {
                args.push(arg(seed, &[T, WIDTH / T, r], 0.6));
                args.push(arg(seed + 10, &[T, r, OUT / T], 0.6));
            } else {
                args.push(arg(seed, &[r, WIDTH], 0.4));
                args.push(arg(seed + 10, &[OUT, r], 0.6));
            }
        }
        args.push(arg(7, &[OUT], 0.3));
        args
    }

    pub fn weight(&self) -> Vec<f64> {
        normal(50, OUT * WIDTH, 0.3)
    }

    pub fn noise(&self) -> Vec<f64> {
        if self.noise { normal(51, TOKENS * RANKS.len(), STD) } else { Vec::new() }
    }

    pub fn keep(&self) -> Vec<u8> {
        let coins = normal(52, RANKS.len() * WIDTH * OUT, 1.0);
        coins.iter().map(|&z| u8::from(z > 0.0)).collect()
    }

    pub fn gating(&self) -> Gating {
        Gating { top_k: self.top_k, renormalise: self.renormalise }
    }

    pub fn router_args(&self) -> usize {
        if self.cosine { 5 } else { 2 }
    }
}
