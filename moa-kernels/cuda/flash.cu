// Softmax attention for heads of 64, after FlashAttention-2 (Dao, 2023): scores of a tile of
// queries and a tile of keys at a time, never all of them. Reads q, k and v where the fused
// projection left them, [b, n, 3, h, 64], and writes the result as it is read next,
// [b, queries, h, 64].
//
// Each warp of a block has 32 rows: of queries, or for their own gradients of keys. The block
// goes through the others tile by tile, the next one on its way while one is computed.
#include "tensor_cores.cuh"

constexpr int D = 64;
// Row tiles of a warp: what it reads of the others serves all of them.
constexpr int M = 2, WARP_ROWS = 16 * M;
// Rows of a block. Each of its threads has one: few, so that many blocks share a processor and
// compute while others wait for memory.
constexpr int ROWS = 64, THREADS = ROWS / WARP_ROWS * 32;
constexpr float LOG2_E = 1.44269504088896341f;

// Tokens of one head of one image, or of a result: row `i` starts at `first + i stride`.
template <class T> struct Tokens {
  T *first;
  int stride, count;

  __device__ T *operator[](int i) const { return first + i * stride; }
  // Starts to copy ROWS of them, from row `from` on; zeros behind the last.
  template <int ROWS, class To> __device__ void fetch(To *tile, int from) const {
    int row = threadIdx.x / (D / 8), col = threadIdx.x % (D / 8) * 8;
#pragma unroll
    for (int r = 0; r < ROWS; r += THREADS / (D / 8)) {
      int i = from + row + r;
      copy16(tile + (row + r) * STRIDE + col, (*this)[min(i, count - 1)] + col, i < count);
    }
  }
};

// The head and the image of a block.
struct Head {
  int n, queries, heads;

  // q, k or v: part 0, 1 or 2.
  template <class T> __device__ Tokens<T> part(T *qkv, int part) const {
    int64_t first = (int64_t(blockIdx.z) * n * 3 + part) * heads + blockIdx.y;
    return {qkv + first * D, 3 * heads * D, n};
  }
  template <class T> __device__ Tokens<T> result(T *result) const {
    int64_t first = int64_t(blockIdx.z) * queries * heads + blockIdx.y;
    return {result + first * D, heads * D, queries};
  }
  // Of what there is one for each query.
  template <class T> __device__ T *of_queries(T *all) const {
    return all + (int64_t(blockIdx.z) * heads + blockIdx.y) * queries;
  }
};

// The row, 0 or 8 further, and the column of element i of result j.
__device__ inline int row_of(int i) { return threadIdx.x % 32 / 4 + i / 2 * 8; }
__device__ inline int column_of(int j, int i) { return 8 * j + threadIdx.x % 4 * 2 + i % 2; }

// The rows of a warp, from `row` on, as left operands of products over the 64 columns of a tile.
// Behind the last row it is repeated.
struct Operand {
  Left at[M][D / 16];
  template <class T> __device__ Operand(const Tokens<T> &rows, int row) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const T *from = rows[min(row + 16 * m + row_of(i % 2 * 2), rows.count - 1)];
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
          const T *at_k = from + 16 * k + i / 2 * 8 + column_of(0, 0);
          at[m][k].at[i] = *reinterpret_cast<const uint32_t *>(at_k);
        }
      }
  }
  __device__ const Left &operator()(int m, int k) const { return at[m][k]; }
};

// The same where they stay in shared memory.
template <class T> struct Stored {
  const T *tile;
  int row;
  __device__ Left operator()(int m, int k) const { return left(tile, row + 16 * m, 16 * k); }
};

// sums = rows times the rows of a tile, 8 N of them of which `count` are needed
template <int N, class Rows, class T>
__device__ inline void times_rows(float (&sums)[M][N][4], const Rows &rows, const T *tile,
                                  int count = 8 * N) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[m][j][i] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    Left a[M];
#pragma unroll
    for (int m = 0; m < M; m++) a[m] = rows(m, k);
#pragma unroll
    for (int j = 0; j < N; j += 2) {
      if (8 * j >= count) break;
      Right b = right_of_rows(tile, 8 * j, 16 * k);
#pragma unroll
      for (int m = 0; m < M; m++) {
        multiply(sums[m][j], a[m], b.at[0], b.at[1], T());
        multiply(sums[m][j + 1], a[m], b.at[2], b.at[3], T());
      }
    }
  }
}

// sums += values, rounded to T, times a tile of 8 N steps of which `count` are needed
template <int N, class T>
__device__ inline void add_times_steps(float (&sums)[M][D / 8][4], const float (&values)[M][N][4],
                                       const T *tile, int count = 8 * N) {
#pragma unroll
  for (int k = 0; k < N; k += 2) {
    if (8 * k >= count) break;
    Left a[M];
#pragma unroll
    for (int m = 0; m < M; m++) a[m] = left_of<T>(values[m][k], values[m][k + 1]);
#pragma unroll
    for (int j = 0; j < D / 8; j += 2) {
      Right b = right_of_steps(tile, 8 * k, 8 * j);
#pragma unroll
      for (int m = 0; m < M; m++) {
        multiply(sums[m][j], a[m], b.at[0], b.at[1], T());
        multiply(sums[m][j + 1], a[m], b.at[2], b.at[3], T());
      }
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

// Does something for each sum of a warp: a row tile, a column tile and the element.
template <int N, class F> __device__ inline void each(F f) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) f(m, j, i);
}

// Does something for each row that a lane has sums of: its tile, its half and its place.
template <class F> __device__ inline void each_row(F f) {
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) f(m, half, 16 * m + row_of(2 * half));
}

// Writes the rows of a warp, those from `first` on that are there.
template <class T>
__device__ inline void write(const Tokens<T> &to, const float (&sums)[M][D / 8][4], int first) {
  each_row([&](int m, int half, int row) {
    if (first + row >= to.count) return;
    T *at = to[first + row];
#pragma unroll
    for (int j = 0; j < D / 8; j++) {
      float pair[2] = {sums[m][j][2 * half], sums[m][j][2 * half + 1]};
      store<2>(at + column_of(j, 0), pair);
    }
  });
}

// Tiles of two kinds, each twice: one is computed while the other is on its way.
template <class T, int COUNT> struct Tiles {
  T first[2][COUNT * STRIDE], second[2][COUNT * STRIDE];
};

// The result, and for every query the base-2 logarithm of the sum of its exponentials.
template <class T>
__device__ inline void forward(T *result, float *lse, const T *qkv, Head head, float scale) {
  constexpr int STEP = 64, N = STEP / 8;
  __shared__ alignas(16) Tiles<T, STEP> tiles;
  int own = blockIdx.x * ROWS + threadIdx.x / 32 * WARP_ROWS;
  bool busy = own < head.queries;
  auto keys = head.part(qkv, 1), values = head.part(qkv, 2);
  auto fetch = [&](int key, int to) {
    if (key >= head.n) return;
    keys.template fetch<STEP>(tiles.first[to], key);
    values.template fetch<STEP>(tiles.second[to], key);
    end_group();
  };
  fetch(0, 0), fetch(STEP, 1);
  Operand q(head.part(qkv, 0), own);
  float top[M][2], sum[M][2] = {}, out[M][D / 8][4] = {};
  each_row([&](int m, int half, int) { top[m][half] = -INFINITY; });
  float base2 = scale * LOG2_E;
  // One tile of keys, of which `count` are there.
  auto step = [&](int count, int at) {
    float s[M][N][4], best[M][2];
    times_rows(s, q, tiles.first[at], count);
    if (count < STEP) each<N>([&](int m, int j, int i) {
      if (column_of(j, i) >= count) s[m][j][i] = -INFINITY;
    });
    each_row([&](int m, int half, int) { best[m][half] = top[m][half]; });
    each<N>([&](int m, int j, int i) { best[m][i / 2] = fmaxf(best[m][i / 2], s[m][j][i]); });
    each_row([&](int m, int half, int) {
      best[m][half] = group_max(best[m][half]);
      float keep = power2((top[m][half] - best[m][half]) * base2);
      top[m][half] = best[m][half];
      best[m][half] *= base2;
      sum[m][half] *= keep;
#pragma unroll
      for (int j = 0; j < D / 8; j++) out[m][j][2 * half] *= keep, out[m][j][2 * half + 1] *= keep;
    });
    each<N>([&](int m, int j, int i) {
      s[m][j][i] = power2(s[m][j][i] * base2 - best[m][i / 2]);
      sum[m][i / 2] += s[m][j][i];
    });
    add_times_steps(out, s, tiles.second[at], count);
  };
  for (int key = 0, at = 0; key < head.n; key += STEP, at ^= 1) {
    if (key + STEP < head.n) wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy && key + STEP <= head.n) step(STEP, at);
    else if (busy) step(head.n - key, at);
    __syncthreads();
    fetch(key + 2 * STEP, at);
  }
  if (!busy) return;
  each_row([&](int m, int half, int row) {
    sum[m][half] = group_sum(sum[m][half]);
    float factor = 1.0f / sum[m][half];
#pragma unroll
    for (int j = 0; j < D / 8; j++) out[m][j][2 * half] *= factor, out[m][j][2 * half + 1] *= factor;
    if (threadIdx.x % 4 == 0 && own + row < head.queries)
      head.of_queries(lse)[own + row] = top[m][half] * base2 + log2f(sum[m][half]);
  });
  write(head.result(result), out, own);
}

// The gradient of q, and for every query the sum of probabilities times their gradients, which
// is that of the result's elements times their gradients.
template <class T>
__device__ inline void query_grad(T *dqkv, float *sums, const T *qkv, const T *result,
                                  const T *grad, const float *lse, Head head, float scale) {
  constexpr int STEP = 32, N = STEP / 8;
  __shared__ alignas(16) Tiles<T, STEP> tiles;
  int own = blockIdx.x * ROWS + threadIdx.x / 32 * WARP_ROWS;
  bool busy = own < head.queries;
  auto keys = head.part(qkv, 1), values = head.part(qkv, 2);
  auto fetch = [&](int key, int to) {
    if (key >= head.n) return;
    keys.template fetch<STEP>(tiles.first[to], key);
    values.template fetch<STEP>(tiles.second[to], key);
    end_group();
  };
  fetch(0, 0), fetch(STEP, 1);
  Operand d(head.result(grad), own);
  float norm[M][2], along[M][2] = {};
  {
    Operand r(head.result(result), own);
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int k = 0; k < D / 16; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) along[m][i % 2] += dot2<T>(r.at[m][k].at[i], d.at[m][k].at[i]);
  }
  Operand q(head.part(qkv, 0), own);
  each_row([&](int m, int half, int row) {
    along[m][half] = group_sum(along[m][half]);
    bool there = own + row < head.queries;
    norm[m][half] = there ? head.of_queries(lse)[own + row] : INFINITY; // then all are 0
    if (there && threadIdx.x % 4 == 0) head.of_queries(sums)[own + row] = along[m][half];
  });
  float dq[M][D / 8][4] = {}, base2 = scale * LOG2_E;
  auto step = [&](int count, int at) {
    float p[M][N][4], dp[M][N][4];
    times_rows(p, q, tiles.first[at], count);
    times_rows(dp, d, tiles.second[at], count);
    each<N>([&](int m, int j, int i) {
      float v = power2(p[m][j][i] * base2 - norm[m][i / 2]);
      v *= (dp[m][j][i] - along[m][i / 2]) * scale;
      p[m][j][i] = column_of(j, i) < count ? v : 0.0f;
    });
    add_times_steps(dq, p, tiles.first[at], count);
  };
  for (int key = 0, at = 0; key < head.n; key += STEP, at ^= 1) {
    if (key + STEP < head.n) wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy && key + STEP <= head.n) step(STEP, at);
    else if (busy) step(head.n - key, at);
    __syncthreads();
    fetch(key + 2 * STEP, at);
  }
  write(head.part(dqkv, 0), dq, own); // zeros for queries that were not asked
}

// The gradients of k and v: the rows are keys, and the tiles are of queries. Rows behind the
// last key hold anything, and are not written.
template <class T>
__device__ inline void key_grad(T *dqkv, const T *qkv, const T *grad, const float *lse,
                                const float *sums, Head head, float scale) {
  constexpr int STEP = 32, N = STEP / 8;
  __shared__ alignas(16) Tiles<T, STEP> tiles;
  __shared__ alignas(8) float norm[2][STEP], along[2][STEP];
  int row = threadIdx.x / 32 * WARP_ROWS, own = blockIdx.x * ROWS + row;
  bool busy = own < head.n;
  __shared__ alignas(16) T keys[ROWS * STRIDE];
  head.part(qkv, 1).template fetch<ROWS>(keys, blockIdx.x * ROWS);
  auto queries = head.part(qkv, 0), grads = head.result(grad);
  auto fetch = [&](int query, int to) {
    if (query >= head.queries) return;
    queries.template fetch<STEP>(tiles.first[to], query);
    grads.template fetch<STEP>(tiles.second[to], query);
    end_group();
    if (threadIdx.x < STEP) {
      int at = query + threadIdx.x;
      bool there = at < head.queries;
      norm[to][threadIdx.x] = there ? head.of_queries(lse)[at] : INFINITY; // then all are 0
      along[to][threadIdx.x] = there ? head.of_queries(sums)[at] : 0.0f;
    }
  };
  fetch(0, 0), fetch(STEP, 1);
  Stored<T> k{keys, row}; // registers for them are wanting
  Operand v(head.part(qkv, 2), own);
  float dk[M][D / 8][4] = {}, dv[M][D / 8][4] = {}, base2 = scale * LOG2_E;
  for (int query = 0, at = 0; query < head.queries; query += STEP, at ^= 1) {
    if (query + STEP < head.queries) wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy) {
      int count = min(STEP, head.queries - query);
      float p[M][N][4], dp[M][N][4];
      times_rows(p, k, tiles.first[at], count);
      each<N>([&](int m, int j, int i) {
        p[m][j][i] = power2(p[m][j][i] * base2 - norm[at][column_of(j, i)]);
      });
      add_times_steps(dv, p, tiles.second[at], count);
      times_rows(dp, v, tiles.second[at], count);
      each<N>([&](int m, int j, int i) {
        p[m][j][i] *= (dp[m][j][i] - along[at][column_of(j, i)]) * scale;
      });
      add_times_steps(dk, p, tiles.first[at], count);
    }
    __syncthreads();
    fetch(query + 2 * STEP, at);
  }
  write(head.part(dqkv, 1), dk, own);
  write(head.part(dqkv, 2), dv, own);
}

#define HALF(NAME, ARGS, CALL)                                                                     \
  extern "C" __global__ void __launch_bounds__(THREADS) NAME##_f16 ARGS(__half) { CALL; }             \
  extern "C" __global__ void __launch_bounds__(THREADS) NAME##_bf16 ARGS(__nv_bfloat16) { CALL; }

#define FORWARD_ARGS(T)                                                                            \
  (T *result, float *lse, const T *qkv, int n, int queries, int heads, float scale)
HALF(flash, FORWARD_ARGS, forward(result, lse, qkv, Head{n, queries, heads}, scale))

#define QUERY_ARGS(T)                                                                              \
  (T *dqkv, float *sums, const T *qkv, const T *result, const T *grad, const float *lse, int n,    \
   int queries, int heads, float scale)
HALF(flash_query_grad, QUERY_ARGS,
     query_grad(dqkv, sums, qkv, result, grad, lse, Head{n, queries, heads}, scale))

#define KEY_ARGS(T)                                                                                \
  (T *dqkv, const T *qkv, const T *grad, const float *lse, const float *sums, int n, int queries,  \
   int heads, float scale)
HALF(flash_key_grad, KEY_ARGS,
     key_grad(dqkv, qkv, grad, lse, sums, Head{n, queries, heads}, scale))
