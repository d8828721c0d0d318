// Layer normalisation: one warp to a row.
#include "common.cuh"

// Mean and 1 / standard deviation of a row.
template <class T, int N>
__device__ inline float2 moments(const T *x, int d, float eps) {
  float sum = 0;
  for (int i = threadIdx.x * N; i < d; i += 32 * N) {
    float v[N];
    load<N>(x + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) sum += v[j];
  }
  float mean = warp_sum(sum) / d, square = 0;
  for (int i = threadIdx.x * N; i < d; i += 32 * N) {
    float v[N];
    load<N>(x + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) square += (v[j] - mean) * (v[j] - mean);
  }
  return make_float2(mean, rsqrtf(warp_sum(square) / d + eps));
}

template <class T, int N>
__device__ inline void forward(T *y, const T *x, const T *gamma, const T *beta, int64_t rows, int d,
                               float eps) {
  int64_t row = warp_row();
  if (row >= rows) return;
  x += row * d, y += row * d;
  float2 m = moments<T, N>(x, d, eps);
  for (int i = threadIdx.x * N; i < d; i += 32 * N) {
    float v[N], g[N], b[N];
    load<N>(x + i, v), load<N>(gamma + i, g), load<N>(beta + i, b);
#pragma unroll
    for (int j = 0; j < N; j++) v[j] = (v[j] - m.x) * m.y * g[j] + b[j];
    store<N>(y + i, v);
  }
}

// dx = the gradient of x, plus `before` if there is one.
template <class T, int N>
__device__ inline void input_grad(T *dx, const T *x, const T *gamma, const T *dy, const T *before,
                                  int64_t rows, int d, float eps) {
  int64_t row = warp_row();
  if (row >= rows) return;
  x += row * d, dy += row * d, dx += row * d;
  float2 m = moments<T, N>(x, d, eps);
  float sum = 0, along = 0;
  for (int i = threadIdx.x * N; i < d; i += 32 * N) {
    float v[N], g[N], s[N];
    load<N>(x + i, v), load<N>(gamma + i, g), load<N>(dy + i, s);
#pragma unroll
    for (int j = 0; j < N; j++) {
      s[j] *= g[j];
      sum += s[j];
      along += s[j] * (v[j] - m.x) * m.y;
    }
  }
  sum = warp_sum(sum) / d, along = warp_sum(along) / d;
  for (int i = threadIdx.x * N; i < d; i += 32 * N) {
    float v[N], g[N], s[N], b[N] = {};
    load<N>(x + i, v), load<N>(gamma + i, g), load<N>(dy + i, s);
    if (before) load<N>(before + row * d + i, b);
#pragma unroll
    for (int j = 0; j < N; j++)
      b[j] += m.y * (s[j] * g[j] - sum - (v[j] - m.x) * m.y * along);
    store<N>(dx + i, b);
  }
}

#define FORWARD_ARGS(T) (T *y, const T *x, const T *gamma, const T *beta, int64_t rows, int d, float eps)
#define FORWARD(T, N) forward<T, N>(y, x, gamma, beta, rows, d, eps)
INSTANCES(layer_norm, FORWARD_ARGS, FORWARD)

#define GRAD_ARGS(T)                                                                               \
  (T *dx, const T *x, const T *gamma, const T *dy, const T *before, int64_t rows, int d, float eps)
#define GRAD(T, N) input_grad<T, N>(dx, x, gamma, dy, before, rows, d, eps)
INSTANCES(layer_norm_grad, GRAD_ARGS, GRAD)
