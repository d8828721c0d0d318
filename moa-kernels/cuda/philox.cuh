// Philox4x32-10 as in src/rng.rs: the same words.
#pragma once
#include <stdint.h>

// What a random number depends on besides its index.
struct Key {
  uint32_t low, high; // of the seed
  uint32_t step, tag;
};

__device__ inline uint4 philox(Key key, uint64_t index) {
  uint32_t c0 = uint32_t(index), c1 = uint32_t(index >> 32), c2 = key.step, c3 = key.tag;
  uint32_t k0 = key.low, k1 = key.high;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    uint64_t a = uint64_t(0xD2511F53u) * c0, b = uint64_t(0xCD9E8D57u) * c2;
    c0 = uint32_t(b >> 32) ^ c1 ^ k0, c1 = uint32_t(b);
    c2 = uint32_t(a >> 32) ^ c3 ^ k1, c3 = uint32_t(a);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return make_uint4(c0, c1, c2, c3);
}
