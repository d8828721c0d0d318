//! Which layers an adapter sits in: `target_modules` and what goes with it.

use super::modules::Module;
use crate::backbone::{Keys, Texts};
use crate::error::Result;
use fancy_regex::Regex;

/// A regular expression of Python's `re`, look-around included.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn new(text: &str) -> std::result::Result<Self, String> {
        let bad = |_| format!("holds `{text}`, which is not a regular expression");
        Ok(Self(Regex::new(text).map_err(bad)?))
    }

    /// An expression that gives up (its steps are limited) does not match.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }

    /// The first group as a number.
    fn number(&self, text: &str) -> Option<usize> {
        self.0.captures(text).ok()??.name("idx")?.as_str().parse().ok()
    }
}

#[derive(Clone, Debug)]
enum Names {
    /// Every linear layer.
    AllLinear,
    /// A match of the whole path.
    Regex(Pattern),
    /// The path, or its end after a dot.
    Ends(Vec<String>),
}

impl Names {
    fn parse(keys: &Keys<'_>, key: &str) -> Result<Option<Self>> {
        Ok(match keys.texts(key)? {
            None => None,
            Some(Texts::One(text)) if text.to_lowercase() == "all-linear" => Some(Self::AllLinear),
            Some(Texts::One(text)) => {
                let pattern = Pattern::new(&format!("^(?:{text})$"));
                Some(Self::Regex(pattern.map_err(|reason| keys.bad(key, reason))?))
            }
            Some(Texts::Many(names)) => Some(Self::Ends(names)),
        })
    }

    fn hold(&self, module: &Module) -> bool {
        let path = module.path.as_str();
        match self {
            Self::AllLinear => module.linear,
            Self::Regex(pattern) => pattern.matches(path),
            Self::Ends(names) => names.iter().any(|name| {
                path.strip_suffix(name.as_str()).is_some_and(|r| r.is_empty() || r.ends_with('.'))
            }),
        }
    }
}

/// PEFT's rule (`check_target_module_exists`).
#[derive(Clone, Debug)]
pub(super) struct Targets {
    names: Names,
    exclude: Option<Names>,
    /// Modules that are saved whole are not adapted.
    saved: Vec<Pattern>,
    layers: Option<(Vec<usize>, Vec<Pattern>)>,
}

impl Targets {
    pub(super) fn parse(keys: &Keys<'_>, saved: &[String]) -> Result<Self> {
        let pattern =
            |key: &str, text: String| Pattern::new(&text).map_err(|reason| keys.bad(key, reason));
        let missing = || keys.bad("target_modules", "is missing: name the adapted layers");
        let names = Names::parse(keys, "target_modules")?.ok_or_else(missing)?;
        let key = "layers_pattern";
        let patterns = match keys.texts(key)? {
            Some(Texts::One(text)) if !text.is_empty() => vec![text],
            Some(Texts::Many(list)) => list,
            _ => Vec::new(),
        };
        let patterns = match patterns.is_empty() {
            true => vec![pattern(key, r"^.*?\.[^.]*\.(?P<idx>\d+)\.".into())?],
            false => patterns
                .into_iter()
                .map(|text| pattern(key, format!(r"^(?:|.*?\.){text}\.(?P<idx>\d+)\.")))
                .collect::<std::result::Result<_, _>>()?,
        };
        let layers = keys.counts("layers_to_transform")?.filter(|list| !list.is_empty());
        let saved =
            saved.iter().map(|name| pattern("modules_to_save", format!(r"^(|.*\.){name}($|\..*)")));
        Ok(Self {
            exclude: Names::parse(keys, "exclude_modules")?,
            saved: saved.collect::<std::result::Result<_, _>>()?,
            // With a regular expression PEFT does not look at the layers.
            layers: layers.filter(|_| !matches!(names, Names::Regex(_))).map(|l| (l, patterns)),
            names,
        })
    }

    /// True if `modules_to_save` holds the module `path` or one around it.
    pub(super) fn saves(&self, path: &str) -> bool {
        self.saved.iter().any(|pattern| pattern.matches(path))
    }

    /// True if the adapter sits in this layer.
    pub(super) fn hold(&self, module: &Module) -> bool {
        let layer = self.layers.as_ref().is_none_or(|(layers, patterns)| {
            let number = patterns.iter().find_map(|pattern| pattern.number(&module.path));
            number.is_some_and(|number| layers.contains(&number))
        });
        layer
            && self.names.hold(module)
            && !self.exclude.as_ref().is_some_and(|names| names.hold(module))
            && !self.saves(&module.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn held(json: &str) -> Vec<&'static str> {
        let map = serde_json::from_str(json).unwrap();
        let targets = Targets::parse(&Keys::new(Path::new("c.json"), &map), &["head".into()]);
        let targets = targets.unwrap();
        let paths = ["blocks.0.attn.qkv", "blocks.1.attn.proj", "blocks.11.attn.qkv", "head"];
        let convolution = "patch_embed.proj";
        let all = paths.into_iter().chain([convolution]);
        all.filter(|path| targets.hold(&Module::named(path, *path != convolution))).collect()
    }

    #[test]
    fn the_rules_of_peft() {
        let qkv = ["blocks.0.attn.qkv", "blocks.11.attn.qkv"];
        assert_eq!(held(r#"{"target_modules": ["qkv"]}"#), qkv);
        assert_eq!(held(r#"{"target_modules": ["kv", "blocks.1.attn.qkv"]}"#), [""; 0]);
        assert_eq!(held(r#"{"target_modules": ".*qkv"}"#), qkv);
        assert_eq!(held(r#"{"target_modules": "(?!.*11).*qkv"}"#), [qkv[0]]);
        let linear = ["blocks.0.attn.qkv", "blocks.1.attn.proj", "blocks.11.attn.qkv"];
        assert_eq!(held(r#"{"target_modules": "all-linear"}"#), linear);
        let both = ["blocks.1.attn.proj", "patch_embed.proj"];
        assert_eq!(held(r#"{"target_modules": ["proj", "head"]}"#), both);
        let one = r#"{"target_modules": ["proj"], "exclude_modules": ["patch_embed.proj"]}"#;
        assert_eq!(held(one), [both[0]]);
        let layers = r#"{"target_modules": ["qkv"], "layers_to_transform": 11,
                         "layers_pattern": "blocks"}"#;
        assert_eq!(held(layers), [qkv[1]]);
        // Without a pattern a name must stand in front of the list of blocks.
        assert_eq!(held(r#"{"target_modules": ["qkv"], "layers_to_transform": [0]}"#), [""; 0]);
    }
}
