// The operands of a routed layer's products, from its tensors: one launch.
#include "routed.cuh"

// Where they come from; null where there is none.
template <class T> struct Parts {
  const T *weight;
  const Table<const float *> &downs, &ups; // [r, width] and [out, r] of each expert
  const float *projection, *bias;  // of the router
  const float *sim, *temperature;
  const T *base_bias;
  const float *own_bias; // of the layer
};

// Directions and what goes with them: a warp to an expert, one more for the rest.
template <class T>
__device__ inline void directions(float *units, const Parts<T> &from, const Sizes &s, float limit) {
  int e = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (e > s.experts) return;
  float *to = units + int64_t(e) * s.all, *rest = units + int64_t(s.experts + 1) * s.all;
  if (e == s.experts) {
    for (int i = lane; i < s.all; i += 32) to[i] = from.bias && i < s.p ? from.bias[i] : 0.0f;
    if (lane == 0) rest[e] = expf(fminf(*from.temperature, limit));
    return;
  }
  float square = 0;
  for (int i = lane; i < s.p; i += 32) {
    float v = from.sim[int64_t(i) * s.experts + e];
    square += v * v;
  }
  float length = sqrtf(warp_sum(square)), inverse = 1.0f / fmaxf(length, EPS);
  for (int i = lane; i < s.all; i += 32)
    to[i] = i < s.p ? from.sim[int64_t(i) * s.experts + e] * inverse : 0.0f;
  if (lane == 0) rest[e] = length;
}

// N entries of row `row` of U from column `col` on.
template <int N, class T>
__device__ inline void row_of(float (&v)[N], const Parts<T> &from, const Firsts &firsts,
                              const Sizes &s, int row, int col) {
  const float *at = nullptr;
  if (row < s.ranks) {
    int e = owner(firsts, s.experts, row);
    if (e < s.experts) at = from.downs.at[e] + (row - firsts.at[e]) * s.width;
  } else if (row - s.ranks < s.p) {
    at = from.projection + int64_t(row - s.ranks) * s.width;
  }
#pragma unroll
  for (int j = 0; j < N; j++) v[j] = at ? at[col + j] : 0.0f;
}

// N entries of all `up`, [ranks, out], from column `col` on.
template <int N, class T>
__device__ inline void up_of(float (&v)[N], const Parts<T> &from, const Firsts &firsts,
                             const Sizes &s, int rank, int col) {
  int e = owner(firsts, s.experts, rank);
  int64_t first = firsts.at[e], count = e < s.experts ? firsts.at[e + 1] - first : 0;
#pragma unroll
  for (int j = 0; j < N; j++) {
    v[j] = 0;
    if (e < s.experts) v[j] = from.ups.at[e][(col + j) * count + rank - first];
    else if (s.biased() && rank == first)
      v[j] = (from.base_bias ? to_float(from.base_bias[col + j]) : 0.0f) +
             (from.own_bias ? from.own_bias[col + j] : 0.0f);
  }
}

// `both` is [W; U], `below` U again, which the backward pass takes, `up` [ranks, out].
template <class T, int N>
__device__ inline void pack(T *both, T *below, T *up, float *units, const Parts<T> &from,
                            const Firsts &firsts, const Sizes &s, float limit) {
  int first = s.cosine() ? (s.experts + WARPS) / WARPS : 0; // the blocks of directions
  if (blockIdx.x < first) return directions(units, from, s, limit);
  int64_t i = ((int64_t(blockIdx.x) - first) * THREADS + threadIdx.x) * N;
  int64_t own = int64_t(s.out) * s.width, under = int64_t(s.kept()) * s.width;
  float v[N];
  if (i < own) {
    *reinterpret_cast<Pack<T, N> *>(both + i) = *reinterpret_cast<const Pack<T, N> *>(from.weight + i);
  } else if (i < own + under) {
    int64_t at = i - own;
    row_of<N>(v, from, firsts, s, at / s.width, at % s.width);
    if (both) store<N>(both + i, v);
    if (below) store<N>(below + at, v);
  } else if (i < own + under + int64_t(s.ranks) * s.out) {
    int64_t at = i - own - under;
    up_of<N>(v, from, firsts, s, at / s.out, at % s.out);
    store<N>(up + at, v);
  }
}

#define PACK_ARGS(T)                                                                               \
  (T *both, T *below, T *up, float *units, const T *weight, Table<const float *> downs,            \
   Table<const float *> ups, const float *projection, const float *bias, const float *sim,         \
   const float *temperature, const T *base_bias, const float *own_bias, Firsts firsts, Sizes s,    \
   float limit)
#define PACK(T, N)                                                                                 \
  pack<T, N>(both, below, up, units,                                                               \
             Parts<T>{weight, downs, ups, projection, bias, sim, temperature, base_bias, own_bias},   \
             firsts, s, limit)
INSTANCES(routed_pack, PACK_ARGS, PACK)
