// Tokens in the order of their experts, and the deltas of Kronecker experts.
#include "common.cuh"
#include "philox.cuh"

// Row `place` of the result is that of the token of its pair, which has the number token k + choice;
// times its scaled gate, if there are any.
template <class T, int N>
__device__ inline void gather(T *to, const T *from, const uint32_t *pairs, const float *gates,
                              int64_t count, int d, int k, float scale) {
  int64_t i = first_element<N>();
  if (i >= count * d) return;
  uint32_t pair = pairs[i / d];
  float v[N], w = gates ? gates[pair] * scale : 1.0f;
  load<N>(from + pair / k * int64_t(d) + i % d, v);
#pragma unroll
  for (int j = 0; j < N; j++) v[j] *= w;
  store<N>(to + i, v);
}

// Row t of the result is that of `base` plus the rows at the places of its pairs, each times its
// scaled gate.
template <class T, int N>
__device__ inline void combine(T *to, const T *base, const T *rows, const uint32_t *places,
                               const float *gates, const T *bias, int64_t tokens, int d, int k,
                               float scale) {
  int64_t i = first_element<N>();
  if (i >= tokens * d) return;
  int64_t t = i / d;
  int c = i % d;
  float sum[N], v[N], b[N] = {};
  load<N>(base + i, sum);
  if (bias) load<N>(bias + c, b);
#pragma unroll
  for (int j = 0; j < N; j++) sum[j] += b[j];
  for (int choice = 0; choice < k; choice++) {
    int64_t pair = t * k + choice;
    float w = gates[pair] * scale;
    load<N>(rows + places[pair] * int64_t(d) + c, v);
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] += w * v[j];
  }
  store<N>(to + i, sum);
}

// to[p] = scale * a[places[p]] . b[p / k]: one warp to a pair.
template <class T, int N>
__device__ inline void dots(float *to, const T *a, const T *b, const uint32_t *places, int64_t pairs,
                            int d, int k, float scale) {
  int64_t pair = warp_row();
  if (pair >= pairs) return;
  a += int64_t(places[pair]) * d, b += pair / k * d;
  float sum = 0;
  for (int i = threadIdx.x * N; i < d; i += 32 * N) {
    float v[N], w[N];
    load<N>(a + i, v), load<N>(b + i, w);
#pragma unroll
    for (int j = 0; j < N; j++) sum += v[j] * w[j];
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) to[pair] = sum * scale;
}

#define GATHER_ARGS(T)                                                                             \
  (T *to, const T *from, const uint32_t *pairs, const float *gates, int64_t count, int d, int k,   \
   float scale)
#define GATHER(T, N) gather<T, N>(to, from, pairs, gates, count, d, k, scale)
INSTANCES(gather, GATHER_ARGS, GATHER)

#define COMBINE_ARGS(T)                                                                            \
  (T *to, const T *base, const T *rows, const uint32_t *places, const float *gates, const T *bias, \
   int64_t tokens, int d, int k, float scale)
#define COMBINE(T, N) combine<T, N>(to, base, rows, places, gates, bias, tokens, d, k, scale)
INSTANCES(combine, COMBINE_ARGS, COMBINE)

#define DOTS_ARGS(T)                                                                               \
  (float *to, const T *a, const T *b, const uint32_t *places, int64_t pairs, int d, int k,         \
   float scale)
#define DOTS(T, N) dots<T, N>(to, a, b, places, pairs, d, k, scale)
INSTANCES(dots, DOTS_ARGS, DOTS)

// Which entries of deltas are kept: all, those that random bits say, or given bytes.
struct Drop {
  Key key;
  uint64_t layer;
  uint32_t threshold; // of 16 random bits; more than they can be keeps all
  float factor;
};

// The sizes of a Kronecker layer: `in` is t a, `out` is t b.
struct Sizes {
  int experts, t, a, b;
};

// Where an entry of the delta of expert e stands in the product [t^2, E a b].
struct Place {
  int t, a, b, width, expert;
  __device__ Place(Sizes s, int e) : t(s.t), a(s.a), b(s.b), width(s.experts * a * b), expert(e * a) {}
  __device__ int64_t operator()(int entry) const {
    int row = entry / (t * b), column = entry - row * (t * b);
    int p = row / a, k = row - p * a, q = column / b, l = column - q * b;
    return int64_t(p * t + q) * width + (expert + k) * b + l;
  }
};

// Calls f(entry, factor) for 256 entries of expert e, lane by lane for 32 neighbours at a time.
// The random bits of 8 entries are one lane's work, which the others read from it.
template <class F>
__device__ inline void each_entry(const uint8_t *given, Sizes s, Drop drop, F f) {
  int lane = threadIdx.x, e = blockIdx.y, entries = s.t * s.a * s.t * s.b;
  int64_t first = warp_row() * 256;
  bool random = !given && drop.threshold <= 65535;
  uint32_t keep = 0;
  if (random) {
    uint4 words = philox(drop.key, drop.layer << 48 | uint64_t(e) << 40 | uint64_t(first / 8 + lane));
    uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int j = 0; j < 8; j++)
      keep |= uint32_t((word[j / 2] >> (16 * (j % 2)) & 0xffffu) < drop.threshold) << j;
  }
  for (int j = 0; j < 8; j++) {
    int64_t entry = first + 32 * j + lane;
    bool kept = __shfl_sync(0xffffffffu, keep, 4 * j + lane / 8) >> (lane % 8) & 1;
    if (entry >= entries) continue;
    if (given) kept = given[int64_t(e) * entries + entry];
    f(int(entry), kept || !(random || given) ? drop.factor : 0.0f);
  }
}

// The product's entries to their places, [experts, in, out]; some dropped.
template <class T>
__device__ inline void place(T *h, const float *product, const uint8_t *given, Sizes s, Drop drop) {
  Place at(s, blockIdx.y);
  h += int64_t(blockIdx.y) * s.t * s.a * s.t * s.b;
  each_entry(given, s, drop,
             [&](int i, float factor) { h[i] = from_float<T>(factor * product[at(i)]); });
}

// The way back, for the gradient.
template <class T>
__device__ inline void unplace(float *dproduct, const T *dh, const uint8_t *given, Sizes s,
                               Drop drop) {
  Place at(s, blockIdx.y);
  dh += int64_t(blockIdx.y) * s.t * s.a * s.t * s.b;
  each_entry(given, s, drop,
             [&](int i, float factor) { dproduct[at(i)] = factor * to_float(dh[i]); });
}

#define PLACE_ARGS(T) (T *h, const float *product, const uint8_t *given, Sizes s, Drop drop)
#define PLACE(T, N) place<T>(h, product, given, s, drop)
INSTANCES(place, PLACE_ARGS, PLACE)

#define UNPLACE_ARGS(T) (float *dproduct, const T *dh, const uint8_t *given, Sizes s, Drop drop)
#define UNPLACE(T, N) unplace<T>(dproduct, dh, given, s, drop)
INSTANCES(unplace, UNPLACE_ARGS, UNPLACE)
