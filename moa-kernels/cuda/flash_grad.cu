// The gradients of attention: see flash.cuh.
#include "flash.cuh"

// The rows of a warp where they stay in shared memory.
template <class T> struct Stored {
  const T *tile;
  int row;
  __device__ Left operator()(int m, int k) const { return left(tile, row + 16 * m, 16 * k); }
};

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
    keys.template fetch<STEP>(tiles.first[to], key);
    values.template fetch<STEP>(tiles.second[to], key);
    end_group();
  };
  first_tiles<STEP>(head.n, fetch);
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
      // Keys that are not there are zeros, but a low norm could make infinity of theirs.
      p[m][j][i] = column_of(j, i) < count ? v : 0.0f;
    });
    add_times_steps(dq, p, tiles.first[at], count);
  };
  each_tile<STEP>(head.n, busy, fetch, step);
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
    queries.template fetch<STEP>(tiles.first[to], query);
    grads.template fetch<STEP>(tiles.second[to], query);
    end_group();
    if (threadIdx.x < STEP) {
      int at = query + threadIdx.x;
      bool there = at < head.queries;
      // Rows of a tile that are not there are zeros, so that any number does for them.
      norm[to][threadIdx.x] = there ? head.of_queries(lse)[at] : 0.0f;
      along[to][threadIdx.x] = there ? head.of_queries(sums)[at] : 0.0f;
    }
  };
  first_tiles<STEP>(head.queries, fetch);
  Stored<T> k{keys, row}; // registers for them are wanting
  Operand v(head.part(qkv, 2), own);
  float dk[M][D / 8][4] = {}, dv[M][D / 8][4] = {}, base2 = scale * LOG2_E;
  each_tile<STEP>(head.queries, busy, fetch, [&](int count, int at) {
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
  });
  write(head.part(dqkv, 1), dk, own);
  write(head.part(dqkv, 2), dv, own);
}

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
