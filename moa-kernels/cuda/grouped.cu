// Products by expert in half precision, on tensor cores: see grouped.cuh.
#include "grouped.cuh"
#include "tensor_cores.cuh"
#include "tiles.cuh"

constexpr int STEP = 32; // steps of the product from one wait for a tile to the next
// A warp has so many rows and columns of a block's result, in tiles of 16 x 8.
constexpr int M = 4, N = 4, ROWS = 16 * M, COLUMNS = 8 * N;

template <class T> struct Along {
  static constexpr int STRIDE = STEP + 8, SIZE = TILE * STRIDE;
  const T *row[2]; // of this thread; behind the last it is repeated
  int steps, count;

  __device__ Along(const T *from, const uint32_t *tokens, int steps, int count)
      : steps(steps), count(count) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      int i = min(int(threadIdx.x) / 4 + 64 * r, count - 1);
      row[r] = from + (tokens ? tokens[i] : i) * int64_t(steps);
    }
  }
  // Starts to copy STEP of their steps; zeros for what is not there.
  __device__ void fetch(T *tile, int step) const {
    int col = threadIdx.x % 4 * 8;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      int i = threadIdx.x / 4 + 64 * r;
      bool there = i < count && step + col < steps;
      copy16(tile + i * STRIDE + col, there ? row[r] + step + col : row[r], there);
    }
  }
  __device__ static Left left(const T *tile, int row, int k) { return ::left<STRIDE>(tile, row, k); }
  __device__ static Right right(const T *tile, int col, int k) {
    return right_of_rows<STRIDE>(tile, col, k);
  }
};

template <class T> struct Across {
  static constexpr int STRIDE = TILE + 8, SIZE = STEP * STRIDE;
  const T *from;
  const uint32_t *tokens;
  int stride, steps;
  bool there;      // the columns of this thread
  uint32_t row[2]; // of this thread's next steps, known before they are fetched

  __device__ Across(const T *first, const uint32_t *tokens, int stride, int steps, int columns)
      : from(first), tokens(tokens), stride(stride), steps(steps) {
    int col = threadIdx.x % 16 * 8;
    there = col < columns;
    if (there) from += col;
    find(0);
  }
  __device__ void find(int step) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      uint32_t i = step + threadIdx.x / 16 + 16 * r;
      row[r] = tokens && i < steps ? tokens[i] : i;
    }
  }
  // In the order of steps.
  __device__ void fetch(T *tile, int step) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      int i = threadIdx.x / 16 + 16 * r;
      bool copied = there && step + i < steps;
      T *to = tile + i * STRIDE + threadIdx.x % 16 * 8;
      copy16(to, copied ? from + row[r] * int64_t(stride) : from, copied);
    }
    find(step + STEP);
  }
  __device__ static Left left(const T *tile, int row, int k) {
    return left_of_steps<STRIDE>(tile, row, k);
  }
  __device__ static Right right(const T *tile, int col, int k) {
    return right_of_steps<STRIDE>(tile, k, col);
  }
};

// result = a b, over `steps`
template <class T, class To, template <class> class A, template <class> class B>
__device__ inline void product(const Result<To> &to, A<T> a, B<T> b, int steps) {
  __shared__ alignas(16) T lefts[2][A<T>::SIZE], rights[2][B<T>::SIZE];
  float sums[M][N][4] = {};
  int warp = threadIdx.x / 32, row = warp / 4 * ROWS, col = warp % 4 * COLUMNS;
  auto fetch = [&](int step, int at) {
    a.fetch(lefts[at], step), b.fetch(rights[at], step);
    end_group();
  };
  if (steps > 0) first_tiles<STEP>(steps, fetch);
  each_tile<STEP>(steps, row < to.rows && col < to.columns, fetch, [&](int, int at) {
#pragma unroll
    for (int k = 0; k < STEP; k += 16) {
      Left l[M];
#pragma unroll
      for (int m = 0; m < M; m++) l[m] = A<T>::left(lefts[at], row + 16 * m, k);
#pragma unroll
      for (int n = 0; n < N; n += 2) {
        Right r = B<T>::right(rights[at], col + 8 * n, k);
#pragma unroll
        for (int m = 0; m < M; m++) {
          multiply(sums[m][n], l[m], r.at[0], r.at[1], T());
          multiply(sums[m][n + 1], l[m], r.at[2], r.at[3], T());
        }
      }
    }
  });
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int i = row + 16 * m + row_of(2 * half);
      if (i >= to.rows) continue;
#pragma unroll
      for (int n = 0; n < N; n++) {
        int j = col + column_of(n, 0);
        float pair[2] = {sums[m][n][2 * half], sums[m][n][2 * half + 1]};
        if (j < to.columns) store<2>(to.at + int64_t(i) * to.stride + j, pair);
      }
    }
}

HALF(grouped_times, TIMES_ARGS, TIMES(false))
HALF(grouped_times_transposed, TIMES_ARGS, TIMES(true))
HALF(grouped_outer, OUTER_ARGS, OUTER)
