//! Folders that are read, and written.

use super::*;

#[test]
fn a_folder_is_read_as_it_was_written() {
    let all = tensors();
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
        let dir = folder(CONFIG, &all);
        write(&dir.path().join("model.safetensors"), &all, dtype);
        let backbone = Backbone::open(dir.path()).unwrap();
        assert_eq!(backbone.read_all().unwrap(), all);
        assert_eq!(backbone.config.tensors().len() + 2, backbone.tensors().count());
        assert_eq!((backbone.has_head(), backbone.classes), (true, Some(3)));
        assert_eq!(backbone.class_names.as_ref().unwrap(), &["a", "b", "c"]);
        assert_eq!(backbone.files, [dir.path().join("model.safetensors")]);
        assert!(format!("{backbone:?}").len() < 1000);
    }
}

#[test]
fn the_hash_is_that_of_the_file() {
    let dir = folder(CONFIG, &tensors());
    let bytes = fs::read(dir.path().join("model.safetensors")).unwrap();
    let wanted = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    let wanted: String = wanted.iter().map(|b| format!("{b:02x}")).collect();
    let backbone = Backbone::open(dir.path()).unwrap();
    assert_eq!(backbone.sha256().unwrap(), wanted);
    let files: &[(&str, &'static [u8])] =
        &[("config.json", CONFIG.as_bytes()), ("model.safetensors", bytes.leak())];
    let inside = Backbone::from_bytes("tiny", files).unwrap();
    assert_eq!(inside.sha256().unwrap(), wanted);
    assert_eq!(inside.read_all().unwrap(), backbone.read_all().unwrap());
    assert!(inside.files.is_empty());
    let text = inside.read("norm.wieght").unwrap_err().to_string();
    assert_eq!(text, "tiny: tensor `norm.wieght` is missing; the nearest name is `norm.weight`");
}

#[test]
fn saving_changes_what_is_changed() {
    let all = tensors();
    for dtype in [Dtype::F16, Dtype::F64] {
        let dir = folder(CONFIG, &all);
        write(&dir.path().join("model.safetensors"), &all, dtype);
        let backbone = Backbone::open(dir.path()).unwrap();
        let mut weight = backbone.read("blocks.0.attn.qkv.weight").unwrap();
        weight.data[5] = 0.1;
        let changed = Tensors::from([("blocks.0.attn.qkv.weight".into(), weight.clone())]);
        let target = TempDir::new().unwrap();
        backbone.save(target.path(), &changed).unwrap();
        let again = Backbone::open(target.path()).unwrap();
        let mut wanted = all.clone();
        wanted.insert("blocks.0.attn.qkv.weight".into(), weight);
        assert_eq!(again.read_all().unwrap(), wanted);
        let kept = if dtype == Dtype::F16 { Dtype::F32 } else { Dtype::F64 };
        assert_eq!(again.stored("blocks.0.attn.qkv.weight").unwrap().dtype, kept);
        assert_eq!(again.stored("norm.bias").unwrap().dtype, dtype);
        let short = RawTensor { shape: vec![8], data: vec![0.0; 7] };
        for (name, says) in
            [("norm.bias", "has shape [7], expected [8]"), ("norm.bia", "`norm.bias`")]
        {
            let changed = Tensors::from([(name.to_owned(), short.clone())]);
            assert!(backbone.to_disk(&changed).unwrap_err().to_string().contains(says));
        }
    }
}

#[test]
fn position_tables_for_other_sizes() {
    let backbone = Backbone::open(folder(CONFIG, &tensors()).path());
    // The folder is gone by now: reading says so.
    assert!(
        backbone
            .unwrap()
            .read("norm.bias")
            .unwrap_err()
            .to_string()
            .contains("model.safetensors: ")
    );
    let dir = folder(CONFIG, &tensors());
    let backbone = Backbone::open(dir.path()).unwrap();
    let table = backbone.read("pos_embed").unwrap().data;
    assert_eq!(backbone.pos_embed((2, 2)).unwrap(), table);
    let larger = backbone.pos_embed((3, 5)).unwrap();
    assert_eq!((larger.len(), &larger[..8]), (16 * 8, &table[..8]));
    assert!(backbone.pos_embed((0, 5)).unwrap_err().to_string().contains("asks for 0 x 5 patches"));
}

const VIT: &str = r#"{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 2, "image_size": 8,
    "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 4}"#;
const PROCESSOR: &str =
    r#"{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": 8}"#;

#[test]
fn prefixes_and_names_of_all_ages() {
    let mut all = tensors();
    all.remove("norm_pre.weight");
    all.remove("norm_pre.bias");
    all.insert("patch_embed.proj.bias".into(), dummy(9, &[8]));
    let old = |name: &str| {
        let name = name.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after");
        let name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense");
        name.replace("attn.proj", "attention.output.dense").replace("blocks", "encoder.layer")
    };
    let new = |name: &str| {
        let name = name.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after");
        name.replace("attn.proj", "attention.o_proj").replace("blocks", "layers")
    };
    let old: (&dyn Fn(&str) -> String, _) =
        (&old, ["attention.query", "attention.key", "attention.value"]);
    let new: (&dyn Fn(&str) -> String, _) = (&new, ["q_proj", "k_proj", "v_proj"]);
    for ((rename, qkv), prefix) in [(&old, ""), (&old, "vit."), (&new, ""), (&new, "vit.")] {
        let mut disk = Tensors::new();
        for (name, tensor) in &all {
            let full = match name.as_str() {
                "head.weight" | "head.bias" => name.replace("head", "classifier"),
                "cls_token" => format!("{prefix}embeddings.cls_token"),
                "pos_embed" => format!("{prefix}embeddings.position_embeddings"),
                "norm.weight" | "norm.bias" => format!("{prefix}layer{name}"),
                name if name.starts_with("patch_embed.proj") => name.replace(
                    "patch_embed.proj",
                    &format!("{prefix}embeddings.patch_embeddings.projection"),
                ),
                name => format!("{prefix}{}", rename(name)),
            };
            match full.split_once("attn.qkv") {
                None => drop(disk.insert(full, tensor.clone())),
                Some((block, leaf)) => {
                    let mut shape = tensor.shape.clone();
                    shape[0] = 8;
                    let parts = tensor.data.chunks(tensor.data.len() / 3);
                    for (part, data) in qkv.iter().zip(parts) {
                        let tensor = RawTensor { shape: shape.clone(), data: data.to_vec() };
                        disk.insert(format!("{block}attention.{part}{leaf}"), tensor);
                    }
                }
            }
        }
        disk.insert(format!("{prefix}pooler.dense.weight"), dummy(0, &[8, 8]));
        let dir = folder(VIT, &disk);
        let backbone = Backbone::open(dir.path()).unwrap();
        assert_eq!((backbone.preprocess_file, backbone.preprocess.height), (None, 8));
        fs::write(dir.path().join("preprocessor_config.json"), PROCESSOR).unwrap();
        let backbone = Backbone::open(dir.path()).unwrap();
        assert_eq!(backbone.read_all().unwrap(), all, "{prefix}{qkv:?}");
        let names: Vec<&str> = disk.keys().map(String::as_str).collect();
        assert_eq!(backbone.disk_names().collect::<Vec<_>>(), names);
        let joint = format!(r#"{{"image_processor": {PROCESSOR}}}"#);
        fs::remove_file(dir.path().join("preprocessor_config.json")).unwrap();
        fs::write(dir.path().join("processor_config.json"), joint).unwrap();
        assert_eq!(Backbone::open(dir.path()).unwrap().preprocess, backbone.preprocess);
    }
}
