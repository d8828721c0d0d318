//! Every adapter of the reference data (`goldenlib/peft_adapters.py`).

use crate::common::{Checks, Golden, json, values};
use candle_core::{Device, Tensor};
use libtest_mimic::{Failed, Trial};
use moa_core::backbone::RawTensor;
use moa_core::pass::Pass;
use moa_infer::foreign::Foreign;
use moa_infer::predictor::Predictor;
use moa_infer::spec::open_backbone;
use std::path::{Path, PathBuf};

const LOGITS: f64 = 1e-4;
const WEIGHTS: f64 = 2e-5;

pub fn trials(root: &Path) -> Vec<Trial> {
    let dir = root.join("peft");
    let index = json(&dir.join("index.json"));
    let mut trials = Vec::new();
    for (name, facts) in index.as_object().unwrap() {
        let case = Case {
            folder: dir.join(name),
            base: dir.join(facts["base"].as_str().unwrap()),
            layer: facts["merged_layer"].as_str().unwrap().into(),
            kind: facts["peft_type"].as_str().unwrap().into(),
        };
        for (what, test) in [
            ("predict", Case::predict as fn(&Case) -> Result<(), Failed>),
            ("layer", Case::layer),
            ("merge", Case::merge),
            ("strict", Case::strict),
        ] {
            let case = case.clone();
            trials.push(Trial::test(format!("peft::{name}::{what}"), move || test(&case)));
        }
    }
    trials
}

#[derive(Clone)]
struct Case {
    folder: PathBuf,
    base: PathBuf,
    layer: String,
    kind: String,
}

fn logits(predictor: &Predictor, golden: &Golden) -> Result<Vec<f64>, Failed> {
    let logits = predictor.classifier.logits(golden.get("pixel_values"), &Pass::eval())?;
    Ok(values(&logits.ok_or("no head")?))
}

impl Case {
    fn base(&self) -> &str {
        self.base.to_str().unwrap()
    }

    fn golden(&self) -> Golden {
        Golden::open(&self.folder.join("expected.safetensors"))
    }

    /// Logits with and without the adapter.
    fn predict(&self) -> Result<(), Failed> {
        let (golden, mut checks) = (self.golden(), Checks::default());
        for (path, backbone, what) in [
            (self.base.as_path(), None, "out.logits_base"),
            (&self.folder, Some(self.base()), "out.logits_adapted"),
        ] {
            let predictor = Predictor::open(path, backbone, &Device::Cpu)?;
            checks.close(what, &logits(&predictor, &golden)?, &golden.values(what), LOGITS);
        }
        checks.done()
    }

    /// Weight, bias and delta of one layer.
    fn layer(&self) -> Result<(), Failed> {
        let foreign = Foreign::open(&self.folder, Some(self.base()))?;
        let kind = format!("{:?}", foreign.folder.config.kind).to_uppercase();
        let (ours, part, parts) = place(&self.layer);
        let cut = |raw: &RawTensor| -> Vec<f64> {
            let n = raw.data.len() / parts;
            raw.data[part * n..][..n].iter().map(|&v| f64::from(v)).collect()
        };
        let (golden, mut checks) = (self.golden(), Checks::default());
        checks.that("peft_type", kind == self.kind);
        let name = format!("{ours}.weight");
        let new = cut(foreign.folded.changed.get(&name).ok_or("the layer does not change")?);
        let old = cut(&foreign.backbone.read(&name)?);
        let delta: Vec<f64> = new.iter().zip(old).map(|(a, b)| a - b).collect();
        checks.close("merged.weight", &new, &golden.values("merged.weight"), WEIGHTS);
        checks.close("delta.weight", &delta, &golden.values("delta.weight"), WEIGHTS);
        let name = format!("{ours}.bias");
        let bias = match foreign.folded.changed.get(&name) {
            Some(bias) => cut(bias),
            None => cut(&foreign.backbone.read(&name)?),
        };
        checks.close("merged.bias", &bias, &golden.values("merged.bias"), WEIGHTS);
        checks.done()
    }

    /// The merged folder is a backbone that computes the same.
    fn merge(&self) -> Result<(), Failed> {
        let dir = tempfile::tempdir()?;
        let out = dir.path().join("merged");
        moa_infer::merge::merge(&self.folder, Some(self.base()), &out)?;
        let predictor = Predictor::open(&out, None, &Device::Cpu)?;
        let (golden, mut checks) = (self.golden(), Checks::default());
        let wanted = golden.values("out.logits_merged");
        checks.close("out.logits_merged", &logits(&predictor, &golden)?, &wanted, LOGITS);
        checks.done()
    }

    /// A tensor less, more, or of another shape is an error that names it.
    fn strict(&self) -> Result<(), Failed> {
        let (backbone, mut checks) = (open_backbone(self.base())?, Checks::default());
        let whole = moa_core::peft::PeftFolder::read(&self.folder)?;
        let mut says = |what: &str, name: &str, change: &dyn Fn(&mut Tensors)| {
            // Of a Kronecker product, both factors.
            let product = what == "misshapen" && name.contains(".lokr_");
            let name = if product { name.rsplit_once('.').unwrap().0 } else { name };
            let mut broken = whole.clone();
            change(&mut broken.tensors);
            let error = broken.fold(&backbone).err().map(|e| e.to_string()).unwrap_or_default();
            checks.that(&format!("{what} {name}: {error:?}"), error.contains(name));
        };
        for name in whole.tensors.keys() {
            says("missing", name, &|all| drop(all.remove(name)));
            says("misshapen", name, &|all| {
                let flat = all[name].flatten_all().unwrap();
                all.insert(name.clone(), Tensor::cat(&[&flat, &flat], 0).unwrap());
            });
            let extra = format!("{name}_x");
            says("extra", &extra, &|all| drop(all.insert(extra.clone(), all[name].clone())));
        }
        checks.done()
    }
}

type Tensors = std::collections::BTreeMap<String, Tensor>;

/// Our name of a layer, and which of how many parts of ours it is.
fn place(layer: &str) -> (String, usize, usize) {
    let Some(hf) = layer.strip_prefix("vit.layers.") else { return (layer.into(), 0, 1) };
    let (block, name) = hf.split_once('.').unwrap();
    let (ours, part, parts) = match name {
        "attention.q_proj" => ("attn.qkv", 0, 3),
        "attention.k_proj" => ("attn.qkv", 1, 3),
        "attention.v_proj" => ("attn.qkv", 2, 3),
        "attention.o_proj" => ("attn.proj", 0, 1),
        mlp => (mlp, 0, 1),
    };
    (format!("blocks.{block}.{ours}"), part, parts)
}
