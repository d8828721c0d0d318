"""KAdaptation-MoA in PyTorch: a frozen linear layer with a token-routed mixture of Kronecker experts.

Per token x: y = W x + b + g_e (x H_e) + adapter_bias, e the top-1 expert of a
noisy cosine router and g_e its softmax weight;
H_e = sum_i (s_i v_i) kron (L_i R_i), entries dropped with probability p.
All sizes follow from the tensors.
"""
import math
import re

import torch
import torch.nn.functional as F

LN_MAX_SCALE = math.log(100.0)
GATE_NOISE, AUX_WEIGHT = 1.0, 0.01


def delta_einsum(s, v, left, right):
    """H [d_in,d_out] through every Kronecker product, [t,d_in,d_out], then their sum (the published way)."""
    products = torch.einsum("bac,bkp->bakcp", s @ v, left @ right)
    t, a, k, c, p = products.shape
    return products.reshape(t, a * k, c * p).sum(0)


def delta_gemm(s, v, left, right):
    """The same H by one matrix product: A [t, t*t] transposed times B [t, a*b], then a permutation."""
    t, a, b = s.shape[0], left.shape[1], right.shape[2]
    grid = (s @ v).reshape(t, t * t).t() @ (left @ right).reshape(t, a * b)
    return grid.view(t, t, a, b).permute(0, 2, 1, 3).reshape(t * a, t * b)


def cv_squared(v):
    """Unbiased variance over the squared mean; 0 for one number."""
    return v.var() / (v.mean() ** 2 + 1e-10) if v.numel() > 1 else v.new_zeros(())


class TorchRandom:
    """Noise and masks of the layer called `name`, from torch's own generator."""

    def noise(self, name, like):
        return torch.randn_like(like)

    def drop(self, name, expert, h, p):
        return F.dropout(h, p)


class KronMoA(torch.nn.Module):
    """`linear` with experts. `form`: "einsum" and "gemm" run every expert on every token and mask;
    "grouped" (by one product) runs each expert on its own tokens.

    Set `random` (see TorchRandom) for training and None for evaluation; `aux` is the
    balance loss of the last forward pass.
    """

    def __init__(self, linear, name, tensors, shared, dropout=0.5, form="grouped"):
        super().__init__()
        self.linear, self.name, self.own, self.shared = linear, name, tensors, shared
        self.dropout, self.form, self.random, self.aux = dropout, form, None, None
        self.experts = sum(name.endswith(".left") for name in tensors)

    def scores(self, x):
        """Clean router logits [n,E]."""
        z = F.normalize(F.linear(x, self.own["router.proj.weight"], self.own["router.proj.bias"]), dim=1)
        scale = self.own["router.temperature"].clamp(max=LN_MAX_SCALE).exp()
        return scale * (z @ F.normalize(self.own["router.sim"], dim=0))

    def delta(self, expert):
        """H of one expert, with dropped entries in training."""
        build = delta_einsum if self.form == "einsum" else delta_gemm
        h = build(*self.shared, self.own[f"experts.{expert}.left"], self.own[f"experts.{expert}.right"])
        return h if self.random is None else self.random.drop(self.name, expert, h, self.dropout)

    def mixture(self, x, choice):
        """x H_e for the chosen expert e of each token, [n,d_out]."""
        deltas = [self.delta(e) for e in range(self.experts)]
        if self.form != "grouped":
            return sum((choice == e).to(x.dtype).unsqueeze(1) * (x @ h) for e, h in enumerate(deltas))
        order = choice.argsort(stable=True)
        parts = x[order].split(torch.bincount(choice, minlength=self.experts).tolist())
        return torch.cat([part @ h for part, h in zip(parts, deltas)])[order.argsort()]

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
        routed = weight.unsqueeze(1) * self.mixture(tokens, choice) + self.own["adapter_bias"]
        return self.linear(x) + routed.reshape(*x.shape[:-1], -1)


class Net(torch.nn.Module):
    """A frozen timm ViT with its adapted layers and a fresh linear head.

    `tensors` names every trainable tensor: `blocks.N.attn.qkv.<own name>`,
    `shared.left`, `shared.right`, `head.weight`, `head.bias`.
    """

    def __init__(self, vit, tensors, **options):
        super().__init__()
        self.vit = vit.requires_grad_(False)
        self.trained = {k: torch.nn.Parameter(v.clone()) for k, v in tensors.items()}
        shared = (self.trained["shared.left"], self.trained["shared.right"])
        grouped = {}
        for name, tensor in self.trained.items():
            if match := re.fullmatch(r"(blocks\.(\d+)\.attn\.\w+)\.(.+)", name):
                grouped.setdefault((int(match[2]), match[1]), {})[match[3]] = tensor
        self.layers = {}
        for (_, name), own in sorted(grouped.items()):
            self.layers[name] = KronMoA(vit.get_submodule(name), name, own, shared, **options)
            vit.set_submodule(name, self.layers[name])

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
