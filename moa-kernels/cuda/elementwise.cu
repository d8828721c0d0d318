// Passes over elements: activations, residual connections, biases. `cols` is the length of a row.
#include "common.cuh"

enum Kind { GELU = 0, QUICK_GELU = 1, NONE = 2 };

// The normal distribution up to x, and exp(-x^2 / 2). Where results are rounded to half
// precision, by formula 7.1.26 of Abramowitz and Stegun, 1.5e-7 off at most: a third of the time.
template <bool EXACT> __device__ inline float2 normal(float x) {
  if (EXACT) return {0.5f * (1.0f + erff(x * 0.70710678118654752f)), expf(-0.5f * x * x)};
  float density = power2(-0.72134752044448170f * x * x);
  float t = inverse(1.0f + 0.23164189f * fabsf(x));
  float sum = 1.061405429f;
  sum = sum * t - 1.453152027f, sum = sum * t + 1.421413741f;
  sum = sum * t - 0.284496736f, sum = sum * t + 0.254829592f;
  float tail = 0.5f * sum * t * density;
  return {x < 0 ? tail : 1.0f - tail, density};
}

template <bool EXACT> __device__ inline float activation(float x, int kind) {
  if (kind == GELU) return x * normal<EXACT>(x).x;
  if (kind == QUICK_GELU) return x / (1.0f + expf(-1.702f * x));
  return x;
}

template <bool EXACT> __device__ inline float slope(float x, int kind) {
  if (kind == GELU) {
    float2 at = normal<EXACT>(x);
    return at.x + x * at.y * 0.39894228040143268f;
  }
  float s = 1.0f / (1.0f + expf(-1.702f * x));
  return s + 1.702f * x * s * (1.0f - s);
}

// y = activation(x + bias), without bias if it is null
template <class T, int N>
__device__ inline void forward(T *y, const T *x, const T *bias, int64_t count, int cols, int kind) {
  int64_t i = first_element<N>();
  if (i >= count) return;
  float v[N], b[N] = {};
  load<N>(x + i, v);
  if (bias) load<N>(bias + i % cols, b);
#pragma unroll
  for (int j = 0; j < N; j++) v[j] = activation<sizeof(T) == 4>(v[j] + b[j], kind);
  store<N>(y + i, v);
}

template <class T, int N>
__device__ inline void backward(T *dx, const T *x, const T *bias, const T *dy, int64_t count,
                                int cols, int kind) {
  int64_t i = first_element<N>();
  if (i >= count) return;
  float v[N], b[N] = {}, d[N];
  load<N>(x + i, v), load<N>(dy + i, d);
  if (bias) load<N>(bias + i % cols, b);
#pragma unroll
  for (int j = 0; j < N; j++) d[j] *= slope<sizeof(T) == 4>(v[j] + b[j], kind);
  store<N>(dx + i, d);
}

// sum = x + gamma (y + bias); a null gamma is 1, a null bias 0
template <class T, int N>
__device__ inline void add(T *sum, const T *x, const T *y, const T *bias, const T *gamma,
                           int64_t count, int cols) {
  int64_t i = first_element<N>();
  if (i >= count) return;
  float a[N], v[N], b[N] = {}, g[N];
  load<N>(x + i, a), load<N>(y + i, v);
#pragma unroll
  for (int j = 0; j < N; j++) g[j] = 1;
  if (bias) load<N>(bias + i % cols, b);
  if (gamma) load<N>(gamma + i % cols, g);
#pragma unroll
  for (int j = 0; j < N; j++) a[j] += g[j] * (v[j] + b[j]);
  store<N>(sum + i, a);
}

#define FORWARD_ARGS(T) (T *y, const T *x, const T *bias, int64_t count, int cols, int kind)
#define FORWARD(T, N) forward<T, N>(y, x, bias, count, cols, kind)
INSTANCES(activation, FORWARD_ARGS, FORWARD)

#define BACKWARD_ARGS(T)                                                                           \
  (T *dx, const T *x, const T *bias, const T *dy, int64_t count, int cols, int kind)
#define BACKWARD(T, N) backward<T, N>(dx, x, bias, dy, count, cols, kind)
INSTANCES(activation_grad, BACKWARD_ARGS, BACKWARD)

#define ADD_ARGS(T)                                                                                \
  (T *sum, const T *x, const T *y, const T *bias, const T *gamma, int64_t count, int cols)
#define ADD(T, N) add<T, N>(sum, x, y, bias, gamma, count, cols)
INSTANCES(residual, ADD_ARGS, ADD)
