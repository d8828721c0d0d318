// What stands around the batched products of attention.
#include "common.cuh"

// [b, n, 3, h, d] + bias [3, h, d] -> [3, b, h, n, d], from the result's side
template <class T, int N>
__device__ inline void split(T *to, const T *qkv, const T *bias, int b, int n, int h, int d) {
  int64_t i = first_element<N>(), count = int64_t(3) * b * h * n * d;
  if (i >= count) return;
  int c = i % d;
  int64_t r = i / d;
  int token = r % n;
  r /= n;
  int head = r % h;
  r /= h;
  int image = r % b, part = r / b;
  int column = (part * h + head) * d + c;
  float v[N], add[N] = {};
  load<N>(qkv + (int64_t(image) * n + token) * 3 * h * d + column, v);
  if (bias) load<N>(bias + column, add);
#pragma unroll
  for (int j = 0; j < N; j++) v[j] += add[j];
  store<N>(to + i, v);
}

// q, k, v, each [b, h, n, d] -> [b, n, 3, h, d], from the result's side
template <class T, int N>
__device__ inline void join(T *to, const T *q, const T *k, const T *v, int b, int n, int h, int d) {
  int64_t i = first_element<N>(), count = int64_t(3) * b * h * n * d;
  if (i >= count) return;
  int c = i % d;
  int64_t r = i / d;
  int head = r % h;
  r /= h;
  int part = r % 3;
  r /= 3;
  int token = r % n, image = r / n;
  const T *from = part == 0 ? q : part == 1 ? k : v;
  float value[N];
  load<N>(from + ((int64_t(image) * h + head) * n + token) * d + c, value);
  store<N>(to + i, value);
}

// [b, x, y, d] -> [b, y, x, d], from the result's side
template <class T, int N>
__device__ inline void swap(T *to, const T *from, int b, int x, int y, int d) {
  int64_t i = first_element<N>(), count = int64_t(b) * x * y * d;
  if (i >= count) return;
  int c = i % d;
  int64_t r = i / d;
  int at_x = r % x;
  r /= x;
  int at_y = r % y, image = r / y;
  float value[N];
  load<N>(from + ((int64_t(image) * x + at_x) * y + at_y) * d + c, value);
  store<N>(to + i, value);
}

// Rows of n scores to softmax(scale * row), in place: one warp to a row. Rows are `stride`
// apart; what fills them up is never read.
template <class T>
__device__ inline void softmax(T *scores, int64_t rows, int n, int stride, float scale) {
  int64_t row = warp_row();
  if (row >= rows) return;
  scores += row * stride;
  float top = -INFINITY;
  for (int i = threadIdx.x; i < n; i += 32) top = fmaxf(top, to_float(scores[i]));
  top = warp_max(top);
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += 32) sum += expf((to_float(scores[i]) - top) * scale);
  float inverse = 1.0f / warp_sum(sum);
  for (int i = threadIdx.x; i < n; i += 32)
    scores[i] = from_float<T>(expf((to_float(scores[i]) - top) * scale) * inverse);
}

// The gradient of probabilities becomes that of scores before their scale, in place.
template <class T>
__device__ inline void softmax_grad(T *grad, const T *probs, int64_t rows, int n, int stride,
                                    float scale) {
  int64_t row = warp_row();
  if (row >= rows) return;
  grad += row * stride, probs += row * stride;
  float along = 0;
  for (int i = threadIdx.x; i < n; i += 32) along += to_float(grad[i]) * to_float(probs[i]);
  along = warp_sum(along);
  for (int i = threadIdx.x; i < n; i += 32)
    grad[i] = from_float<T>(to_float(probs[i]) * (to_float(grad[i]) - along) * scale);
}

#define SPLIT_ARGS(T) (T *to, const T *qkv, const T *bias, int b, int n, int h, int d)
#define SPLIT(T, N) split<T, N>(to, qkv, bias, b, n, h, d)
INSTANCES(split_heads, SPLIT_ARGS, SPLIT)

#define JOIN_ARGS(T) (T *to, const T *q, const T *k, const T *v, int b, int n, int h, int d)
#define JOIN(T, N) join<T, N>(to, q, k, v, b, n, h, d)
INSTANCES(join_heads, JOIN_ARGS, JOIN)

#define SWAP_ARGS(T) (T *to, const T *from, int b, int x, int y, int d)
#define SWAP(T, N) swap<T, N>(to, from, b, x, y, d)
INSTANCES(swap_heads, SWAP_ARGS, SWAP)

#define SOFTMAX_ARGS(T) (T *scores, int64_t rows, int n, int stride, float scale)
#define SOFTMAX(T, N) softmax<T>(scores, rows, n, stride, scale)
INSTANCES(softmax, SOFTMAX_ARGS, SOFTMAX)

#define SOFTMAX_GRAD_ARGS(T)                                                                       \
  (T *grad, const T *probs, int64_t rows, int n, int stride, float scale)
#define SOFTMAX_GRAD(T, N) softmax_grad<T>(grad, probs, rows, n, stride, scale)
INSTANCES(softmax_grad, SOFTMAX_GRAD_ARGS, SOFTMAX_GRAD)
