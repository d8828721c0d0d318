// Attention: see flash.cuh.
#include "flash.cuh"

// The result, and for every query the base-2 logarithm of the sum of its exponentials.
template <class T>
__device__ inline void forward(T *result, float *lse, const T *qkv, Head head, float scale) {
  constexpr int STEP = 64, N = STEP / 8;
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
  each_tile<STEP>(head.n, busy, fetch, step);
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

#define FORWARD_ARGS(T)                                                                            \
  (T *result, float *lse, const T *qkv, int n, int queries, int heads, float scale)
HALF(flash, FORWARD_ARGS, forward(result, lse, qkv, Head{n, queries, heads}, scale))
