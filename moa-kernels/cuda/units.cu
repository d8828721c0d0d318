// The directions of a router's experts: one block to an expert.
#include "common.cuh"

constexpr int THREADS = 256;             // of a block
__device__ constexpr float EPS = 1e-12f; // shortest length that a vector is divided by

// Unit vectors [experts, p] and lengths of the columns of `sim` [p, experts]; the scale.
extern "C" __global__ void units(float *units, float *lengths, float *scale, const float *sim,
                                 const float *temperature, int p, int experts, float limit) {
  int e = blockIdx.x;
  float square = 0;
  for (int i = threadIdx.x; i < p; i += THREADS) {
    float v = sim[i * experts + e];
    square += v * v;
  }
  float length = sqrtf(block_sum<THREADS>(square)), inverse = 1.0f / fmaxf(length, EPS);
  for (int i = threadIdx.x; i < p; i += THREADS)
    units[e * p + i] = sim[i * experts + e] * inverse;
  if (threadIdx.x > 0) return;
  lengths[e] = length;
  if (e == 0) *scale = expf(fminf(*temperature, limit));
}

// The gradient of `sim` from `du` [p, experts], that of its directions; in one block more that of
// the temperature, from the scores and theirs.
template <class T, int N>
__device__ inline void units_grad(float *dsim, float *dtemperature, const T *du, const float *units,
                                  const float *lengths, const float *temperature, const float *grad,
                                  const float *scores, int64_t entries, int p, int experts,
                                  float limit) {
  int e = blockIdx.x;
  if (e == experts) {
    float sum = 0;
    for (int64_t i = threadIdx.x; i < entries; i += THREADS) sum += grad[i] * scores[i];
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) *dtemperature = *temperature <= limit ? sum : 0.0f;
    return;
  }
  float along = 0;
  for (int i = threadIdx.x; i < p; i += THREADS)
    along += units[e * p + i] * to_float(du[i * experts + e]);
  along = block_sum<THREADS>(along);
  // A vector shorter than EPS is divided by a constant: its length does not matter.
  float length = lengths[e], inverse = 1.0f / fmaxf(length, EPS);
  if (length <= EPS) along = 0;
  for (int i = threadIdx.x; i < p; i += THREADS)
    dsim[i * experts + e] = (to_float(du[i * experts + e]) - units[e * p + i] * along) * inverse;
}

#define UNITS_GRAD_ARGS(T)                                                                         \
  (float *dsim, float *dtemperature, const T *du, const float *units, const float *lengths,        \
   const float *temperature, const float *grad, const float *scores, int64_t entries, int p,       \
   int experts, float limit)
#define UNITS_GRAD(T, N)                                                                           \
  units_grad<T, N>(dsim, dtemperature, du, units, lengths, temperature, grad, scores, entries, p,  \
                   experts, limit)
INSTANCE(units_grad, _f32, float, 1, UNITS_GRAD_ARGS, UNITS_GRAD)
INSTANCE(units_grad, _f16, __half, 1, UNITS_GRAD_ARGS, UNITS_GRAD)
INSTANCE(units_grad, _bf16, __nv_bfloat16, 1, UNITS_GRAD_ARGS, UNITS_GRAD)
