// What is small of a Kronecker layer: products of its factors, and their gradients.
#include "common.cuh"

constexpr int WARPS = 8; // of a block

// `in` is t a, `out` is t b.
struct Sizes {
  int experts, t, a, b;
};

// s, v [t, t]; left [t, a, r] and right [t, r, b] of each expert.
struct Factors {
  const float *s, *v;
  const Table<const float *> &lefts, &rights;
  const Table<int64_t> &ranks;
};

// outer [t, t^2] has s_i v_i as rows, inner [t, E a b] L_ei R_ei.
extern "C" __global__ void kronecker_factors(float *outer, float *inner, const float *s,
                                             const float *v, Table<const float *> lefts,
                                             Table<const float *> rights, Table<int64_t> ranks,
                                             Sizes n) {
  int64_t i = first_element<1>(), outers = int64_t(n.t) * n.t * n.t;
  if (i < outers) {
    int row = i / (n.t * n.t);
    outer[i] = s[row * n.t + i / n.t % n.t] * v[row * n.t + i % n.t];
    return;
  }
  i -= outers;
  if (i >= int64_t(n.t) * n.experts * n.a * n.b) return;
  int l = i % n.b, k = i / n.b % n.a, e = i / (n.b * n.a) % n.experts;
  int row = i / (int64_t(n.b) * n.a * n.experts), rank = ranks.at[e];
  const float *left = lefts.at[e] + (int64_t(row) * n.a + k) * rank;
  const float *right = rights.at[e] + int64_t(row) * rank * n.b + l;
  float sum = 0;
  for (int r = 0; r < rank; r++) sum += left[r] * right[int64_t(r) * n.b];
  inner[i] = sum;
}

// The sum of a[i] b[i] over a warp's lanes; `a` and `b` are rows.
__device__ inline float dot(const float *a, const float *b, int count) {
  float sum = 0;
  for (int i = threadIdx.x % 32; i < count; i += 32) sum += a[i] * b[i];
  return warp_sum(sum);
}

// Gradients that sum over columns: of s, then of the experts' left ones. One warp to an entry.
__device__ inline void over_columns(float *ds, const Table<float *> &dlefts, const float *douter,
                                    const float *dinner, const Factors &f, const Sizes &n,
                                    int64_t i) {
  float *to = ds + i, sum;
  if (i < n.t * n.t) {
    sum = dot(douter + i * n.t, f.v + i / n.t * n.t, n.t);
  } else {
    i -= n.t * n.t;
    int e = 0;
    for (; e < n.experts && i >= int64_t(n.t) * n.a * f.ranks.at[e]; e++)
      i -= int64_t(n.t) * n.a * f.ranks.at[e];
    if (e == n.experts) return;
    int rank = f.ranks.at[e], r = i % rank, k = i / rank % n.a, row = i / (rank * n.a);
    const float *d = dinner + ((int64_t(row) * n.experts + e) * n.a + k) * n.b;
    sum = dot(d, f.rights.at[e] + (int64_t(row) * rank + r) * n.b, n.b);
    to = dlefts.at[e] + i;
  }
  if (threadIdx.x % 32 == 0) *to = sum;
}

// Gradients that sum over rows: of v, then of the experts' right ones. One thread to an entry.
__device__ inline void over_rows(float *dv, const Table<float *> &drights, const float *douter,
                                 const float *dinner, const Factors &f, const Sizes &n, int64_t i) {
  float sum = 0;
  if (i < n.t * n.t) {
    int row = i / n.t, q = i % n.t;
    for (int p = 0; p < n.t; p++)
      sum += f.s[row * n.t + p] * douter[(int64_t(row) * n.t + p) * n.t + q];
    dv[i] = sum;
    return;
  }
  i -= n.t * n.t;
  int e = 0;
  for (; e < n.experts && i >= int64_t(n.t) * n.b * f.ranks.at[e]; e++)
    i -= int64_t(n.t) * n.b * f.ranks.at[e];
  if (e == n.experts) return;
  int rank = f.ranks.at[e], l = i % n.b, r = i / n.b % rank, row = i / (int64_t(n.b) * rank);
  const float *d = dinner + (int64_t(row) * n.experts + e) * n.a * n.b + l;
  const float *left = f.lefts.at[e] + int64_t(row) * n.a * rank + r;
  for (int k = 0; k < n.a; k++) sum += left[int64_t(k) * rank] * d[int64_t(k) * n.b];
  drights.at[e][i] = sum;
}

// All of them, from douter [t, t^2] and dinner [t, E a b]; the first `warps` blocks are those of
// entries that have a warp.
extern "C" __global__ void kronecker_factor_grads(float *ds, float *dv, Table<float *> dlefts,
                                                  Table<float *> drights, const float *douter,
                                                  const float *dinner, const float *s,
                                                  const float *v, Table<const float *> lefts,
                                                  Table<const float *> rights,
                                                  Table<int64_t> ranks, Sizes n, int warps) {
  Factors f{s, v, lefts, rights, ranks};
  if (blockIdx.x < warps) {
    int64_t i = int64_t(blockIdx.x) * WARPS + threadIdx.x / 32;
    return over_columns(ds, dlefts, douter, dinner, f, n, i);
  }
  int64_t i = (int64_t(blockIdx.x) - warps) * blockDim.x + threadIdx.x;
  over_rows(dv, drights, douter, dinner, f, n, i);
}
