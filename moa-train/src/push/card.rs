//! The model card.

use super::Publication;
use moa_infer::spec::TINY;
use std::fmt::Write;

impl Publication {
    /// `README.md`.
    pub fn card(&self) -> String {
        let parts = [self.metadata(), self.about(), self.table(), self.usage(), self.training()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn about(&self) -> String {
        let (card, (_, name)) = (&self.adapter.card, self.repo.parts());
        let base = match &self.base {
            Some(base) => format!("[{0}](https://huggingface.co/{0})", base.spec.repo),
            None => format!("`{TINY}`, a small vision transformer inside moa"),
        };
        let routed = match card.method.router {
            Some(_) => {
                " A router in every adapted layer sends each token to experts of different capacity."
            }
            None => "",
        };
        let trained = card.method.parameters(&card.backbone.vit);
        format!(
            "# {name}\n\nAn adapter for image classification: `{}` on {base}, {} trained parameters besides the \
             head.{routed}\n\nClasses: {}.\n",
            card.method.label(),
            trained,
            card.classes.join(", ")
        )
    }

    fn table(&self) -> String {
        let Some(measured) = &self.measured else { return String::new() };
        let t = &self.adapter.card.training;
        let mut text = format!(
            "## Measured\n\n{}, one run, seed {}, splits of seed {} ({:.0} % of every domain held out), \
             step {}.\n\n| domain | | accuracy |\n|---|---|---:|\n",
            measured.dataset,
            t.seed,
            t.trial_seed,
            100.0 * t.holdout,
            t.step + 1
        );
        for row in &measured.rows {
            let kind = if row.unseen { "**never seen**" } else { "trained on; its held-out part" };
            let _ = writeln!(text, "| {} | {kind} | {:.1} % |", row.env, 100.0 * row.accuracy);
        }
        text + "\nThe step was chosen by the held-out parts of the domains trained on, not by the unseen one.\n"
    }

    fn usage(&self) -> String {
        let repo = &self.repo;
        let mut text = format!(
            "## Use\n\n```\nmoa-infer predict {repo} photo.jpg --topk 3\n```\n\n```rust\nlet adapter = \
             std::path::Path::new(\"{repo}\");\nlet predictor = \
             moa_infer::predictor::Predictor::open(adapter, None, &candle_core::Device::Cpu)?;\n```\n"
        );
        if let (true, Some(base)) = (self.is_peft, &self.base) {
            let _ = write!(
                text,
                "\nIn Python, with PEFT (its head is `head.weight` and `head.bias` of the same file):\n\n```python\n\
                 import timm\nfrom peft import PeftModel\n\nmodel = timm.create_model(\"hf-hub:{}\", \
                 pretrained=True, num_classes={})\nmodel = PeftModel.from_pretrained(model, \"{repo}\")\n```\n",
                base.spec.repo,
                self.adapter.card.classes.len()
            );
        }
        text
    }

    fn training(&self) -> String {
        let (card, t) = (&self.adapter.card, &self.adapter.card.training);
        let mut text = String::from("## Training\n\n");
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "- {name}: {value}");
            }
        };
        line("data", t.dataset.clone());
        line("trained on", t.train_envs.join(", "));
        line("held out", t.test_envs.join(", "));
        line("input", format!("{} x {} pixels", card.preprocess.height, card.preprocess.width));
        if let Some(base) = &self.base {
            line(
                "backbone",
                format!("{}, weights with sha256 `{}`", base.spec, card.backbone.sha256),
            );
        }
        text
    }
}
