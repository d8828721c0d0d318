"""Philox4x32-10 in numpy: the same words as `moa-kernels/src/rng.rs`.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""
import numpy as np

WORD = np.uint64(0xFFFF_FFFF)
SHIFT = np.uint64(32)
ROUTER_NOISE, DROP_CONNECT = 2, 3   # `Purpose` of rng.rs


def philox(counter, key):
    """Ten rounds. `counter`: four integers or arrays below 2^32, `key`: two; four uint64 arrays below 2^32."""
    c0, c1, c2, c3 = (np.asarray(c, dtype=np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * np.uint64(0xD251_1F53), c2 * np.uint64(0xCD9E_8D57)
        c0, c1 = (b >> SHIFT) ^ c1 ^ np.uint64(k0), b & WORD
        c2, c3 = (a >> SHIFT) ^ c3 ^ np.uint64(k1), a & WORD
        k0, k1 = (k0 + 0x9E37_79B9) & 0xFFFF_FFFF, (k1 + 0xBB67_AE85) & 0xFFFF_FFFF
    return c0, c1, c2, c3


def blocks(seed, purpose, step, index):
    """`Key::new(seed, purpose, step).block(index)` for an array of indices: uint32 [n,4]."""
    index = np.asarray(index, dtype=np.uint64)
    counter = (index & WORD, index >> SHIFT, step, purpose << 24)
    words = philox(counter, (seed & 0xFFFF_FFFF, seed >> 32))
    return np.stack(np.broadcast_arrays(*words), axis=-1).astype(np.uint32)


def box_muller(words):
    """Two standard normals (f64) from two words: `box_muller` of rng.rs. words [..,2], result [..,2]."""
    u, v = np.moveaxis((words.astype(np.float64) + 0.5) / 2.0**32, -1, 0)
    radius = np.sqrt(-2.0 * np.log(u))
    return np.stack([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)], axis=-1)
