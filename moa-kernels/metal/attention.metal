// What stands around the batched products of attention.
#include "common.h"

// [b, n, 3, h, d] + bias [3, h, d] -> [3, b, h, n, d], from the result's side
template <class T, int N>
inline void split(device T *to, const device T *qkv, const device T *bias, int b, int n, int h,
                  int d, Thread here) {
  long i = first_element<N>(here), count = long(3) * b * h * n * d;
  if (i >= count) return;
  int c = i % d;
  long r = i / d;
  int token = r % n;
  r /= n;
  int head = r % h;
  r /= h;
  int image = r % b, part = r / b;
  int column = (part * h + head) * d + c;
  float v[N], add[N];
  load<N>(qkv + (long(image) * n + token) * 3 * h * d + column, v), fill<N>(add, 0);
  if (bias) load<N>(bias + column, add);
  for (int j = 0; j < N; j++) v[j] += add[j];
  store<N>(to + i, v);
}

// q, k, v, each [b, h, n, d] -> [b, n, 3, h, d], from the result's side
template <class T, int N>
inline void join(device T *to, const device T *q, const device T *k, const device T *v, int b,
                 int n, int h, int d, Thread here) {
  long i = first_element<N>(here), count = long(3) * b * h * n * d;
  if (i >= count) return;
  int c = i % d;
  long r = i / d;
  int head = r % h;
  r /= h;
  int part = r % 3;
  r /= 3;
  int token = r % n, image = r / n;
  const device T *from = part == 0 ? q : part == 1 ? k : v;
  float value[N];
  load<N>(from + ((long(image) * h + head) * n + token) * d + c, value);
  store<N>(to + i, value);
}

// [b, x, y, d] -> [b, y, x, d], from the result's side
template <class T, int N>
inline void swap_middle(device T *to, const device T *from, int b, int x, int y, int d,
                        Thread here) {
  long i = first_element<N>(here), count = long(b) * x * y * d;
  if (i >= count) return;
  int c = i % d;
  long r = i / d;
  int at_x = r % x;
  r /= x;
  int at_y = r % y, image = r / y;
  float value[N];
  load<N>(from + ((long(image) * x + at_x) * y + at_y) * d + c, value);
  store<N>(to + i, value);
}

// Rows of n scores to softmax(scale * row), in place: one SIMD group to a row. Rows are `stride`
// apart; what fills them up becomes 0.
template <class T>
inline void softmax_rows(device T *scores, long rows, int n, int stride, float scale, Thread here) {
  long row = warp_row(here);
  if (row >= rows) return;
  scores += row * stride;
  int lane = here.lane;
  float top = -INFINITY;
  for (int i = lane; i < n; i += 32) top = max(top, float(scores[i]));
  top = warp_max(top);
  float sum = 0;
  for (int i = lane; i < n; i += 32) sum += exp((float(scores[i]) - top) * scale);
  float inverse = 1.0f / warp_sum(sum);
  for (int i = lane; i < stride; i += 32)
    scores[i] = T(i < n ? exp((float(scores[i]) - top) * scale) * inverse : 0.0f);
}

// The gradient of probabilities becomes that of scores before their scale, in place.
template <class T>
inline void softmax_rows_grad(device T *grad, const device T *probs, long rows, int n, int stride,
                              float scale, Thread here) {
  long row = warp_row(here);
  if (row >= rows) return;
  grad += row * stride, probs += row * stride;
  int lane = here.lane;
  float along = 0;
  for (int i = lane; i < n; i += 32) along += float(grad[i]) * float(probs[i]);
  along = warp_sum(along);
  for (int i = lane; i < stride; i += 32)
    grad[i] = T(i < n ? float(probs[i]) * (float(grad[i]) - along) * scale : 0.0f);
}

#define SIZES constant int &b, constant int &n, constant int &h, constant int &d
#define SPLIT_ARGS(T) device T *to, const device T *qkv, const device T *bias, SIZES, GIVEN
#define SPLIT(T, N) split<T, N>(to, qkv, OPTIONAL(bias, 2), b, n, h, d, HERE)
INSTANCES(split_heads, SPLIT_ARGS, SPLIT)

#define JOIN_ARGS(T)                                                                               \
  device T *to, const device T *q, const device T *k, const device T *v, SIZES
#define JOIN(T, N) join<T, N>(to, q, k, v, b, n, h, d, HERE)
INSTANCES(join_heads, JOIN_ARGS, JOIN)

#define SWAP_ARGS(T) device T *to, const device T *from, SIZES
#define SWAP(T, N) swap_middle<T, N>(to, from, b, n, h, d, HERE)
INSTANCES(swap_heads, SWAP_ARGS, SWAP)

#define ROWS constant long &rows, constant int &n, constant int &stride, constant float &scale
#define SOFTMAX_ARGS(T) device T *scores, ROWS
#define SOFTMAX(T, N) softmax_rows<T>(scores, rows, n, stride, scale, HERE)
INSTANCES(softmax, SOFTMAX_ARGS, SOFTMAX)

#define SOFTMAX_GRAD_ARGS(T) device T *grad, const device T *probs, ROWS
#define SOFTMAX_GRAD(T, N) softmax_rows_grad<T>(grad, probs, rows, n, stride, scale, HERE)
INSTANCES(softmax_grad, SOFTMAX_GRAD_ARGS, SOFTMAX_GRAD)
