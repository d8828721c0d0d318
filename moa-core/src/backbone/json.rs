//! Reading foreign JSON key by key, so that an error names the key.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::{BackboneError, Result};

/// A JSON object with its place in the file. A key that is `null` counts as absent.
#[derive(Clone)]
pub(crate) struct Keys<'a> {
    file: &'a Path,
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    /// The outermost object of a file.
    pub(crate) fn new(file: &'a Path, map: &'a Map<String, Value>) -> Self {
        Self { file, at: String::new(), map }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// All keys that have a value.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str())
    }

    /// An error about a key.
    pub(crate) fn bad(&self, key: &str, reason: impl Into<String>) -> BackboneError {
        let (path, key) = (self.file.into(), format!("{}{key}", self.at));
        BackboneError::Key { path, key, reason: reason.into() }
    }

    /// An error about the value of a key.
    pub(crate) fn unsupported(&self, key: &str, wanted: &str) -> BackboneError {
        let value = self.get(key).map_or("absent".into(), Value::to_string);
        self.bad(key, format!("is {value}; {wanted}"))
    }

    fn typed<T>(
        &self,
        key: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = read(value);
        found.map(Some).ok_or_else(|| self.unsupported(key, &format!("{what} is expected")))
    }

    /// A nested object.
    pub(crate) fn table(&self, key: &str) -> Result<Option<Keys<'a>>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Keys { file: self.file, at: format!("{}{key}.", self.at), map }))
    }

    /// A whole number of 0 or more.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", whole)
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A string or a list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Texts>> {
        self.typed(key, "a string or a list of strings", |value| match value {
            Value::Array(list) => {
                let texts = list.iter().map(|text| text.as_str().map(String::from));
                Some(Texts::Many(texts.collect::<Option<_>>()?))
            }
            value => value.as_str().map(|text| Texts::One(text.into())),
        })
    }

    /// A whole number or a list of them.
    pub(crate) fn counts(&self, key: &str) -> Result<Option<Vec<usize>>> {
        self.typed(key, "a whole number or a list of them", |value| match value {
            Value::Array(list) => list.iter().map(whole).collect(),
            value => whole(value).map(|number| vec![number]),
        })
    }

    /// Height and width: a number for both, `[h, w]`, or `{"height": h, "width": w}`.
    pub(crate) fn pair(&self, key: &str) -> Result<Option<(usize, usize)>> {
        self.typed(key, "a number or [height, width]", |value| match value {
            Value::Array(list) => match list.as_slice() {
                [h, w] => Some((whole(h)?, whole(w)?)),
                _ => None,
            },
            Value::Object(map) => Some((whole(map.get("height")?)?, whole(map.get("width")?)?)),
            value => whole(value).map(|side| (side, side)),
        })
    }

    /// One side of a square, written in any way that [`Keys::pair`] reads.
    pub(crate) fn square(&self, key: &str) -> Result<Option<usize>> {
        match self.pair(key)? {
            Some((h, w)) if h != w => Err(self.unsupported(key, "only squares are supported")),
            pair => Ok(pair.map(|(side, _)| side)),
        }
    }

    /// Three numbers, one per channel.
    pub(crate) fn channels(&self, key: &str) -> Result<Option<[f32; 3]>> {
        self.typed(key, "a list of three numbers", |value| {
            let [r, g, b] = value.as_array()?.as_slice() else { return None };
            Some([r.as_f64()? as f32, g.as_f64()? as f32, b.as_f64()? as f32])
        })
    }

    /// Refuses any value of `key` but `wanted`; absent is fine.
    pub(crate) fn must(&self, key: &str, wanted: impl Into<Value>) -> Result<()> {
        let wanted = wanted.into();
        let same = |value: &Value| {
            *value == wanted || value.as_f64().is_some_and(|v| wanted.as_f64() == Some(v))
        };
        match self.get(key) {
            Some(value) if !same(value) => {
                Err(self.unsupported(key, &format!("only {wanted} can be computed here")))
            }
            _ => Ok(()),
        }
    }
}

/// See [`Keys::texts`].
#[derive(Clone, Debug)]
pub(crate) enum Texts {
    One(String),
    Many(Vec<String>),
}

/// A whole number; `32.0` counts.
fn whole(value: &Value) -> Option<usize> {
    if let Some(number) = value.as_u64() {
        return usize::try_from(number).ok();
    }
    let number = value.as_f64()?;
    ((0.0..1e15).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_errors_name_the_key() {
        let json = r#"{"a": {"size": [24, 32], "n": 4.0, "flag": false, "act": "relu", "bad": -1,
                       "null": null, "rgb": [1, 0.5, 2], "side": {"height": 8, "width": 8}}}"#;
        let map: Map<String, Value> = serde_json::from_str(json).unwrap();
        let file = Path::new("config.json");
        let keys = Keys::new(file, &map).table("a").unwrap().unwrap();
        assert_eq!(keys.pair("size").unwrap(), Some((24, 32)));
        assert_eq!(keys.pair("n").unwrap(), Some((4, 4)));
        assert_eq!(keys.square("side").unwrap(), Some(8));
        assert_eq!(keys.count("null").unwrap(), None);
        assert_eq!(keys.channels("rgb").unwrap(), Some([1.0, 0.5, 2.0]));
        keys.must("flag", false).unwrap();
        keys.must("n", 4).unwrap();
        keys.must("absent", true).unwrap();
        let text = |e: BackboneError| e.to_string();
        assert_eq!(
            text(keys.must("act", "gelu").unwrap_err()),
            "config.json: `a.act` is \"relu\"; only \"gelu\" can be computed here"
        );
        assert_eq!(
            text(keys.count("bad").unwrap_err()),
            "config.json: `a.bad` is -1; a whole number is expected"
        );
        assert!(text(keys.square("size").unwrap_err()).contains("only squares"));
        assert!(keys.flag("act").is_err() && keys.text("flag").is_err());
    }
}
