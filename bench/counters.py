"""Which counter gives which random number of a training step.

This is the one place that knows the layout; the program's own definitions are
in `moa-kernels/src/routing/noise.rs` and `moa-kernels/src/kronecker/mask.rs`.
`step` is the number of the update, from 0.
"""
import numpy as np

from philox import DROP_CONNECT, ROUTER_NOISE, blocks, box_muller

LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def layer_number(name):
    """Number of a layer such as `blocks.2.attn.qkv`: four a block."""
    _, block, linear = name.split(".", 2)
    return 4 * int(block) + LINEARS.index(linear)


def router_noise(seed, step, layer, tokens, experts):
    """Standard normals, f64 [tokens, experts]; not yet times gate_noise / experts.

    Element i (token-major) is number i % 4 of the normals made from the block
    at layer << 48 | i / 4: cosine and sine branch of its first two words, then
    of the other two.
    """
    count = tokens * experts
    index = np.uint64(layer << 48) | np.arange(-(-count // 4), dtype=np.uint64)
    words = blocks(seed, ROUTER_NOISE, step, index)
    return box_muller(words.reshape(-1, 2)).reshape(-1)[:count].reshape(tokens, experts)


def keep_mask(seed, step, layer, expert, rows, cols, p=0.5):
    """Kept entries of an expert's matrix, bool [rows, cols]; true with probability 1 - p.

    Entry i (row-major) is kept if its 16 bits are below (1 - p) * 65536: half
    i % 2 (low first) of word i % 8 / 2 of the block at
    layer << 48 | expert << 40 | i / 8.
    """
    count = rows * cols
    index = np.uint64(layer << 48 | expert << 40) | np.arange(-(-count // 8), dtype=np.uint64)
    words = blocks(seed, DROP_CONNECT, step, index).astype("<u4")
    halves = words.reshape(-1).view("<u2")[:count]
    return (halves < int((1 - p) * 65536 + 0.5)).reshape(rows, cols)
