//! Several files with an index.

use super::*;

/// Splits the tensors over two shards, by the order of their names.
fn shard(dir: &TempDir, all: &Tensors) -> serde_json::Map<String, serde_json::Value> {
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    for (part, file) in ["model-1.safetensors", "model-2.safetensors"].into_iter().enumerate() {
        let half: Tensors = all.clone().into_iter().skip(part).step_by(2).collect();
        write(&dir.path().join(file), &half, Dtype::F32);
        map.extend(half.into_keys().map(|name| (name, file.into())));
    }
    map
}

fn index(dir: &TempDir, map: &serde_json::Map<String, serde_json::Value>) {
    let text = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(dir.path().join("model.safetensors.index.json"), text).unwrap();
}

#[test]
fn shards() {
    let all = tensors();
    let dir = folder(CONFIG, &all);
    let map = shard(&dir, &all);
    index(&dir, &map);
    let backbone = Backbone::open(dir.path()).unwrap();
    assert_eq!(backbone.read_all().unwrap(), all);
    assert_eq!(backbone.files.len(), 2);
    let digests: Vec<u8> = backbone
        .files
        .iter()
        .flat_map(|f| <sha2::Sha256 as sha2::Digest>::digest(fs::read(f).unwrap()).to_vec())
        .collect();
    let wanted = <sha2::Sha256 as sha2::Digest>::digest(digests);
    let wanted: String = wanted.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(backbone.sha256().unwrap(), wanted);

    let spoilt = |key: &str, value: &str| {
        let mut map = map.clone();
        map.insert(key.into(), value.into());
        index(&dir, &map);
        refusal(&dir)
    };
    let text = spoilt("norm.bias", "../model-1.safetensors");
    assert!(text.contains("shards must be in the folder of the index"), "{text}");
    assert!(spoilt("norm.bias", "/etc/passwd").contains("shards must be in the folder"));
    assert!(spoilt("norm.bias", "").contains("shards must be in the folder"));
    let text = spoilt("norm.bias", "model-3.safetensors");
    assert!(
        text.contains("`weight_map.norm.bias` is in model-3.safetensors, which is not there"),
        "{text}"
    );
    let text = spoilt("other", "model-1.safetensors");
    assert!(text.contains("tensor `other` is not in model-1.safetensors"), "{text}");
    let mut fewer = map.clone();
    fewer.remove("norm.bias");
    index(&dir, &fewer);
    assert!(refusal(&dir).contains("tensor `norm.bias` is in a shard but not in the index"));
    fs::write(dir.path().join("model.safetensors.index.json"), "{}").unwrap();
    assert!(refusal(&dir).contains("`weight_map` is missing"));
}
