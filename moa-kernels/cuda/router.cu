// Cosine scores: one warp to a token.
#include "common.cuh"

__device__ constexpr float EPS = 1e-12f; // shortest length that a vector is divided by

// scores = scale z . unit_e / |z|, twice, and |z|; `units` [experts, p]
template <class T, int N>
__device__ inline void cosine(float *scores, float *again, float *lengths, const T *z,
                              const float *units, const float *scale, int64_t tokens, int p,
                              int experts) {
  int64_t t = warp_row();
  if (t >= tokens) return;
  z += t * p;
  float square = 0;
  for (int i = threadIdx.x * N; i < p; i += 32 * N) {
    float v[N];
    load<N>(z + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) square += v[j] * v[j];
  }
  float length = sqrtf(warp_sum(square)), factor = *scale / fmaxf(length, EPS);
  for (int e = 0; e < experts; e++) {
    float dot = 0;
    for (int i = threadIdx.x * N; i < p; i += 32 * N) {
      float v[N];
      load<N>(z + i, v);
#pragma unroll
      for (int j = 0; j < N; j++) dot += v[j] * units[e * p + i + j];
    }
    dot = warp_sum(dot);
    if (threadIdx.x == 0) scores[t * experts + e] = again[t * experts + e] = factor * dot;
  }
  if (threadIdx.x == 0) lengths[t] = length;
}

// The gradient of z, and `along` = scale grad / |z|, from which that of the units follows.
template <class T, int N>
__device__ inline void cosine_grad(T *dz, T *along, const T *z, const float *units,
                                   const float *scale, const float *lengths, const float *grad,
                                   int64_t tokens, int p, int experts) {
  int64_t t = warp_row();
  if (t >= tokens) return;
  z += t * p, dz += t * p, grad += t * experts;
  float length = lengths[t], inverse = 1.0f / fmaxf(length, EPS), dot = 0;
  for (int i = threadIdx.x * N; i < p; i += 32 * N) {
    float v[N];
    load<N>(z + i, v);
    for (int e = 0; e < experts; e++) {
      float g = *scale * grad[e];
#pragma unroll
      for (int j = 0; j < N; j++) dot += g * units[e * p + i + j] * v[j];
    }
  }
  // A vector shorter than EPS is divided by a constant: its length does not matter.
  dot = length > EPS ? warp_sum(dot) * inverse * inverse : 0.0f;
  for (int i = threadIdx.x * N; i < p; i += 32 * N) {
    float v[N], d[N] = {};
    load<N>(z + i, v);
    for (int e = 0; e < experts; e++) {
      float g = *scale * grad[e];
#pragma unroll
      for (int j = 0; j < N; j++) d[j] += g * units[e * p + i + j];
    }
#pragma unroll
    for (int j = 0; j < N; j++) d[j] = (d[j] - v[j] * dot) * inverse;
    store<N>(dz + i, d);
  }
  for (int e = threadIdx.x; e < experts; e += 32)
    along[t * experts + e] = from_float<T>(*scale * grad[e] * inverse);
}

#define COSINE_ARGS(T)                                                                             \
  (float *scores, float *again, float *lengths, const T *z, const float *units,                    \
   const float *scale, int64_t tokens, int p, int experts)
#define COSINE(T, N) cosine<T, N>(scores, again, lengths, z, units, scale, tokens, p, experts)
INSTANCES(cosine, COSINE_ARGS, COSINE)

#define COSINE_GRAD_ARGS(T)                                                                        \
  (T *dz, T *along, const T *z, const float *units, const float *scale, const float *lengths,      \
   const float *grad, int64_t tokens, int p, int experts)
#define COSINE_GRAD(T, N)                                                                          \
  cosine_grad<T, N>(dz, along, z, units, scale, lengths, grad, tokens, p, experts)
INSTANCES(cosine_grad, COSINE_GRAD_ARGS, COSINE_GRAD)
