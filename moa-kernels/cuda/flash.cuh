// Softmax attention for heads of 64, after FlashAttention-2 (Dao, 2023): scores of a tile of
// queries and a tile of keys at a time, never all of them. Reads q, k and v where the fused
// projection left them, [b, n, 3, h, 64], and writes the result as it is read next,
// [b, queries, h, 64].
//
// Each warp of a block has 32 rows: of queries, or for their own gradients of keys. The block
// goes through the others tile by tile, the next one on its way while one is computed.
#pragma once
#include "tensor_cores.cuh"
#include "tiles.cuh"

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
