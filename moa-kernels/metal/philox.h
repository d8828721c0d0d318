// Philox4x32-10 as in src/rng.rs: the same words.

// What a random number depends on besides its index.
struct Key {
  uint low, high; // of the seed
  uint step, tag;
};

inline uint4 philox(Key key, ulong index) {
  uint c0 = uint(index), c1 = uint(index >> 32), c2 = key.step, c3 = key.tag;
  uint k0 = key.low, k1 = key.high;
  for (int round = 0; round < 10; round++) {
    ulong a = ulong(0xD2511F53u) * c0, b = ulong(0xCD9E8D57u) * c2;
    c0 = uint(b >> 32) ^ c1 ^ k0, c1 = uint(b);
    c2 = uint(a >> 32) ^ c3 ^ k1, c3 = uint(a);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return uint4(c0, c1, c2, c3);
}
