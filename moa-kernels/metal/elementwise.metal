// Passes over elements: activations, residual connections, biases. `cols` is the length of a row.
#include "common.h"
#include "normal.h"

constant constexpr int GELU = 0, QUICK_GELU = 1; // any other kind is none

inline float activation_of(float x, int kind) {
  if (kind == GELU) return x * normal(x).x;
  if (kind == QUICK_GELU) return x / (1.0f + exp(-1.702f * x));
  return x;
}

inline float slope_of(float x, int kind) {
  if (kind == GELU) {
    float2 at = normal(x);
    return at.x + x * at.y * 0.39894228f;
  }
  float s = 1.0f / (1.0f + exp(-1.702f * x));
  return s + 1.702f * x * s * (1.0f - s);
}

// y = activation(x + bias), without bias if it is null
template <class T, int N>
inline void activate(device T *y, const device T *x, const device T *bias, long count, int cols,
                     int kind, Thread here) {
  long i = first_element<N>(here);
  if (i >= count) return;
  float v[N], b[N];
  load<N>(x + i, v), fill<N>(b, 0);
  if (bias) load<N>(bias + i % cols, b);
  for (int j = 0; j < N; j++) v[j] = activation_of(v[j] + b[j], kind);
  store<N>(y + i, v);
}

template <class T, int N>
inline void activate_grad(device T *dx, const device T *x, const device T *bias,
                          const device T *dy, long count, int cols, int kind, Thread here) {
  long i = first_element<N>(here);
  if (i >= count) return;
  float v[N], b[N], d[N];
  load<N>(x + i, v), load<N>(dy + i, d), fill<N>(b, 0);
  if (bias) load<N>(bias + i % cols, b);
  for (int j = 0; j < N; j++) d[j] *= slope_of(v[j] + b[j], kind);
  store<N>(dx + i, d);
}

// sum = x + gamma (y + bias); a null gamma is 1, a null bias 0
template <class T, int N>
inline void add_branch(device T *sum, const device T *x, const device T *y, const device T *bias,
                       const device T *gamma, long count, int cols, Thread here) {
  long i = first_element<N>(here);
  if (i >= count) return;
  float a[N], v[N], b[N], g[N];
  load<N>(x + i, a), load<N>(y + i, v), fill<N>(b, 0), fill<N>(g, 1);
  if (bias) load<N>(bias + i % cols, b);
  if (gamma) load<N>(gamma + i % cols, g);
  for (int j = 0; j < N; j++) a[j] += g[j] * (v[j] + b[j]);
  store<N>(sum + i, a);
}

#define FORWARD_ARGS(T)                                                                            \
  device T *y, const device T *x, const device T *bias, constant long &count, constant int &cols,  \
      constant int &kind, GIVEN
#define FORWARD(T, N) activate<T, N>(y, x, OPTIONAL(bias, 2), count, cols, kind, HERE)
INSTANCES(activation, FORWARD_ARGS, FORWARD)

#define BACKWARD_ARGS(T)                                                                           \
  device T *dx, const device T *x, const device T *bias, const device T *dy,                       \
      constant long &count, constant int &cols, constant int &kind, GIVEN
#define BACKWARD(T, N) activate_grad<T, N>(dx, x, OPTIONAL(bias, 2), dy, count, cols, kind, HERE)
INSTANCES(activation_grad, BACKWARD_ARGS, BACKWARD)

#define ADD_ARGS(T)                                                                                \
  device T *sum, const device T *x, const device T *y, const device T *bias,                       \
      const device T *gamma, constant long &count, constant int &cols, GIVEN
#define ADD(T, N)                                                                                  \
  add_branch<T, N>(sum, x, y, OPTIONAL(bias, 3), OPTIONAL(gamma, 4), count, cols, HERE)
INSTANCES(residual, ADD_ARGS, ADD)
