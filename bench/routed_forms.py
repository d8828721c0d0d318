"""Forms of a frozen linear layer with routed LoRA experts in PyTorch, all of one meaning.

`dense`: every expert computes all tokens, as in lora_moa.py. `masked`: all experts' factors side by side, ranks of
experts that a token did not choose are 0. `single`: one LoRA of all ranks without router, which nobody can undercut
by much. `frozen`: the layer alone, and the gradient of its input.
"""
import torch
import torch.nn.functional as F

from lora_moa import LoraMoA


class Dense(torch.nn.Module):
    def __init__(self, t):
        super().__init__()
        linear = torch.nn.Linear(t["weight"].shape[1], t["weight"].shape[0], device="meta")
        linear.weight, linear.bias = (torch.nn.Parameter(t[k], requires_grad=False) for k in ("weight", "bias"))
        experts = sum(name.startswith("down.") for name in t)
        own = {f"experts.{e}.{k}": t[f"{k}.{e}"] for e in range(experts) for k in ("down", "up")}
        own |= {f"router.{k}": t[k] for k in ("proj.weight", "proj.bias", "sim", "temperature")}
        self.layer = LoraMoA(linear, "layer", own)

    def forward(self, x):
        return self.layer(x)


class Masked(torch.nn.Module):
    def __init__(self, t):
        super().__init__()
        self.t = t
        experts = sum(name.startswith("down.") for name in t)
        self.names = [(f"down.{e}", f"up.{e}") for e in range(experts)]
        ranks = [t[down].shape[0] for down, _ in self.names]
        owner = torch.cat([torch.full((r,), e) for e, r in enumerate(ranks)]).to(t["x"].device)
        self.owner = F.one_hot(owner, experts).t().to(t["x"].dtype)

    def forward(self, x):
        t = self.t
        z = F.normalize(F.linear(x, t["proj.weight"], t["proj.bias"]), dim=1)
        scale = t["temperature"].clamp(max=4.605170185988092).exp()
        p = (scale * (z @ F.normalize(t["sim"], dim=0))).softmax(1)
        weight, choice = p.max(1)
        gates = weight.unsqueeze(1) * F.one_hot(choice, p.shape[1]).to(x.dtype)
        h = F.linear(x, torch.cat([t[down] for down, _ in self.names]))
        h = h * (gates @ self.owner)
        return torch.addmm(F.linear(x, t["weight"], t["bias"]), h, torch.cat([t[up] for _, up in self.names], 1).t())


class Single(torch.nn.Module):
    def __init__(self, t):
        super().__init__()
        self.t = t
        names = [name.split(".")[1] for name in t if name.startswith("down.")]
        self.down = torch.cat([t[f"down.{e}"].detach() for e in names]).requires_grad_()
        self.up = torch.cat([t[f"up.{e}"].detach() for e in names], 1).contiguous().requires_grad_()

    def forward(self, x):
        return F.linear(x, self.t["weight"], self.t["bias"]) + F.linear(F.linear(x, self.down), self.up)


class Frozen(torch.nn.Module):
    def __init__(self, t):
        super().__init__()
        self.t = t

    def forward(self, x):
        return F.linear(x, self.t["weight"], self.t["bias"])


FORMS = {"dense": Dense, "masked": Masked, "single": Single, "frozen": Frozen}
EQUAL = ("dense", "masked")
