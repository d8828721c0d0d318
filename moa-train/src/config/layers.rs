//! Layers of configuration: defaults, dataset, method preset, file, flags,
//! `--set`. A later one wins; each value remembers where it came from.

use super::Config;
use super::keys::{KEYS, defaults};
use moa_core::method::{flatten, preset_text};
use moa_core::suggest::nearest;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// What is wrong with a configuration; one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

type Result<T> = std::result::Result<T, ConfigError>;

/// Where a value came from, by key.
pub type Sources = BTreeMap<String, String>;

/// Configuration being put together.
#[derive(Default)]
pub struct Layers {
    given: Vec<(String, Value, String)>,
}

/// Sets `a.b.c` in a table.
pub fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Reads TOML, `name` being where it comes from.
///
/// # Errors
/// If it is not TOML, with the line.
pub fn parse(text: &str, name: &str) -> Result<Table> {
    text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].lines().count().max(1));
        ConfigError(format!("{name}, line {line}: {}", e.message()))
    })
}

/// Key and value of `--set key=value`. A value that is not TOML is a string.
///
/// # Errors
/// If there is no `=`.
pub fn key_value(text: &str) -> Result<(String, Value)> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(ConfigError(format!("--set {text}: write `key=value`")));
    };
    let parsed = format!("v = {}", value.trim()).parse::<Table>();
    let value = match parsed.ok().and_then(|mut t| t.remove("v")) {
        Some(value) => value,
        None => value.trim().into(),
    };
    Ok((key.trim().into(), value))
}

/// The key that was meant: with a like last name on the same level, or anywhere in the same section;
/// otherwise like the whole.
fn nearest_key(key: &str) -> Option<&'static str> {
    fn parts(key: &str) -> (&str, &str) {
        key.split_at(key.rfind('.').map_or(0, |dot| dot + 1))
    }
    let known = || KEYS.iter().map(|(known, _, _)| *known);
    let (level, name) = parts(key);
    let section = &key[..key.find('.').map_or(0, |dot| dot + 1)];
    let among = |keys: Vec<&'static str>| {
        let near = nearest(name, keys.iter().map(|key| parts(key).1))?;
        keys.into_iter().find(|key| parts(key).1 == near)
    };
    among(known().filter(|known| parts(known).0 == level).collect())
        .or_else(|| among(known().filter(|known| known.starts_with(section)).collect()))
        .or_else(|| nearest(key, known()))
}

impl Layers {
    /// Adds one value.
    ///
    /// # Errors
    /// If there is no such key; the nearest one is named.
    pub fn set(&mut self, key: &str, value: impl Into<Value>, source: &str) -> Result<()> {
        if !KEYS.iter().any(|(known, _, _)| *known == key) {
            let hint = match nearest_key(key) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`moa-train fit --help-keys` lists them all".into(),
            };
            return Err(ConfigError(format!("{source}: unknown key `{key}`; {hint}")));
        }
        self.given.push((key.into(), value.into(), source.into()));
        Ok(())
    }

    /// Adds `key=value` of `--set`.
    ///
    /// # Errors
    /// As [`key_value`], or if there is no such key.
    pub fn set_text(&mut self, text: &str) -> Result<()> {
        let (key, value) = key_value(text)?;
        self.set(&key, value, "--set")
    }

    /// Adds a TOML file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has an unknown key.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|e| ConfigError(format!("{name}: {e}")))?;
        self.table(&parse(&text, &name)?, &name)
    }

    /// Adds all values of a table.
    ///
    /// # Errors
    /// If it has an unknown key.
    pub fn table(&mut self, table: &Table, source: &str) -> Result<()> {
        let mut all = Vec::new();
        flatten("", table, &mut |key, value| all.push((key.to_string(), value.clone())));
        all.into_iter().try_for_each(|(key, value)| self.set(&key, value, source))
    }

    /// The sources that name another method than `name`, which a later one chose.
    fn superseded(&self, name: &str) -> Vec<&str> {
        let names = self.given.iter().filter(|(key, _, _)| key == "method.name");
        let others = names.filter(|(_, value, _)| value.as_str() != Some(name));
        others.map(|(_, _, source)| source.as_str()).collect()
    }

    fn last(&self, key: &str) -> Option<&Value> {
        self.given.iter().rev().find(|(k, _, _)| k == key).map(|(_, value, _)| value)
    }

    /// Puts everything together.
    ///
    /// # Errors
    /// If a preset does not exist, a key without default is not given, or a value
    /// has the wrong type or is out of range.
    pub fn resolve(self) -> Result<(Config, Sources)> {
        let mut table = defaults();
        let mut sources = Sources::new();
        for (key, _, _) in KEYS.iter().filter(|(_, value, _)| !value.is_empty()) {
            sources.insert((*key).into(), "default".into());
        }
        let mut put = |key: &str, value: Value, source: &str| {
            insert(&mut table, key, value);
            sources.insert(key.into(), source.into());
        };
        let dataset = self.last("data.dataset").and_then(Value::as_str).unwrap_or("folder");
        if dataset == "domain_net" {
            put("train.steps", 15001.into(), "dataset domain_net");
            put("train.eval_every", 1000.into(), "dataset domain_net");
            put("checkpoint.every", 1000.into(), "dataset domain_net");
        }
        if dataset == "vlcs" {
            put("swad.tolerance_ratio", 0.2.into(), "dataset vlcs");
        }
        let method = self.last("method.name").and_then(Value::as_str);
        let method = method.unwrap_or("paper/kadaptation-moa");
        let text = preset_text(method).map_err(|e| ConfigError(e.to_string()))?;
        let preset: Table = text.parse().unwrap_or_default();
        flatten("method.", &preset, &mut |key, value| {
            put(key, value.clone(), &format!("preset {method}"));
        });
        let superseded = self.superseded(method);
        for (key, value, source) in &self.given {
            // Settings of another method, in the file of another run say.
            if superseded.contains(&source.as_str())
                && key.starts_with("method.")
                && key != "method.name"
            {
                continue;
            }
            put(key, lenient(key, value), source);
        }
        for (key, flag) in [
            ("backbone.spec", "--backbone"),
            ("data.root", "--data"),
            ("data.test_env", "--test-env"),
        ] {
            if !sources.contains_key(key) {
                return Err(ConfigError(format!("{key} is not set; give {flag}")));
            }
        }
        let config: Config = read(table, &sources)?;
        config.check().map_err(ConfigError)?;
        // What the preset leaves out has the program's default.
        let table = Table::try_from(&config).map_err(|e| ConfigError(e.to_string()))?;
        flatten("", &table, &mut |key, _| {
            sources.entry(key.into()).or_insert_with(|| "default".into());
        });
        Ok((config, sources))
    }
}

/// Deserialises, naming the key and its source if a value does not fit.
fn read(table: Table, sources: &Sources) -> Result<Config> {
    let text = toml::to_string(&table).map_err(|e| ConfigError(e.to_string()))?;
    toml::from_str(&text).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start).min(text.len());
        let key = key_at(&text, at);
        let source = sources.get(&key).map(|s| format!("{s}: ")).unwrap_or_default();
        let reason = e.message().lines().next().unwrap_or_default().to_string();
        ConfigError(format!("{source}{key}: {reason}"))
    })
}

/// The key of the value at a byte of a TOML text.
fn key_at(text: &str, at: usize) -> String {
    let mut table = "";
    let mut start = 0;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = name;
        }
        if at < start + line.len() + 1 {
            let key = line.split('=').next().unwrap_or_default().trim();
            return match key.starts_with('[') || key.is_empty() {
                true => table.into(),
                false => format!("{table}.{key}"),
            };
        }
        start += line.len() + 1;
    }
    table.into()
}

/// The value that was meant: TOML has no "number", so an integer may stand for a
/// fraction; and one value, or several with commas, for a list.
fn lenient(key: &str, value: &Value) -> Value {
    const LISTS: [&str; 3] = ["data.test_env", "method.linears", "method.adapter.ranks"];
    match value {
        Value::Integer(n) if is_fraction(key) => Value::Float(*n as f64),
        Value::Integer(_) if LISTS.contains(&key) => Value::Array(vec![value.clone()]),
        Value::String(text) if LISTS.contains(&key) => {
            text.split(',').map(|part| Value::from(part.trim())).collect::<Vec<_>>().into()
        }
        value => value.clone(),
    }
}

fn is_fraction(key: &str) -> bool {
    let number = |value: &str| value.contains('.') || value.contains('e');
    let default = KEYS.iter().find(|(k, _, _)| *k == key).map_or("", |(_, default, _)| default);
    (number(default) && default.parse::<f64>().is_ok())
        || [
            "adapter.scale",
            "adapter.dropout",
            "adapter.rank_dropout",
            "router.noise",
            "router.aux_weight",
            "router.temperature",
        ]
        .iter()
        .any(|end| key == format!("method.{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Layers {
        let mut layers = Layers::default();
        layers.set("backbone.spec", "tiny", "--backbone").unwrap();
        layers.set("data.root", "images", "--data").unwrap();
        layers.set("data.test_env", vec!["sketch"], "--test-env").unwrap();
        layers
    }

    #[test]
    fn defaults_are_the_papers() {
        let (config, sources) = minimal().resolve().unwrap();
        assert_eq!((config.train.steps, config.train.batch_per_env), (5001, 32));
        assert_eq!((config.optim.lr, config.train.eval_every), (5e-5, 200));
        assert_eq!(config.method.name, "paper/kadaptation-moa");
        assert_eq!(sources["optim.lr"], "default");
        assert_eq!(sources["method.adapter.ranks"], "preset paper/kadaptation-moa");
    }

    #[test]
    fn every_key_is_one_of_the_list() {
        let (config, _) = minimal().resolve().unwrap();
        let table = Table::try_from(config).unwrap();
        flatten("", &table, &mut |key, _| {
            assert!(KEYS.iter().any(|(known, _, _)| *known == key), "{key} is not listed");
        });
    }

    #[test]
    fn later_layers_win_and_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.toml");
        std::fs::write(&file, "[optim]\nlr = 1\n[method.router]\ntop_k = 2\n").unwrap();
        let mut layers = minimal();
        layers.set("data.dataset", "domain_net", "--dataset").unwrap();
        layers.file(&file).unwrap();
        layers.set_text("method.router.top_k=3").unwrap();
        layers.set_text("data.augment = none").unwrap();
        let (config, sources) = layers.resolve().unwrap();
        assert_eq!((config.optim.lr, config.train.steps), (1.0, 15001));
        assert_eq!(config.method.router.unwrap().top_k, 3);
        assert_eq!(config.data.augment, crate::config::Augment::None);
        assert_eq!(sources["method.router.top_k"], "--set");
        assert!(sources["optim.lr"].ends_with("run.toml"));
    }

    #[test]
    fn another_method_leaves_the_settings_of_the_first_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.toml");
        let text = "[method]\nname = \"lora-moa\"\n[method.router]\ntop_k = 2\n[optim]\nlr = 1.0\n";
        std::fs::write(&file, text).unwrap();
        let resolved = |method: &str| {
            let mut layers = minimal();
            layers.file(&file).unwrap();
            layers.set("method.name", method, "--method").unwrap();
            layers.set_text("method.blocks=last-two").unwrap();
            layers.resolve().unwrap().0
        };
        let (same, other) = (resolved("lora-moa"), resolved("kadaptation"));
        assert_eq!(same.method.router.as_ref().unwrap().top_k, 2);
        assert_eq!((&other.method.router, other.optim.lr), (&None, 1.0));
        assert_eq!(other.method.label(), "kadaptation+blocks=last-two");
        assert_eq!(same.method.label(), "lora-moa+blocks=last-two+router.top_k=2");
    }

    #[test]
    fn one_value_is_a_list_of_one() {
        let mut layers = minimal();
        layers.set_text("data.test_env=photo, sketch").unwrap();
        layers.set_text("method.linears=qkv").unwrap();
        layers.set_text("method.name=lora").unwrap();
        layers.set_text("method.adapter.ranks=4").unwrap();
        let (config, _) = layers.resolve().unwrap();
        assert_eq!(config.data.test_env, ["photo", "sketch"]);
        assert_eq!(config.method.adapter.unwrap().ranks, [4]);
    }

    #[test]
    fn mistakes_are_one_line_that_helps() {
        let fails = |text: &str| {
            let mut layers = minimal();
            let result = layers.set_text(text).and_then(|()| layers.resolve().map(|_| ()));
            result.unwrap_err().to_string()
        };
        assert_eq!(fails("optim.rl=1"), "--set: unknown key `optim.rl`; did you mean `optim.lr`?");
        for (wrong, right) in [
            ("method.rank", "method.adapter.ranks"),
            ("train.setps", "train.steps"),
            ("optm.lr", "optim.lr"),
            ("method.router.knd", "method.router.kind"),
            ("step", "train.steps"),
        ] {
            let hint = format!("--set: unknown key `{wrong}`; did you mean `{right}`?");
            assert_eq!(fails(&format!("{wrong}=1")), hint);
        }
        assert!(
            fails("optim.lr=fast").starts_with("--set: optim.lr: invalid type"),
            "{}",
            fails("optim.lr=fast")
        );
        assert!(
            fails("optim.kind=sgd").contains("unknown variant `sgd`"),
            "{}",
            fails("optim.kind=sgd")
        );
        assert!(fails("method.name=kadaptaton").contains("did you mean `kadaptation`?"));
        assert_eq!(fails("optim.lr=-1"), "optim.lr must be a number above 0");
        assert!(fails("steps").contains("write `key=value`"));
        assert!(Layers::default().resolve().unwrap_err().to_string().contains("--backbone"));
    }
}
