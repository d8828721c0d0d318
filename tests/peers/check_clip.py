"""`predict --zero-shot` against open_clip and transformers: tokenizer, both towers, logits. Usage: check_clip.py FOLDER_OF_BINARIES"""
import json
import sys
import tempfile
from pathlib import Path

import open_clip
import torch
import transformers
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

import ours

NAMES = ["dog", "alarm_clock", "Fire Hydrant", "naïve café"]
TEMPLATES = ["a photo of a {}.", "it's   a {}!"]
VOCABULARY = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"


def logits(images, texts, scale):
    """Cosines with the mean over templates; `images` [b,d], `texts` [templates,classes,d]."""
    unit = torch.nn.functional.normalize
    return scale * unit(images, dim=-1) @ unit(unit(texts, dim=-1).mean(0), dim=-1).T


def prompts():
    return [[template.replace("{}", name.replace("_", " ")) for name in NAMES] for template in TEMPLATES]


def from_open_clip(root):
    folder = ours.folder(root, "open_clip")
    config = dict(embed_dim=24, quick_gelu=True,
                  vision_cfg=dict(image_size=ours.SIDE, layers=2, width=32, head_width=8, patch_size=8),
                  text_cfg=dict(context_length=20, vocab_size=49408, width=32, heads=4, layers=2))
    model = ours.randomise(open_clip.CLIP(**json.loads(json.dumps(config))))
    norm = dict(mean=[0.5] * 3, std=[0.5] * 3)
    open_clip.model.set_model_preprocess_cfg(model, dict(**norm, interpolation="bicubic", resize_mode="shortest"))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    save_config_for_hf(model, folder / "open_clip_config.json", model_config=config)
    tokenizer = open_clip.SimpleTokenizer(context_length=20)
    texts = torch.stack([model.encode_text(tokenizer(row)) for row in prompts()])
    return folder, ["--tokenizer", VOCABULARY], norm, lambda x: logits(model.encode_image(x), texts, model.logit_scale.exp())


def from_transformers(root):
    folder = ours.folder(root, "clip")
    shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    model = ours.randomise(transformers.CLIPModel(transformers.CLIPConfig(
        text_config=dict(**shape, max_position_embeddings=20, eos_token_id=49407, bos_token_id=49406),
        vision_config=dict(**shape, image_size=ours.SIDE, patch_size=8), projection_dim=16)))
    model.save_pretrained(folder)
    norm = dict(mean=[0.48145466, 0.4578275, 0.40821073], std=[0.26862954, 0.26130258, 0.27577711])
    transformers.CLIPImageProcessor(size=dict(shortest_edge=ours.SIDE), crop_size=dict(height=ours.SIDE, width=ours.SIDE)) \
        .save_pretrained(folder)
    simple = open_clip.SimpleTokenizer()
    vocab = {k.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): v
             for k, v in simple.encoder.items()}
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=merges)
    tokenizer.save_pretrained(folder)

    def text(row):
        ids = tokenizer(row, padding=True, truncation=True, max_length=20, return_tensors="pt")
        return model.text_projection(model.text_model(**ids).pooler_output)

    texts = torch.stack([text(row) for row in prompts()])
    images = lambda x: model.visual_projection(model.vision_model(pixel_values=x).pooler_output)
    return folder, [], norm, lambda x: logits(images(x), texts, model.logit_scale.exp())


def main():
    bins = Path(sys.argv[1]).resolve()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root, torch.no_grad():
        data = ours.dataset(Path(root) / "data")
        for make in (from_open_clip, from_transformers):
            folder, more, norm, call = make(root)
            more = ["--zero-shot", ",".join(NAMES), *(part for t in TEMPLATES for part in ("--template", t)), *more]
            found = ours.predict(bins, folder, data, len(NAMES), *more)
            # Logits are as large as the scale, so that small differences count many times.
            ours.compare(f"zero-shot {folder.name}", found, call(ours.pixels(data, **norm)), tolerance=2e-3)


if __name__ == "__main__":
    main()
