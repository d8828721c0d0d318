//! Folders that are refused, and what is said about them.

use super::*;

#[test]
fn tensors_that_do_not_fit() {
    let renamed = refused(CONFIG, |all| {
        let tensor = all.remove("blocks.1.mlp.fc1.bias").unwrap();
        all.insert("blocks.1.mlp.fc1.bais".into(), tensor);
    });
    assert_eq!(
        renamed,
        "DIR: tensor `blocks.1.mlp.fc1.bias` is missing; the nearest name is `blocks.1.mlp.fc1.bais`"
    );
    let extra = refused(CONFIG, |all| {
        all.insert("blocks.0.attn.q_norm.weight".into(), dummy(0, &[4]));
    });
    assert!(
        extra.contains("`blocks.0.attn.q_norm.weight` is not part of this architecture"),
        "{extra}"
    );
    let shape = refused(CONFIG, |all| {
        all.insert("blocks.1.attn.qkv.weight".into(), dummy(0, &[16, 8]));
    });
    assert_eq!(
        shape,
        "DIR/model.safetensors: tensor `blocks.1.attn.qkv.weight` has shape [16, 8], expected [24, 8]"
    );
    let infinite = refused(CONFIG, |all| all.get_mut("norm.bias").unwrap().data[3] = f32::NAN);
    assert!(infinite.contains("model.safetensors: tensor `norm.bias` holds a NaN"), "{infinite}");
}

#[test]
fn config_and_tensors_disagree() {
    let with = |from: &str, to: &str| CONFIG.replace(from, to);
    for (config, says) in [
        (with("\"embed_dim\": 8", "\"embed_dim\": 12"), "model_args.embed_dim"),
        (
            with("\"depth\": 2", "\"depth\": 3"),
            "is 3, but tensor `blocks.2.norm1.weight` is not there",
        ),
        (
            with("\"depth\": 2", "\"depth\": 1"),
            "is 1, but tensor `blocks.1.norm1.weight` is there too",
        ),
        (with("\"depth\": 2", "\"depth\": 2, \"mlp_ratio\": 2"), "model_args.mlp_ratio"),
        (with("\"depth\": 2", "\"depth\": 2, \"qkv_bias\": false"), "model_args.qkv_bias"),
        (with("\"depth\": 2", "\"depth\": 2, \"init_values\": 0.1"), "model_args.init_values"),
        (
            with("\"depth\": 2", "\"depth\": 2, \"reg_tokens\": 4, \"no_embed_class\": true"),
            "pos_embed",
        ),
        (
            with("\"img_size\": 8", "\"img_size\": 16"),
            "is 16 x 16, but tensor `pos_embed` has shape [1, 5, 8]",
        ),
        (with("\"patch_size\": 4", "\"patch_size\": 2"), "model_args.patch_size"),
        (with("_clip_224", "_224"), "`patch_embed.proj.bias` is not there"),
    ] {
        let text = refused(&config, |_| {});
        assert!(text.starts_with("DIR/config.json: `") && text.contains(says), "{text}");
        assert!(text.ends_with("config and weights belong to different models"), "{text}");
    }
    let registers = refused(CONFIG, |all| {
        all.insert("reg_token".into(), dummy(0, &[1, 4, 8]));
    });
    assert!(registers.contains("is 0, but tensor `reg_token` has shape [1, 4, 8]"), "{registers}");
    let classes = refused(&CONFIG.replace("\"num_classes\": 3", "\"num_classes\": 0"), |_| {});
    assert!(classes.contains("holds 3 names for 0 classes"), "{classes}");
    let unnamed = CONFIG.replace(", \"label_names\": [\"a\", \"b\", \"c\"]", "");
    let classes = refused(&unnamed.replace("\"num_classes\": 3", "\"num_classes\": 4"), |_| {});
    assert!(classes.contains("tensor `head.bias` has shape [3], expected [4]"), "{classes}");
}

#[test]
fn files_that_are_missing_or_damaged() {
    let dir = folder(CONFIG, &tensors());
    let weights = dir.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 5]).unwrap();
    assert!(refusal(&dir).contains("model.safetensors: cut off:"));
    fs::write(&weights, "version https://git-lfs.github.com/spec/v1\noid sha256:0").unwrap();
    assert!(refusal(&dir).contains("a Git LFS pointer"));
    fs::remove_file(&weights).unwrap();
    assert_eq!(refusal(&dir), "DIR: there is no model.safetensors, nor an index of shards");
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    let text = refusal(&dir);
    assert!(
        text.contains("torch.load('pytorch_model.bin'") && text.contains("'model.safetensors'"),
        "{text}"
    );
    fs::write(dir.path().join("config.json"), "{\"architecture\": ").unwrap();
    assert!(refusal(&dir).starts_with("DIR/config.json: not valid JSON: EOF"));
    fs::write(dir.path().join("config.json"), "[1]").unwrap();
    assert!(refusal(&dir).contains("an object { ... } is expected"));
    fs::write(dir.path().join("config.json"), "{\"model_type\": \"siglip_vision_model\"}").unwrap();
    assert!(refusal(&dir).contains("`model_type` is \"siglip_vision_model\"; clip,"));
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    assert!(refusal(&dir).contains("`model_type` is missing"));
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(refusal(&dir).starts_with("DIR: not a backbone: there is neither config.json nor"));
    let file = dir.path().join("pytorch_model.bin");
    assert!(Backbone::open(&file).unwrap_err().to_string().contains("a backbone is a folder"));
    assert!(Backbone::open(&dir.path().join("nowhere")).is_err());
}

#[test]
fn integers_are_not_weights() {
    let dir = folder(CONFIG, &tensors());
    let bytes = fs::read(dir.path().join("model.safetensors")).unwrap();
    let text = bytes.iter().map(|&b| b as char).collect::<String>();
    let ints: Vec<u8> = text.replacen("\"F32\"", "\"I32\"", 1).chars().map(|c| c as u8).collect();
    fs::write(dir.path().join("model.safetensors"), ints).unwrap();
    assert!(refusal(&dir).contains("has type I32; F16, BF16, F32 and F64 are read"));
}

#[test]
fn the_layout_whose_weights_are_there() {
    let dir = folder(CONFIG, &tensors());
    fs::write(dir.path().join("open_clip_config.json"), "{}").unwrap();
    assert_eq!(Backbone::open(dir.path()).unwrap().layout, Layout::Timm);
    fs::write(dir.path().join("open_clip_model.safetensors"), "").unwrap();
    assert!(refusal(&dir).contains("open_clip_model.safetensors: only 0 bytes"));
    let layouts =
        serde_json::to_string(&[Layout::OpenClip, Layout::HfDinov2WithRegisters]).unwrap();
    assert_eq!(layouts, r#"["open_clip","hf_dinov2_with_registers"]"#);
}
