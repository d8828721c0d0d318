//! One evaluation of a run: a line of DomainBed's `results.jsonl`.

use serde_json::{Map, Value};

use super::args::Args;
use super::python_json::without_nan;

/// What `domainbed.scripts.train` writes at each evaluation.
///
/// Lines are read whatever else they hold (unknown keys are kept), and the
/// lines written are read by DomainBed's own `collect_results.py`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Training steps done, counted from 0: the last step included.
    pub step: u64,
    /// Passes over the smallest in-part.
    pub epoch: f64,
    /// Mean loss since the last evaluation; NaN in a line that holds `NaN` or
    /// `null`, `None` where the algorithm reports other losses.
    pub loss: Option<f64>,
    /// Mean seconds a step.
    pub step_time: Option<f64>,
    /// Peak accelerator memory, GiB.
    pub mem_gb: Option<f64>,
    /// Accuracies (0 to 1) of the environments in index order.
    pub envs: Vec<EnvAccuracy>,
    /// What identifies the run.
    pub args: Args,
    /// The run's hyper-parameters.
    pub hparams: Map<String, Value>,
    /// All other keys.
    pub extra: Map<String, Value>,
}

/// Accuracies of one environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnvAccuracy {
    /// Of the in-part (`env{i}_in_acc`), where it was measured: a quick
    /// evaluation leaves the in-parts of training environments out.
    pub in_acc: Option<f64>,
    /// Of the held-out part (`env{i}_out_acc`).
    pub out_acc: f64,
}

impl Record {
    /// The accuracy reported for environment `env`: of its in-part.
    pub fn in_acc(&self, env: usize) -> Option<f64> {
        self.envs.get(env)?.in_acc
    }

    /// The accuracy of the held-out part of environment `env`.
    pub fn out_acc(&self, env: usize) -> Option<f64> {
        Some(self.envs.get(env)?.out_acc)
    }

    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with the line, in a few words: not JSON, a key of
    /// DomainBed missing or of another kind, no accuracies of a target.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let mut map: Map<String, Value> =
            serde_json::from_str(&without_nan(line)).map_err(|e| e.to_string())?;
        let args = map.shift_remove("args").ok_or("the key `args` is missing")?;
        let record = Self {
            step: map.shift_remove("step").and_then(|v| v.as_u64()).ok_or("`step` is no count")?,
            epoch: take_number(&mut map, "epoch")?.unwrap_or(f64::NAN),
            loss: take_number(&mut map, "loss")?,
            step_time: take_number(&mut map, "step_time")?,
            mem_gb: take_number(&mut map, "mem_gb")?,
            envs: take_envs(&mut map)?,
            args: serde_json::from_value(args).map_err(|e| format!("`args`: {e}"))?,
            hparams: match map.shift_remove("hparams") {
                Some(Value::Object(hparams)) => hparams,
                None => Map::new(),
                Some(_) => return Err("`hparams` is no table".to_owned()),
            },
            extra: map,
        };
        match record.args.test_envs.iter().find(|&&env| record.in_acc(env).is_none()) {
            Some(env) => Err(format!("no env{env}_in_acc or env{env}_out_acc of target {env}")),
            None => Ok(record),
        }
    }

    /// The line, keys sorted as DomainBed sorts them, without a line end.
    /// Numbers that are not finite are written as `null`.
    ///
    /// # Errors
    /// None that a record can cause; serde's signature.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut map = self.extra.clone();
        map.insert("step".to_owned(), self.step.into());
        map.insert("epoch".to_owned(), self.epoch.into());
        let optional =
            [("loss", self.loss), ("step_time", self.step_time), ("mem_gb", self.mem_gb)];
        map.extend(optional.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?.into()))));
        for (i, env) in self.envs.iter().enumerate() {
            if let Some(in_acc) = env.in_acc {
                map.insert(format!("env{i}_in_acc"), in_acc.into());
            }
            map.insert(format!("env{i}_out_acc"), env.out_acc.into());
        }
        map.insert("args".to_owned(), serde_json::to_value(&self.args)?);
        map.insert("hparams".to_owned(), self.hparams.clone().into());
        let mut line = Value::from(map);
        line.sort_all_objects();
        serde_json::to_string(&line)
    }
}

/// The number under `key`, NaN for `null`, `None` if there is no such key.
fn take_number(map: &mut Map<String, Value>, key: &str) -> Result<Option<f64>, String> {
    match map.shift_remove(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(f64::NAN)),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("`{key}` is no number")),
    }
}

/// Environments 0, 1, ... as long as there is an `env{i}_out_acc`.
fn take_envs(map: &mut Map<String, Value>) -> Result<Vec<EnvAccuracy>, String> {
    let mut envs = Vec::new();
    while let Some(out_acc) = take_number(map, &format!("env{}_out_acc", envs.len()))? {
        let in_acc = take_number(map, &format!("env{}_in_acc", envs.len()))?;
        envs.push(EnvAccuracy { in_acc, out_acc });
    }
    Ok(envs)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// A line of ERM on PACS with the (in, out) accuracies of the environments.
    pub(crate) fn record(test_envs: &[usize], step: u64, envs: &[(f64, f64)]) -> Record {
        let args = serde_json::json!({"algorithm": "ERM", "dataset": "PACS", "trial_seed": 0,
            "hparams_seed": 0, "test_envs": test_envs});
        let accuracy = |&(in_acc, out_acc)| EnvAccuracy { in_acc: Some(in_acc), out_acc };
        Record {
            step,
            epoch: 0.0,
            loss: None,
            step_time: None,
            mem_gb: None,
            envs: envs.iter().map(accuracy).collect(),
            args: serde_json::from_value(args).unwrap(),
            hparams: Map::new(),
            extra: Map::new(),
        }
    }

    const LINE: &str = r#"{"args": {"algorithm": "ERM", "checkpoint_freq": null,
        "data_dir": "d", "dataset": "VLCS", "hparams_seed": 1, "test_envs": [1],
        "trial_seed": 0}, "env0_out_acc": 0.5, "env1_in_acc": 0.25, "env1_out_acc": 1,
        "epoch": 0.0, "hparams": {"lr": 2.7028930742148706e-05}, "loss": NaN, "step": 3,
        "env0_uda_acc": 0.75}"#;

    #[test]
    fn a_foreign_line() {
        let record = Record::from_line(LINE).unwrap();
        assert_eq!(record.step, 3);
        assert!(record.loss.unwrap().is_nan());
        assert_eq!(record.mem_gb, None);
        assert_eq!((record.in_acc(0), record.out_acc(0)), (None, Some(0.5)));
        assert_eq!((record.in_acc(1), record.out_acc(1)), (Some(0.25), Some(1.0)));
        assert_eq!(record.out_acc(2), None);
        assert_eq!((record.args.steps, record.args.holdout_fraction), (None, 0.2));
        assert_eq!(record.args.extra["data_dir"], "d");
        assert_eq!(record.extra["env0_uda_acc"], 0.75);
    }

    #[test]
    fn round_trip() {
        let mut record = Record::from_line(LINE).unwrap();
        record.loss = Some(1.5);
        record.args.env_names = vec!["a".to_owned(), "b".to_owned()];
        let line = record.to_line().unwrap();
        assert_eq!(Record::from_line(&line).unwrap(), record);
        assert!(
            line.starts_with(r#"{"args":{"algorithm":"ERM","checkpoint_freq":null,"#),
            "{line}"
        );
        record.loss = Some(f64::NAN);
        assert!(record.to_line().unwrap().contains(r#""loss":null"#));
    }

    #[test]
    fn what_is_wrong() {
        for (from, to, message) in [
            (r#""step": 3"#, r#""step": -3"#, "`step` is no count"),
            (r#""epoch": 0.0"#, r#""epoch": "x""#, "`epoch` is no number"),
            (r#""algorithm": "ERM","#, "", "`args`: missing field `algorithm`"),
            (r#"{"lr": 2.7028930742148706e-05}"#, "4", "`hparams` is no table"),
            ("[1]", "[2]", "no env2_in_acc or env2_out_acc of target 2"),
            ("[1]", "[0]", "no env0_in_acc or env0_out_acc of target 0"),
        ] {
            assert!(LINE.contains(from), "{from}");
            assert_eq!(Record::from_line(&LINE.replace(from, to)), Err(message.to_owned()));
        }
        assert!(Record::from_line("{").is_err());
    }
}
