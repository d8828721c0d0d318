// Layer normalisation: one SIMD group to a row.
#include "common.h"

// Mean and 1 / standard deviation of a row.
template <class T, int N> inline float2 moments(const device T *x, int d, float eps, int lane) {
  float sum = 0;
  for (int i = lane * N; i < d; i += 32 * N) {
    float v[N];
    load<N>(x + i, v);
    for (int j = 0; j < N; j++) sum += v[j];
  }
  float mean = warp_sum(sum) / d, square = 0;
  for (int i = lane * N; i < d; i += 32 * N) {
    float v[N];
    load<N>(x + i, v);
    for (int j = 0; j < N; j++) square += (v[j] - mean) * (v[j] - mean);
  }
  return float2(mean, 1.0f / sqrt(warp_sum(square) / d + eps));
}

template <class T, int N>
inline void norm_rows(device T *y, const device T *x, const device T *gamma, const device T *beta,
                      long rows, int d, float eps, Thread here) {
  long row = warp_row(here);
  if (row >= rows) return;
  x += row * d, y += row * d;
  int lane = here.lane;
  float2 m = moments<T, N>(x, d, eps, lane);
  for (int i = lane * N; i < d; i += 32 * N) {
    float v[N], g[N], b[N];
    load<N>(x + i, v), load<N>(gamma + i, g), load<N>(beta + i, b);
    for (int j = 0; j < N; j++) v[j] = (v[j] - m.x) * m.y * g[j] + b[j];
    store<N>(y + i, v);
  }
}

// dx = the gradient of x, plus `before` if there is one.
template <class T, int N>
inline void norm_rows_grad(device T *dx, const device T *x, const device T *gamma,
                           const device T *dy, const device T *before, long rows, int d, float eps,
                           Thread here) {
  long row = warp_row(here);
  if (row >= rows) return;
  x += row * d, dy += row * d, dx += row * d;
  int lane = here.lane;
  float2 m = moments<T, N>(x, d, eps, lane);
  float sum = 0, along = 0;
  for (int i = lane * N; i < d; i += 32 * N) {
    float v[N], g[N], s[N];
    load<N>(x + i, v), load<N>(gamma + i, g), load<N>(dy + i, s);
    for (int j = 0; j < N; j++) {
      s[j] *= g[j];
      sum += s[j];
      along += s[j] * (v[j] - m.x) * m.y;
    }
  }
  sum = warp_sum(sum) / d, along = warp_sum(along) / d;
  for (int i = lane * N; i < d; i += 32 * N) {
    float v[N], g[N], s[N], b[N];
    load<N>(x + i, v), load<N>(gamma + i, g), load<N>(dy + i, s), fill<N>(b, 0);
    if (before) load<N>(before + row * d + i, b);
    for (int j = 0; j < N; j++) b[j] += m.y * (s[j] * g[j] - sum - (v[j] - m.x) * m.y * along);
    store<N>(dx + i, b);
  }
}

#define FORWARD_ARGS(T)                                                                            \
  device T *y, const device T *x, const device T *gamma, const device T *beta,                     \
      constant long &rows, constant int &d, constant float &eps
#define FORWARD(T, N) norm_rows<T, N>(y, x, gamma, beta, rows, d, eps, HERE)
INSTANCES(layer_norm, FORWARD_ARGS, FORWARD)

#define GRAD_ARGS(T)                                                                               \
  device T *dx, const device T *x, const device T *gamma, const device T *dy,                      \
      const device T *before, constant long &rows, constant int &d, constant float &eps, GIVEN
#define GRAD(T, N) norm_rows_grad<T, N>(dx, x, gamma, dy, OPTIONAL(before, 4), rows, d, eps, HERE)
INSTANCES(layer_norm_grad, GRAD_ARGS, GRAD)
