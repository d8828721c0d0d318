//! Routers, gates, the balance loss and both kinds of experts against the
//! token-by-token reference, one case per rule of the method.

#![allow(clippy::unwrap_used)]

mod case;
#[path = "../common/mod.rs"]
mod common;
mod kronecker;
mod ways;

use candle_core::{DType, Tensor};
use case::{CASES, STD, TOKENS};
use common::{check, tensor, values};
use moa_kernels::reference;
use moa_kernels::routing::{Balance, Gating, Routing, Threshold, balance_loss};

#[test]
fn outputs_and_all_gradients() {
    for case in CASES {
        let name = format!("routed: {}", case.name);
        check(&name, &case.args(), |t| case.layer(t), |v| case.reference(v).y);
    }
}

#[test]
fn router_and_layer_at_once() {
    for case in CASES {
        let name = format!("routed: {} at once", case.name);
        check(&name, &case.args(), |t| case.at_once(t), |v| case.reference(v).y);
    }
}

#[test]
fn balance_loss_and_its_gradients() {
    for case in CASES {
        let mut args = case.args();
        args.truncate(case.router_args());
        let balance = Balance {
            weight: 0.1,
            noise_std: STD,
            threshold: if case.max_threshold { Threshold::Max } else { Threshold::Kth },
        };
        let all = case.args();
        check(
            case.name,
            &args,
            |t| {
                let apart = balance_loss(&case.routing(t)?, balance)?;
                let routing = case.router(t).route(&t[0], &case.choice())?;
                let whole = balance_loss(&routing, balance)?;
                (apart.to_dtype(whole.dtype())? + whole)? * 0.5
            },
            |v| {
                let rest = all[case.router_args()..].iter().map(|a| a.0.clone());
                vec![case.reference(&v.iter().cloned().chain(rest).collect::<Vec<_>>()).aux]
            },
        );
    }
}

#[test]
fn choices_and_gates() {
    for case in CASES {
        let args = case.args();
        let t: Vec<Tensor> = args.iter().map(|a| tensor(&a.0, &a.1, DType::F64)).collect();
        let routing = case.routing(&t).unwrap();
        let wanted = case.reference(&args.iter().map(|a| a.0.clone()).collect::<Vec<_>>());
        let indices: Vec<usize> = values(&routing.indices).iter().map(|&i| i as usize).collect();
        assert_eq!(indices, wanted.indices, "{}", case.name);
        assert!(reference::worst(&values(&routing.gates), &wanted.gates) < 1e-12);
        let counts = routing.tokens_per_expert().unwrap();
        assert_eq!(counts.iter().sum::<u32>() as usize, TOKENS * case.top_k);
    }
}

#[test]
fn ties_go_to_the_first_and_nan_stays_in_range() {
    let scores = tensor(&[1.0, 1.0, 1.0, f64::NAN, f64::NAN, f64::NAN], &[2, 3], DType::F32);
    let gating = Gating { top_k: 2, renormalise: false };
    let routing = Routing::new(&scores, None, gating).unwrap();
    assert_eq!(values(&routing.indices), [0.0, 1.0, 0.0, 1.0]);
    assert!(Routing::new(&scores, None, Gating { top_k: 4, ..gating }).is_err());
    assert!(Routing::new(&scores, None, Gating { top_k: 0, ..gating }).is_err());
}
