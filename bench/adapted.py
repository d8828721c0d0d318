"""What adapted networks in PyTorch share: the router, its noise and balance loss, a network with adapted layers.

A routed layer computes, per token x, y = W x + b + scale * g_e expert_e(x) + adapter_bias,
e the top-1 expert of a noisy cosine router and g_e its softmax weight.
kron_moa.py and lora_moa.py add the experts. All sizes follow from the tensors.
"""
import math
import re

import torch
import torch.nn.functional as F

LN_MAX_SCALE = math.log(100.0)
GATE_NOISE, AUX_WEIGHT = 1.0, 0.01


def cv_squared(v):
    """Unbiased variance over the squared mean; 0 for one number."""
    return v.var() / (v.mean() ** 2 + 1e-10) if v.numel() > 1 else v.new_zeros(())


class TorchRandom:
    """Noise and masks of the layer called `name`, from torch's own generator."""

    def noise(self, name, like):
        return torch.randn_like(like)

    def drop(self, name, expert, h, p):
        return F.dropout(h, p)


class Routed(torch.nn.Module):
    """`linear` with routed experts, which `mixture` of a subclass computes.

    Set `random` (see TorchRandom) for training and None for evaluation; `aux` is the
    balance loss of the last forward pass.
    """

    def __init__(self, linear, name, tensors, scale=1.0):
        super().__init__()
        self.linear, self.name, self.own, self.scale = linear, name, tensors, scale
        self.random, self.aux = None, None
        self.experts = tensors["router.sim"].shape[1]

    def scores(self, x):
        """Clean router logits [n,E]."""
        z = F.normalize(F.linear(x, self.own["router.proj.weight"], self.own["router.proj.bias"]), dim=1)
        scale = self.own["router.temperature"].clamp(max=LN_MAX_SCALE).exp()
        return scale * (z @ F.normalize(self.own["router.sim"], dim=0))

    def mixture(self, x, choice):
        """The chosen expert's output for each token, [n,d_out]."""
        raise NotImplementedError

    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        clean = noisy = self.scores(tokens)
        std = GATE_NOISE / self.experts
        if self.random is not None:
            noisy = clean + self.random.noise(self.name, clean) * std
        p = clean.softmax(1)
        weight, choice = noisy.softmax(1).max(1)
        load = torch.special.ndtr((p - weight.unsqueeze(1)) / std).sum(0)
        self.aux = AUX_WEIGHT * 0.5 * (cv_squared(p.sum(0)) + cv_squared(load))
        routed = weight.unsqueeze(1) * self.mixture(tokens, choice)
        if self.scale != 1.0:
            routed = self.scale * routed
        if "adapter_bias" in self.own:
            routed = routed + self.own["adapter_bias"]
        return self.linear(x) + routed.reshape(*x.shape[:-1], -1)


class AdaptedNet(torch.nn.Module):
    """A frozen timm ViT with its adapted layers and a fresh linear head.

    `tensors` names every trainable tensor: `blocks.N.attn.qkv.<own name>` (or
    `attn.proj`), what layers share, `head.weight`, `head.bias`. Layers are adapted
    where there are tensors for them; `layer` of a subclass makes one.
    """

    def __init__(self, vit, tensors, **options):
        super().__init__()
        self.vit = vit.requires_grad_(False)
        self.trained = {k: torch.nn.Parameter(v.clone()) for k, v in tensors.items()}
        grouped = {}
        for name, tensor in self.trained.items():
            if match := re.fullmatch(r"(blocks\.(\d+)\.attn\.\w+)\.(.+)", name):
                grouped.setdefault((int(match[2]), match[1]), {})[match[3]] = tensor
        self.layers = {}
        for (_, name), own in sorted(grouped.items()):
            self.layers[name] = self.layer(vit.get_submodule(name), name, own, **options)
            vit.set_submodule(name, self.layers[name])

    def layer(self, linear, name, own, **options):
        """The adapted layer called `name` with its own tensors."""
        raise NotImplementedError

    def forward(self, x):
        return F.linear(self.vit(x), self.trained["head.weight"], self.trained["head.bias"])

    def randomness(self, source):
        """Training with `source`, or evaluation with None."""
        for layer in self.layers.values():
            layer.random = source

    def losses(self, x, y):
        """(cross-entropy, sum of the layers' balance losses)."""
        ce = F.cross_entropy(self(x), y)
        return ce, sum(layer.aux for layer in self.layers.values())
