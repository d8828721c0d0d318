"""KAdaptation-MoA in PyTorch: a frozen linear layer with a token-routed mixture of Kronecker experts.

Expert e gives x H_e, H_e = sum_i (s_i v_i) kron (L_i R_i), entries dropped with
probability p; the rest is in adapted.py. All sizes follow from the tensors.
"""
import torch

from adapted import AdaptedNet, Routed


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


class KronMoA(Routed):
    """`linear` with experts. `form`: "einsum" and "gemm" run every expert on every token and mask;
    "grouped" (by one product) runs each expert on its own tokens."""

    def __init__(self, linear, name, tensors, shared, dropout=0.5, form="grouped"):
        super().__init__(linear, name, tensors)
        self.shared, self.dropout, self.form = shared, dropout, form

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


class Net(AdaptedNet):
    """AdaptedNet with `experts.E.left` and `experts.E.right` in its layers, which share `shared.left` and
    `shared.right`. Options: those of KronMoA."""

    def layer(self, linear, name, own, **options):
        return KronMoA(linear, name, own, (self.trained["shared.left"], self.trained["shared.right"]), **options)
