// What is left of a routed layer's gradients: sums of planes, and `up` expert by expert.
#include "routed.cuh"

constexpr int MANY = 4 * THREADS; // threads of a block: sums over planes take long

// Sums of all planes' columns from `first` on: calls f(i, sum) for each of `p`, the same thread
// for the same column each time.
template <class F>
__device__ inline void each_column(const float *planes, int count, int64_t stride, int64_t first,
                                   int p, F f) {
  __shared__ float parts[MANY / THREADS][THREADS];
  int part = threadIdx.x / THREADS, place = threadIdx.x % THREADS;
  for (int from = 0; from < p; from += THREADS) {
    int i = from + place;
    float sum = 0;
#pragma unroll 8
    for (int plane = part; plane < count; plane += MANY / THREADS)
      sum += i < p ? planes[plane * stride + first + i] : 0.0f;
    parts[part][place] = sum;
    __syncthreads();
    sum = 0;
    for (int other = 0; other < MANY / THREADS; other++) sum += parts[other][place];
    if (part == 0 && i < p) f(i, sum);
    __syncthreads(); // the next columns take the same places
  }
}

// The gradients of sim [p, experts], of the projection's bias and of the temperature: one block to
// an expert, one to the rest.
__device__ inline void router(float *dsim, float *dbias, float *dtemperature, const float *planes,
                              const Units &units, const float *temperature, int count,
                              const Sizes &s, float limit) {
  int e = blockIdx.x;
  int64_t stride = int64_t(s.experts + 1) * s.all + 1, first = int64_t(e) * s.all;
  float along = 0;
  each_column(planes, count, stride, first, s.p, [&](int i, float du) {
    if (e == s.experts) {
      if (dbias) dbias[i] = du;
      return;
    }
    dsim[int64_t(i) * s.experts + e] = du;
    along += units.unit(e)[i] * du;
  });
  if (e == s.experts)
    for (int plane = threadIdx.x; plane < count; plane += MANY)
      along += planes[plane * stride + stride - 1];
  along = block_sum<MANY>(along);
  if (e == s.experts) {
    if (threadIdx.x == 0) *dtemperature = *temperature <= limit ? along : 0.0f;
    return;
  }
  // A vector shorter than EPS is divided by a constant: its length does not matter.
  float length = units.length(e), inverse = 1.0f / fmaxf(length, EPS);
  if (length <= EPS) along = 0;
  if (threadIdx.x < THREADS)
    for (int i = threadIdx.x; i < s.p; i += THREADS) { // this thread's own
      float *d = dsim + int64_t(i) * s.experts + e;
      *d = (*d - units.unit(e)[i] * along) * inverse;
    }
}

// All `up` [out, r], expert by expert, from [ranks, out].
__device__ inline void apart(float *ups, const float *up, const Firsts &firsts, const Sizes &s,
                             int64_t i) {
  int rank = i / s.out, col = i % s.out, e = owner(firsts, s.experts, rank);
  if (e == s.experts) return;
  int64_t first = firsts.at[e], count = firsts.at[e + 1] - first;
  ups[first * s.out + col * count + rank - first] = up[i];
}

extern "C" __global__ void __launch_bounds__(MANY)
    routed_finish(float *ups, float *dsim, float *dbias, float *dtemperature, const float *up,
                  const float *planes, const float *units, const float *temperature, int count,
                  Firsts firsts, Sizes s, float limit) {
  int first = s.cosine() ? s.experts + 1 : 0; // the blocks of the router
  if (blockIdx.x < first)
    return router(dsim, dbias, dtemperature, planes, {units, s.experts, s.all}, temperature, count,
                  s, limit);
  int64_t i = (int64_t(blockIdx.x) - first) * MANY + threadIdx.x;
  if (i < int64_t(s.ranks) * s.out) apart(ups, up, firsts, s, i);
}
