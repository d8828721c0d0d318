// Cosine scores: one SIMD group to a token.
#include "common.h"

constant constexpr float EPS = 1e-12f; // shortest length that a vector is divided by

// scores = scale z . unit_e / |z|, twice, and |z|; `units` [experts, p]
template <class T, int N>
inline void cosine_scores(device float *scores, device float *again, device float *lengths,
                          const device T *z, const device float *units, const device float *scale,
                          long tokens, int p, int experts, Thread here) {
  long t = warp_row(here);
  if (t >= tokens) return;
  z += t * p;
  int lane = here.lane;
  float square = 0;
  for (int i = lane * N; i < p; i += 32 * N) {
    float v[N];
    load<N>(z + i, v);
    for (int j = 0; j < N; j++) square += v[j] * v[j];
  }
  float norm = sqrt(warp_sum(square)), factor = *scale / max(norm, EPS);
  for (int e = 0; e < experts; e++) {
    float sum = 0;
    for (int i = lane * N; i < p; i += 32 * N) {
      float v[N];
      load<N>(z + i, v);
      for (int j = 0; j < N; j++) sum += v[j] * units[e * p + i + j];
    }
    sum = warp_sum(sum);
    if (lane == 0) scores[t * experts + e] = again[t * experts + e] = factor * sum;
  }
  if (lane == 0) lengths[t] = norm;
}

// The gradient of z, and `along` = scale grad / |z|, from which that of the units follows.
template <class T, int N>
inline void cosine_scores_grad(device T *dz, device T *along, const device T *z,
                               const device float *units, const device float *scale,
                               const device float *lengths, const device float *grad, long tokens,
                               int p, int experts, Thread here) {
  long t = warp_row(here);
  if (t >= tokens) return;
  z += t * p, dz += t * p, grad += t * experts;
  int lane = here.lane;
  float norm = lengths[t], inverse = 1.0f / max(norm, EPS), sum = 0;
  for (int i = lane * N; i < p; i += 32 * N) {
    float v[N];
    load<N>(z + i, v);
    for (int e = 0; e < experts; e++) {
      float g = *scale * grad[e];
      for (int j = 0; j < N; j++) sum += g * units[e * p + i + j] * v[j];
    }
  }
  // A vector shorter than EPS is divided by a constant: its length does not matter.
  sum = warp_sum(sum);
  sum = norm > EPS ? sum * inverse * inverse : 0.0f;
  for (int i = lane * N; i < p; i += 32 * N) {
    float v[N], d[N];
    load<N>(z + i, v), fill<N>(d, 0);
    for (int e = 0; e < experts; e++) {
      float g = *scale * grad[e];
      for (int j = 0; j < N; j++) d[j] += g * units[e * p + i + j];
    }
    for (int j = 0; j < N; j++) d[j] = (d[j] - v[j] * sum) * inverse;
    store<N>(dz + i, d);
  }
  for (int e = lane; e < experts; e += 32)
    along[t * experts + e] = T(*scale * grad[e] * inverse);
}

#define COUNTS constant long &tokens, constant int &p, constant int &experts
#define COSINE_ARGS(T)                                                                             \
  device float *scores, device float *again, device float *lengths, const device T *z,             \
      const device float *units, const device float *scale, COUNTS
#define COSINE(T, N)                                                                               \
  cosine_scores<T, N>(scores, again, lengths, z, units, scale, tokens, p, experts, HERE)
INSTANCES(cosine, COSINE_ARGS, COSINE)

#define COSINE_GRAD_ARGS(T)                                                                        \
  device T *dz, device T *along, const device T *z, const device float *units,                     \
      const device float *scale, const device float *lengths, const device float *grad, COUNTS
#define COSINE_GRAD(T, N)                                                                          \
  cosine_scores_grad<T, N>(dz, along, z, units, scale, lengths, grad, tokens, p, experts, HERE)
INSTANCES(cosine_grad, COSINE_GRAD_ARGS, COSINE_GRAD)
