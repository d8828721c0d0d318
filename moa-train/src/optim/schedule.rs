//! The learning rate of a step.

use crate::config::{OptimConfig, ScheduleKind};

/// The learning rate of step `step` (from 0) of `steps`: a linear rise over the
/// warm-up, then constant or half a cosine that would reach 0 at `steps`.
pub fn learning_rate(config: &OptimConfig, step: u64, steps: u64) -> f64 {
    if step < config.warmup {
        return config.lr * (step + 1) as f64 / config.warmup as f64;
    }
    match config.schedule {
        ScheduleKind::Constant => config.lr,
        ScheduleKind::Cosine => {
            let length = steps.saturating_sub(config.warmup).max(1);
            let share = (step - config.warmup) as f64 / length as f64;
            config.lr * 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OptimKind;

    #[test]
    fn warm_up_then_cosine() {
        let config = |schedule, warmup| OptimConfig {
            kind: OptimKind::Adam,
            lr: 2.0,
            weight_decay: 0.0,
            schedule,
            warmup,
        };
        let cosine = config(ScheduleKind::Cosine, 4);
        assert_eq!(learning_rate(&cosine, 0, 12), 0.5);
        assert_eq!(learning_rate(&cosine, 3, 12), 2.0);
        assert_eq!(learning_rate(&cosine, 4, 12), 2.0);
        assert!((learning_rate(&cosine, 8, 12) - 1.0).abs() < 1e-12);
        assert!(learning_rate(&cosine, 11, 12) < 0.1);
        assert_eq!(learning_rate(&config(ScheduleKind::Constant, 0), 7, 12), 2.0);
    }
}
