"""Loads an adapter of moa into a timm vision transformer: routed mixtures, which PEFT cannot hold, and single adapters.

    import timm
    from load_routed import load

    vit = timm.create_model("vit_base_patch16_clip_224.laion2b", pretrained=True)
    classes = load(vit, "runs/pacs/best")     # vit now has the adapters and the head
    probs = vit.eval()(images).softmax(-1)    # classes names its outputs

`vit` must hold the weights that the adapter was trained on, and images must be resized as moa does: the whole image,
bilinear, to the size in moa.json. Needs torch and safetensors. For prediction: no router noise, no dropout.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class Adapted(torch.nn.Module):
    """y = W x + b + scale * sum_e gate_e expert_e(x) [+ adapter bias], for a frozen linear layer."""

    def __init__(self, linear, own, shared, method):
        super().__init__()
        self.linear, self.kind = linear, method["adapter"]["kind"]
        self.scale, self.experts = method["adapter"].get("scale", 1.0), len(method["adapter"]["ranks"])
        self.router, self.bend = method.get("router"), method["adapter"].get("activation", "gelu") == "gelu"
        self.own = torch.nn.ParameterDict({k.replace(".", "/"): v for k, v in own.items()})
        self.shared = shared

    def get(self, name):
        return self.own[name.replace(".", "/")]

    def gates(self, x):
        """Weight of every expert for every token, [..., experts]; 0 for those not chosen."""
        if self.router is None:
            return x.new_ones(*x.shape[:-1], 1)
        if self.router["kind"] == "linear":
            scores = F.linear(x, self.get("router.weight"))
        else:
            bias = self.get("router.proj.bias") if self.router["bias"] else None
            z = F.normalize(F.linear(x, self.get("router.proj.weight"), bias), dim=-1)
            scale = self.get("router.temperature").clamp(max=math.log(100.0)).exp()
            scores = scale * (z @ F.normalize(self.get("router.sim"), dim=0))
        best, chosen = scores.softmax(-1).topk(self.router["top_k"], dim=-1)
        if self.router["renormalise"]:
            best = best / best.sum(-1, keepdim=True)
        return torch.zeros_like(scores).scatter(-1, chosen, best)

    def expert(self, e, x):
        """LoRA: up (down x). Kronecker: x H, H = sum_i (s_i v_i) kron (L_i R_i)."""
        if self.kind == "lora":
            return F.linear(F.linear(x, self.get(f"experts.{e}.down")), self.get(f"experts.{e}.up"))
        outer = self.shared[0] @ self.shared[1]
        inner = self.get(f"experts.{e}.left") @ self.get(f"experts.{e}.right")
        (_, a, c), (_, k, p) = outer.shape, inner.shape
        return x @ torch.einsum("iac,ikp->akcp", outer, inner).reshape(a * k, c * p)

    def phm(self, part, x):
        """Compacter: a linear layer whose matrix is a sum of Kronecker products."""
        left, right = self.get(f"compacter.{part}.left"), self.get(f"compacter.{part}.right")
        inner, (rule,) = left @ right, self.shared
        (_, a, c), (_, k, p) = rule.shape, inner.shape
        y = x @ torch.einsum("iac,ikp->akcp", rule, inner).reshape(a * k, c * p)
        return y + self.get(f"compacter.{part}.bias") if f"compacter/{part}/bias" in self.own else y

    def forward(self, x):
        if self.kind == "compacter":
            h = self.linear(x)
            narrow = self.phm("down", h)
            return h + self.scale * self.phm("up", F.gelu(narrow) if self.bend else narrow)
        y, gates = self.linear(x), self.gates(x)
        for e in range(self.experts):
            y = y + self.scale * gates[..., e : e + 1] * self.expert(e, x)
        return y + self.get("adapter_bias") if "adapter_bias" in self.own else y


def read(folder):
    """moa.json, and the tensors under moa's names (a plain LoRA is stored under PEFT's)."""
    folder = Path(folder)
    card = json.loads((folder / "moa.json").read_text())
    tensors = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        name = name.removeprefix("base_model.model.")
        name = name.replace(".lora_A.weight", ".experts.0.down").replace(".lora_B.weight", ".experts.0.up")
        tensors[name] = tensor
    return card, tensors


def load(vit, folder):
    """Puts the adapters and the head of `folder` into the timm model `vit`; returns the class names."""
    card, tensors = read(folder)
    method = card["method"]
    if "adapter" not in method and method.get("trains", "nothing") != "nothing":
        raise ValueError(f"{method['name']} trains the backbone itself: `moa-infer merge` writes it as a timm folder")
    vit.reset_classifier(len(card["classes"]))
    vit.head.load_state_dict({"weight": tensors.pop("head.weight"), "bias": tensors.pop("head.bias")})
    shared = [tensors.pop(name) for name in ("shared.left", "shared.right", "shared.rule") if name in tensors]
    layers = {}
    for name, tensor in tensors.items():
        layer = ".".join(name.split(".")[:4])     # blocks.0.attn.qkv
        layers.setdefault(layer, {})[name.removeprefix(layer + ".")] = tensor
    for layer, own in layers.items():
        parent, child = layer.rsplit(".", 1)
        parent = vit.get_submodule(parent)
        setattr(parent, child, Adapted(getattr(parent, child), own, shared, method))
    return card["classes"]
