// The directions of a router's experts: one group to an expert.
#include "common.h"

constant constexpr int THREADS = 256;  // of a group
constant constexpr float EPS = 1e-12f; // shortest length that a vector is divided by

// The sum of `v` over a group, for all of its threads, always in the same order; `parts` has a
// place for each SIMD group.
inline float block_sum(float v, threadgroup float *parts, Thread here) {
  v = warp_sum(v);
  if (here.lane == 0) parts[here.warp] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sum = 0;
  for (int warp = 0; warp < THREADS / 32; warp++) sum += parts[warp];
  return sum;
}

// Unit vectors [experts, p] and lengths of the columns of `sim` [p, experts]; the scale.
kernel void units(device float *to, device float *lengths, device float *scale,
                  const device float *sim, const device float *temperature, constant int &p,
                  constant int &experts, constant float &limit, THREAD) {
  SHARED float parts[THREADS / 32];
  int e = block_.x, own = at_.x;
  float square = 0;
  for (int i = own; i < p; i += THREADS) {
    float v = sim[i * experts + e];
    square += v * v;
  }
  float norm = sqrt(block_sum(square, parts, HERE)), inverse = 1.0f / max(norm, EPS);
  for (int i = own; i < p; i += THREADS) to[e * p + i] = sim[i * experts + e] * inverse;
  if (own > 0) return;
  lengths[e] = norm;
  if (e == 0) *scale = exp(min(*temperature, limit));
}

// The gradient of `sim` from `du` [p, experts], that of its directions; in one group more that of
// the temperature, from the scores and theirs.
template <class T>
inline void directions_grad(device float *dsim, device float *dtemperature, const device T *du,
                            const device float *units, const device float *lengths,
                            const device float *temperature, const device float *grad,
                            const device float *scores, long entries, int p, int experts,
                            float limit, threadgroup float *parts, Thread here) {
  int e = here.block.x, own = here.at.x;
  if (e == experts) {
    float sum = 0;
    for (long i = own; i < entries; i += THREADS) sum += grad[i] * scores[i];
    sum = block_sum(sum, parts, here);
    if (own == 0) *dtemperature = *temperature <= limit ? sum : 0.0f;
    return;
  }
  float along = 0;
  for (int i = own; i < p; i += THREADS) along += units[e * p + i] * float(du[i * experts + e]);
  along = block_sum(along, parts, here);
  // A vector shorter than EPS is divided by a constant: its length does not matter.
  float norm = lengths[e], inverse = 1.0f / max(norm, EPS);
  if (norm <= EPS) along = 0;
  for (int i = own; i < p; i += THREADS)
    dsim[i * experts + e] = (float(du[i * experts + e]) - units[e * p + i] * along) * inverse;
}

#define UNITS_GRAD_ARGS(T)                                                                         \
  device float *dsim, device float *dtemperature, const device T *du, const device float *units,   \
      const device float *lengths, const device float *temperature, const device float *grad,      \
      const device float *scores, constant long &entries, constant int &p, constant int &experts,  \
      constant float &limit
#define UNITS_GRAD(T, N)                                                                           \
  SHARED float parts[THREADS / 32];                                                                \
  directions_grad<T>(dsim, dtemperature, du, units, lengths, temperature, grad, scores, entries,   \
                     p, experts, limit, parts, HERE)
INSTANCE(units_grad, _f32, float, 1, UNITS_GRAD_ARGS, UNITS_GRAD)
INSTANCE(units_grad, _f16, half, 1, UNITS_GRAD_ARGS, UNITS_GRAD)
INSTANCE_BF16(units_grad, _bf16, bfloat, 1, UNITS_GRAD_ARGS, UNITS_GRAD)
