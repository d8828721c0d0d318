// Tokens in the order of their experts, and the deltas of Kronecker experts.
#include "common.h"
#include "philox.h"

// Row `place` of the result is that of the token of its pair, which has the number token k + choice;
// times its scaled gate, if there are any.
template <class T, int N>
inline void gather_rows(device T *to, const device T *from, const device uint *pairs,
                        const device float *gates, long count, int d, int k, float scale,
                        Thread here) {
  long i = first_element<N>(here);
  if (i >= count * d) return;
  uint pair = pairs[i / d];
  float v[N], w = gates ? gates[pair] * scale : 1.0f;
  load<N>(from + pair / k * long(d) + i % d, v);
  for (int j = 0; j < N; j++) v[j] *= w;
  store<N>(to + i, v);
}

// Row t of the result is that of `base` plus the rows at the places of its pairs, each times its
// scaled gate.
template <class T, int N>
inline void combine_rows(device T *to, const device T *base, const device T *rows,
                         const device uint *places, const device float *gates,
                         const device T *bias, long tokens, int d, int k, float scale,
                         Thread here) {
  long i = first_element<N>(here);
  if (i >= tokens * d) return;
  long t = i / d;
  int c = i % d;
  float sum[N], v[N], b[N];
  load<N>(base + i, sum), fill<N>(b, 0);
  if (bias) load<N>(bias + c, b);
  for (int j = 0; j < N; j++) sum[j] += b[j];
  for (int choice = 0; choice < k; choice++) {
    long pair = t * k + choice;
    float w = gates[pair] * scale;
    load<N>(rows + places[pair] * long(d) + c, v);
    for (int j = 0; j < N; j++) sum[j] += w * v[j];
  }
  store<N>(to + i, sum);
}

// to[p] = scale * a[places[p]] . b[p / k]: one SIMD group to a pair.
template <class T, int N>
inline void row_dots(device float *to, const device T *a, const device T *b,
                     const device uint *places, long pairs, int d, int k, float scale, Thread here) {
  long pair = warp_row(here);
  if (pair >= pairs) return;
  a += long(places[pair]) * d, b += pair / k * d;
  float sum = 0;
  for (int i = int(here.lane) * N; i < d; i += 32 * N) {
    float v[N], w[N];
    load<N>(a + i, v), load<N>(b + i, w);
    for (int j = 0; j < N; j++) sum += v[j] * w[j];
  }
  sum = warp_sum(sum);
  if (here.lane == 0) to[pair] = sum * scale;
}

#define GATHER_ARGS(T)                                                                             \
  device T *to, const device T *from, const device uint *pairs, const device float *gates,         \
      constant long &count, constant int &d, constant int &k, constant float &scale, GIVEN
#define GATHER(T, N)                                                                               \
  gather_rows<T, N>(to, from, pairs, OPTIONAL(gates, 3), count, d, k, scale, HERE)
INSTANCES(gather, GATHER_ARGS, GATHER)

#define COMBINE_ARGS(T)                                                                            \
  device T *to, const device T *base, const device T *rows, const device uint *places,             \
      const device float *gates, const device T *bias, constant long &tokens, constant int &d,     \
      constant int &k, constant float &scale, GIVEN
#define COMBINE(T, N)                                                                              \
  combine_rows<T, N>(to, base, rows, places, gates, OPTIONAL(bias, 5), tokens, d, k, scale, HERE)
INSTANCES(combine, COMBINE_ARGS, COMBINE)

#define DOTS_ARGS(T)                                                                               \
  device float *to, const device T *a, const device T *b, const device uint *places,               \
      constant long &pairs, constant int &d, constant int &k, constant float &scale
#define DOTS(T, N) row_dots<T, N>(to, a, b, places, pairs, d, k, scale, HERE)
INSTANCES(dots, DOTS_ARGS, DOTS)

// Which entries of deltas are kept: all, those that random bits say, or given bytes.
struct Drop {
  Key key;
  ulong layer;
  uint threshold; // of 16 random bits; more than they can be keeps all
  float factor;
};

// The sizes of a Kronecker layer: `in` is t a, `out` is t b.
struct Sizes {
  int experts, t, a, b;
};

inline int entries_of(Sizes s) { return s.t * s.a * s.t * s.b; }

// Where an entry of the delta of expert e stands in the product [t^2, E a b].
inline long place_of(Sizes s, int e, int entry) {
  int row = entry / (s.t * s.b), column = entry - row * (s.t * s.b);
  int p = row / s.a, k = row - p * s.a, q = column / s.b, l = column - q * s.b;
  return long(p * s.t + q) * (s.experts * s.a * s.b) + (e * s.a + k) * s.b + l;
}

// A SIMD group has 256 entries of expert e; the random bits of 8 of them are one lane's work,
// which the others read from it. A bit for each: kept.
inline uint kept_bits(bool random, Drop drop, int e, long first, int lane) {
  uint keep = 0;
  if (!random) return keep;
  uint4 words = philox(drop.key, drop.layer << 48 | ulong(e) << 40 | ulong(first / 8 + lane));
  uint word[4] = {words.x, words.y, words.z, words.w};
  for (int j = 0; j < 8; j++)
    keep |= uint((word[j / 2] >> (16 * (j % 2)) & 0xffffu) < drop.threshold) << j;
  return keep;
}

// The factor of each of a lane's 8 entries, first + 32 j + lane.
inline void factors_of(thread float (&factors)[8], const device uchar *given, Sizes s, Drop drop,
                       Thread here) {
  int lane = here.lane, e = here.block.y;
  long first = warp_row(here) * 256;
  bool random = !given && drop.threshold <= 65535;
  uint keep = kept_bits(random, drop, e, first, lane);
  for (int j = 0; j < 8; j++) {
    long entry = first + 32 * j + lane;
    bool kept = simd_shuffle(keep, ushort(4 * j + lane / 8)) >> (lane % 8) & 1;
    if (given && entry < entries_of(s)) kept = given[long(e) * entries_of(s) + entry];
    factors[j] = kept || !(random || given) ? drop.factor : 0.0f;
  }
}

// The product's entries to their places, [experts, in, out]; some dropped.
template <class T>
inline void place_entries(device T *h, const device float *product, const device uchar *given,
                          Sizes s, Drop drop, Thread here) {
  float factors[8];
  factors_of(factors, given, s, drop, here);
  int e = here.block.y;
  h += long(e) * entries_of(s);
  for (int j = 0; j < 8; j++) {
    long i = warp_row(here) * 256 + 32 * j + here.lane;
    if (i < entries_of(s)) h[i] = T(factors[j] * product[place_of(s, e, i)]);
  }
}

// The way back, for the gradient.
template <class T>
inline void unplace_entries(device float *dproduct, const device T *dh, const device uchar *given,
                            Sizes s, Drop drop, Thread here) {
  float factors[8];
  factors_of(factors, given, s, drop, here);
  int e = here.block.y;
  dh += long(e) * entries_of(s);
  for (int j = 0; j < 8; j++) {
    long i = warp_row(here) * 256 + 32 * j + here.lane;
    if (i < entries_of(s)) dproduct[place_of(s, e, i)] = factors[j] * float(dh[i]);
  }
}

#define DELTA const device uchar *kept, constant Sizes &sizes, constant Drop &drop, GIVEN
#define PLACE_ARGS(T) device T *h, const device float *product, DELTA
#define PLACE(T, N) place_entries<T>(h, product, OPTIONAL(kept, 2), sizes, drop, HERE)
INSTANCES(place, PLACE_ARGS, PLACE)

#define UNPLACE_ARGS(T) device float *dproduct, const device T *dh, DELTA
#define UNPLACE(T, N) unplace_entries<T>(dproduct, dh, OPTIONAL(kept, 2), sizes, drop, HERE)
INSTANCES(unplace, UNPLACE_ARGS, UNPLACE)
