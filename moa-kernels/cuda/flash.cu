// Softmax attention for heads of 64, after FlashAttention-2 (Dao, 2023): scores of a tile of
// queries and a tile of keys at a time, never all of them. Reads q, k and v where the fused
// projection left them, [b, n, 3, h, 64], and writes the result as it is read next,
// [b, queries, h, 64].
//
// Each warp of a block has 16 rows: of queries, or for their own gradients of keys. The block
// goes through the others tile by tile, the next one on its way while one is computed.
#include "tensor_cores.cuh"

constexpr int D = 64;
// Rows of a block: gradients take more registers, so fewer warps fit.
constexpr int FORWARD_ROWS = 128, GRAD_ROWS = 64;
constexpr float LOG2_E = 1.44269504088896341f;

// One head of one image.
template <class T> struct Head {
  const T *qkv;
  int n, queries, heads, head;
  int64_t image;

  __device__ Head(const T *qkv, int n, int queries, int heads)
      : qkv(qkv), n(n), queries(queries), heads(heads), head(blockIdx.y), image(blockIdx.z) {}
  __device__ int64_t in_qkv(int token, int part) const {
    return (((image * n + token) * 3 + part) * heads + head) * D;
  }
  __device__ int64_t in_result(int query) const {
    return ((image * queries + query) * heads + head) * D;
  }
  __device__ int64_t row() const { return (image * heads + head) * queries; }
  // Starts to copy part 0 to 2 (q, k, v) of COUNT tokens from `first` on; zeros behind the last.
  template <int COUNT> __device__ void fetch(T *tile, int part, int first) const {
    for (int i = threadIdx.x; i < COUNT * D / 8; i += blockDim.x) {
      int row = i / (D / 8), col = i % (D / 8) * 8, token = first + row;
      copy16(tile + row * STRIDE + col, qkv + in_qkv(min(token, n - 1), part) + col, token < n);
    }
  }
  // The same of a tensor like the result.
  template <int COUNT> __device__ void fetch_result(T *tile, const T *from, int first) const {
    for (int i = threadIdx.x; i < COUNT * D / 8; i += blockDim.x) {
      int row = i / (D / 8), col = i % (D / 8) * 8, query = first + row;
      copy16(tile + row * STRIDE + col, from + in_result(min(query, queries - 1)) + col,
             query < queries);
    }
  }
};

// 16 rows of a tile as left operands of products over its 64 columns.
template <class T> struct Operand {
  Left at[D / 16];
  __device__ void read(const T *tile, int row) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) at[k] = left(tile, row, 16 * k);
  }
};

// sums = rows times the rows of a tile, 16 x 8 N
template <int N, class T>
__device__ inline void times_rows(float (&sums)[N][4], const Operand<T> &rows, const T *tile) {
#pragma unroll
  for (int j = 0; j < N; j++)
#pragma unroll
    for (int i = 0; i < 4; i++) sums[j][i] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; k++)
#pragma unroll
    for (int j = 0; j < N; j += 2) {
      Right b = right_of_rows(tile, 8 * j, 16 * k);
      multiply(sums[j], rows.at[k], b.at[0], b.at[1], T());
      multiply(sums[j + 1], rows.at[k], b.at[2], b.at[3], T());
    }
}

// sums += values, 16 x 8 N rounded to T, times a tile of 8 N steps
template <int N, class T>
__device__ inline void add_times_steps(float (&sums)[D / 8][4], const float (&values)[N][4],
                                       const T *tile) {
#pragma unroll
  for (int k = 0; k < N; k += 2) {
    Left a = left_of<T>(values[k], values[k + 1]);
#pragma unroll
    for (int j = 0; j < D / 8; j += 2) {
      Right b = right_of_steps(tile, 8 * k, 8 * j);
      multiply(sums[j], a, b.at[0], b.at[1], T());
      multiply(sums[j + 1], a, b.at[2], b.at[3], T());
    }
  }
}

// Over the four lanes that share rows of a result.
__device__ inline float group_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}
__device__ inline float group_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

// The row, 0 or 8 further, and the column of element i of result j.
__device__ inline int row_of(int i) { return threadIdx.x % 32 / 4 + i / 2 * 8; }
__device__ inline int column_of(int j, int i) { return 8 * j + threadIdx.x % 4 * 2 + i % 2; }

// Writes 16 rows of a warp, those from `first` on that are before `end`.
template <class T, class Place>
__device__ inline void write(T *to, const float (&sums)[D / 8][4], int first, int end,
                             const float (&factor)[2], Place place) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    int row = first + row_of(2 * half);
    if (row >= end) continue;
    T *at = to + place(row);
#pragma unroll
    for (int j = 0; j < D / 8; j++) {
      float pair[2] = {sums[j][2 * half] * factor[half], sums[j][2 * half + 1] * factor[half]};
      store<2>(at + column_of(j, 0), pair);
    }
  }
}

// Tiles of two kinds, each twice: one is computed while the other is on its way.
template <class T, int COUNT> struct Tiles {
  T first[2][COUNT * STRIDE], second[2][COUNT * STRIDE];
};

// The result, and for every query the base-2 logarithm of the sum of its exponentials.
template <class T>
__device__ inline void forward(T *result, float *lse, const Head<T> &head, float scale) {
  constexpr int STEP = 64, ROWS = FORWARD_ROWS;
  __shared__ alignas(16) Tiles<T, STEP> tiles;
  int own = blockIdx.x * ROWS + threadIdx.x / 32 * 16;
  bool busy = own < head.queries;
  Operand<T> q;
  T *start = tiles.first[0]; // both tiles and more: room for all rows
  head.template fetch<ROWS>(start, 0, blockIdx.x * ROWS);
  end_group(), wait_groups<0>();
  __syncthreads();
  q.read(start, threadIdx.x / 32 * 16);
  __syncthreads();
  auto fetch = [&](int key, int to) {
    head.template fetch<STEP>(tiles.first[to], 1, key);
    head.template fetch<STEP>(tiles.second[to], 2, key);
    end_group();
  };
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, out[D / 8][4] = {};
  float base2 = scale * LOG2_E;
  fetch(0, 0);
  for (int key = 0, at = 0; key < head.n; key += STEP, at ^= 1) {
    if (key + STEP < head.n) fetch(key + STEP, at ^ 1), wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy) {
      float s[STEP / 8][4];
      times_rows(s, q, tiles.first[at]);
      float before[2] = {top[0], top[1]}, keep[2];
      if (key + STEP > head.n)
#pragma unroll
        for (int j = 0; j < STEP / 8; j++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            if (key + column_of(j, i) >= head.n) s[j][i] = -INFINITY;
#pragma unroll
      for (int j = 0; j < STEP / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) top[i / 2] = fmaxf(top[i / 2], s[j][i]);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        top[half] = group_max(top[half]);
        keep[half] = exp2f((before[half] - top[half]) * base2);
        sum[half] *= keep[half];
      }
#pragma unroll
      for (int j = 0; j < STEP / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          s[j][i] = exp2f(s[j][i] * base2 - top[i / 2] * base2);
          sum[i / 2] += s[j][i];
        }
#pragma unroll
      for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) out[j][i] *= keep[i / 2];
      add_times_steps(out, s, tiles.second[at]);
    }
    __syncthreads();
  }
  if (!busy) return;
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    sum[half] = group_sum(sum[half]);
    factor[half] = 1.0f / sum[half];
    int query = own + row_of(2 * half);
    if (threadIdx.x % 4 == 0 && query < head.queries)
      lse[head.row() + query] = top[half] * base2 + log2f(sum[half]);
  }
  write(result, out, own, head.queries, factor, [&](int row) { return head.in_result(row); });
}

// Probabilities of 16 x 8 N scores, 0 where they are not of a key and a query.
template <int N, class Lse, class Valid>
__device__ inline void probabilities(float (&s)[N][4], float base2, Lse lse, Valid valid) {
#pragma unroll
  for (int j = 0; j < N; j++)
#pragma unroll
    for (int i = 0; i < 4; i++) s[j][i] = valid(j, i) ? exp2f(s[j][i] * base2 - lse(j, i)) : 0.0f;
}

// The gradient of q, and for every query the sum of probabilities times their gradients: that
// is needed first, so the keys are gone through twice.
template <class T>
__device__ inline void query_grad(T *dqkv, float *sums, const Head<T> &head, const T *grad,
                                  const float *lse, float scale) {
  constexpr int STEP = 32, ROWS = GRAD_ROWS;
  __shared__ alignas(16) Tiles<T, STEP> tiles;
  int own = blockIdx.x * ROWS + threadIdx.x / 32 * 16;
  bool busy = own < head.queries;
  float dq[D / 8][4] = {}, ones[2] = {1, 1}, norm[2], along[2] = {};
  auto place = [&](int row) { return head.in_qkv(row, 0); };
  Operand<T> q, d;
  T *start = tiles.first[0], *second = tiles.second[0]; // room for all rows each
  head.template fetch<ROWS>(start, 0, blockIdx.x * ROWS);
  head.template fetch_result<ROWS>(second, grad, blockIdx.x * ROWS);
  end_group(), wait_groups<0>();
  __syncthreads();
  q.read(start, threadIdx.x / 32 * 16), d.read(second, threadIdx.x / 32 * 16);
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; half++) {
    int query = own + row_of(2 * half);
    norm[half] = query < head.queries ? lse[head.row() + query] : INFINITY; // then all are 0
  }
  auto fetch = [&](int key, int to) {
    head.template fetch<STEP>(tiles.first[to], 1, key);
    head.template fetch<STEP>(tiles.second[to], 2, key);
    end_group();
  };
  int steps = (head.n + STEP - 1) / STEP;
  fetch(0, 0);
  for (int step = 0; step < 2 * steps; step++) {
    bool second_pass = step >= steps;
    int key = step % steps * STEP, at = step % 2;
    if (step + 1 < 2 * steps) fetch((step + 1) % steps * STEP, at ^ 1), wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy) {
      float p[STEP / 8][4], dp[STEP / 8][4];
      times_rows(p, q, tiles.first[at]);
      probabilities(p, scale * LOG2_E, [&](int, int i) { return norm[i / 2]; },
                    [&](int j, int i) { return key + column_of(j, i) < head.n; });
      times_rows(dp, d, tiles.second[at]);
#pragma unroll
      for (int j = 0; j < STEP / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          if (!second_pass) along[i / 2] += p[j][i] * dp[j][i];
          else p[j][i] *= (dp[j][i] - along[i / 2]) * scale;
        }
      if (second_pass) add_times_steps(dq, p, tiles.first[at]);
      if (step == steps - 1)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          along[half] = group_sum(along[half]);
          int query = own + row_of(2 * half);
          if (threadIdx.x % 4 == 0 && query < head.queries) sums[head.row() + query] = along[half];
        }
    }
    __syncthreads();
  }
  write(dqkv, dq, own, head.n, ones, place); // zeros for queries that were not asked
}

// The gradients of k and v: the rows are keys, and the tiles are of queries.
template <class T>
__device__ inline void key_grad(T *dqkv, const Head<T> &head, const T *grad, const float *lse,
                                const float *sums, float scale) {
  constexpr int STEP = 32, ROWS = GRAD_ROWS;
  __shared__ alignas(16) T memory[2 * ROWS * STRIDE];
  __shared__ float norm[2][STEP], along[2][STEP];
  auto &tiles = *reinterpret_cast<Tiles<T, STEP> *>(memory);
  int own = blockIdx.x * ROWS + threadIdx.x / 32 * 16;
  bool busy = own < head.n;
  Operand<T> k, v;
  head.template fetch<ROWS>(memory, 1, blockIdx.x * ROWS);
  head.template fetch<ROWS>(memory + ROWS * STRIDE, 2, blockIdx.x * ROWS);
  end_group(), wait_groups<0>();
  __syncthreads();
  k.read(memory, threadIdx.x / 32 * 16);
  v.read(memory + ROWS * STRIDE, threadIdx.x / 32 * 16);
  __syncthreads();
  auto fetch = [&](int query, int to) {
    head.template fetch<STEP>(tiles.first[to], 0, query);
    head.template fetch_result<STEP>(tiles.second[to], grad, query);
    end_group();
    if (threadIdx.x < STEP) {
      int64_t at = head.row() + query + threadIdx.x;
      bool there = query + threadIdx.x < head.queries;
      norm[to][threadIdx.x] = there ? lse[at] : 0.0f;
      along[to][threadIdx.x] = there ? sums[at] : 0.0f;
    }
  };
  float dk[D / 8][4] = {}, dv[D / 8][4] = {}, ones[2] = {1, 1};
  fetch(0, 0);
  for (int query = 0, at = 0; query < head.queries; query += STEP, at ^= 1) {
    if (query + STEP < head.queries) fetch(query + STEP, at ^ 1), wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy) {
      float p[STEP / 8][4], dp[STEP / 8][4];
      times_rows(p, k, tiles.first[at]);
      probabilities(p, scale * LOG2_E, [&](int j, int i) { return norm[at][column_of(j, i)]; },
                    [&](int j, int i) { return query + column_of(j, i) < head.queries; });
      times_rows(dp, v, tiles.second[at]);
      add_times_steps(dv, p, tiles.second[at]);
#pragma unroll
      for (int j = 0; j < STEP / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) p[j][i] *= (dp[j][i] - along[at][column_of(j, i)]) * scale;
      add_times_steps(dk, p, tiles.first[at]);
    }
    __syncthreads();
  }
  write(dqkv, dk, own, head.n, ones, [&](int row) { return head.in_qkv(row, 1); });
  write(dqkv, dv, own, head.n, ones, [&](int row) { return head.in_qkv(row, 2); });
}

#define HALF(NAME, ROWS, ARGS, CALL)                                                               \
  extern "C" __global__ void __launch_bounds__(2 * ROWS) NAME##_f16 ARGS(__half) { CALL; }         \
  extern "C" __global__ void __launch_bounds__(2 * ROWS) NAME##_bf16 ARGS(__nv_bfloat16) { CALL; }

#define FORWARD_ARGS(T)                                                                            \
  (T *result, float *lse, const T *qkv, int n, int queries, int heads, float scale)
HALF(flash, FORWARD_ROWS, FORWARD_ARGS,
     forward(result, lse, Head(qkv, n, queries, heads), scale))

#define QUERY_ARGS(T)                                                                              \
  (T *dqkv, float *sums, const T *qkv, const T *grad, const float *lse, int n, int queries,        \
   int heads, float scale)
HALF(flash_query_grad, GRAD_ROWS, QUERY_ARGS,
     query_grad(dqkv, sums, Head(qkv, n, queries, heads), grad, lse, scale))

#define KEY_ARGS(T)                                                                                \
  (T *dqkv, const T *qkv, const T *grad, const float *lse, const float *sums, int n, int queries,  \
   int heads, float scale)
HALF(flash_key_grad, GRAD_ROWS, KEY_ARGS,
     key_grad(dqkv, Head(qkv, n, queries, heads), grad, lse, sums, scale))
