//! The head of a model card: YAML that the Hub reads.

use super::Publication;
use serde_json::{Value, json};
use std::fmt::Write;

/// Name of this library on the Hub.
const LIBRARY: &str = "moa";

impl Publication {
    /// Between its two lines of dashes.
    pub(super) fn metadata(&self) -> String {
        let mut yaml = String::from("---\n");
        let mut line = |key: &str, value: Value| {
            // JSON is YAML, too, and quotes whatever needs it.
            let _ = writeln!(yaml, "{key}: {value}");
        };
        let mut tags = vec![LIBRARY.to_owned(), "domain-generalization".into()];
        tags.push(self.adapter.card.method.label().to_lowercase());
        line("license", self.license.to_lowercase().into());
        line("library_name", if self.is_peft { "peft" } else { LIBRARY }.into());
        line("pipeline_tag", "image-classification".into());
        if let Some(base) = &self.base {
            tags.push(format!("base_model:adapter:{}", base.spec.repo));
            line("base_model", base.spec.repo.to_string().into());
            line("base_model_relation", "adapter".into());
        }
        line("tags", json!(tags));
        if let Some(dataset) = &self.dataset {
            line("datasets", json!([dataset.to_string()]));
        }
        if let Some(results) = self.results() {
            line("metrics", json!(["accuracy"]));
            line("model-index", json!([{"name": self.repo.to_string(), "results": results}]));
        }
        yaml + "---\n"
    }

    /// One entry for each environment.
    fn results(&self) -> Option<Vec<Value>> {
        let measured = self.measured.as_ref()?;
        let kind =
            self.dataset.as_ref().map_or_else(|| measured.dataset.clone(), ToString::to_string);
        let entry = |row: &super::measured::Row| {
            let split = if row.unseen { "unseen domain" } else { "held-out part" };
            json!({
                "task": {"type": "image-classification", "name": "Image Classification"},
                "dataset": {
                    "name": format!("{} ({})", measured.dataset, row.env),
                    "type": kind, "config": row.env, "split": split
                },
                "metrics": [{"type": "accuracy", "value": row.accuracy, "name": format!("Accuracy, {split}")}]
            })
        };
        Some(measured.rows.iter().map(entry).collect())
    }
}
