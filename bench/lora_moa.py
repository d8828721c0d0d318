"""LoRA and LoRA-MoA in PyTorch: a frozen linear layer with one low-rank expert, or a token-routed mixture of them.

Expert e gives up_e (down_e x), `experts.E.down` [r,d_in] and `experts.E.up` [d_out,r];
the router is in adapted.py. All sizes follow from the tensors.
"""
import torch
import torch.nn.functional as F

from adapted import AdaptedNet, Routed


class Lora(torch.nn.Module):
    """`linear` with one expert for all tokens: y = W x + b + scale * up (down x)."""

    aux, random = 0.0, None

    def __init__(self, linear, tensors, scale):
        super().__init__()
        self.linear, self.down, self.up = linear, tensors["experts.0.down"], tensors["experts.0.up"]
        self.scale = scale

    def forward(self, x):
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.down), self.up)


class LoraMoA(Routed):
    """`linear` with routed experts; every expert runs on every token and masks."""

    def mixture(self, x, choice):
        def expert(e):
            return F.linear(F.linear(x, self.own[f"experts.{e}.down"]), self.own[f"experts.{e}.up"])

        return sum((choice == e).to(x.dtype).unsqueeze(1) * expert(e) for e in range(self.experts))


class Net(AdaptedNet):
    """AdaptedNet with `experts.E.down` and `experts.E.up` in its layers, and `router.*` where there are several."""

    def layer(self, linear, name, own, scale=1.0):
        return LoraMoA(linear, name, own, scale) if "router.sim" in own else Lora(linear, own, scale)
