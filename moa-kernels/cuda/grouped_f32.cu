// Products by expert in single precision: see grouped.cuh.
#include "grouped.cuh"

constexpr int STEP = 8;          // steps of the product from one barrier to the next
constexpr int STRIDE = TILE + 4; // of a tile in shared memory, [STEP, TILE]
constexpr int EACH = 4;          // neighbours that are moved at once
constexpr int M = 8;             // a thread has M x M results, half of each M in each half of a tile

using Tile = float[STEP * STRIDE];

template <class T> struct Along {
  const float *row; // of this thread; null if it is not there
  int steps;
  float next[EACH];

  __device__ Along(const float *from, const uint32_t *tokens, int steps, int count) : steps(steps) {
    int i = threadIdx.x / 2;
    row = i < count ? from + (tokens ? tokens[i] : i) * int64_t(steps) : nullptr;
  }
  // Reads the next STEP steps; zeros for what is not there.
  __device__ void fetch(int step) {
    int first = step + threadIdx.x % 2 * EACH;
    if (row && first < steps) load<EACH>(row + first, next);
    else
      for (int j = 0; j < EACH; j++) next[j] = 0;
  }
  __device__ void put(Tile &tile) const {
#pragma unroll
    for (int j = 0; j < EACH; j++)
      tile[(threadIdx.x % 2 * EACH + j) * STRIDE + threadIdx.x / 2] = next[j];
  }
};

template <class T> struct Across {
  const float *from;
  const uint32_t *tokens;
  int stride, steps;
  bool there;   // the columns of this thread
  uint32_t row; // of this thread's next step, known before it is read
  float next[EACH];

  __device__ Across(const float *first, const uint32_t *tokens, int stride, int steps, int columns)
      : from(first), tokens(tokens), stride(stride), steps(steps) {
    int col = threadIdx.x % 32 * EACH;
    there = col < columns;
    if (there) from += col;
    find(0);
  }
  __device__ void find(int step) {
    uint32_t i = step + threadIdx.x / 32;
    row = tokens && i < steps ? tokens[i] : i;
  }
  // In the order of steps.
  __device__ void fetch(int step) {
    if (there && step + threadIdx.x / 32 < steps) load<EACH>(from + row * int64_t(stride), next);
    else
      for (int j = 0; j < EACH; j++) next[j] = 0;
    find(step + STEP);
  }
  __device__ void put(Tile &tile) const {
    store<EACH>(tile + threadIdx.x / 32 * STRIDE + threadIdx.x % 32 * EACH, next);
  }
};

// Of the rows or columns of a thread, number i: 4 neighbours in each half of the tile.
__device__ inline int place_of(int thread, int i) {
  return i / EACH * (TILE / 2) + thread * EACH + i % EACH;
}

__device__ inline void operand(float (&to)[M], const float *step, int thread) {
  float half[EACH];
#pragma unroll
  for (int h = 0; h < M; h += EACH) {
    load<EACH>(step + place_of(thread, h), half);
#pragma unroll
    for (int j = 0; j < EACH; j++) to[h + j] = half[j];
  }
}

// result = a b, over `steps`
template <class A, class B>
__device__ inline void product(const Result<float> &to, A a, B b, int steps) {
  __shared__ alignas(16) Tile lefts[2], rights[2];
  float sums[M][M] = {};
  int row = threadIdx.x / 16, col = threadIdx.x % 16;
  a.fetch(0), b.fetch(0);
  for (int step = 0, at = 0; step < steps; step += STEP, at ^= 1) {
    // Who still reads a tile reads the other one.
    a.put(lefts[at]), b.put(rights[at]);
    __syncthreads();
    if (step + STEP < steps) a.fetch(step + STEP), b.fetch(step + STEP);
#pragma unroll
    for (int k = 0; k < STEP; k++) {
      float l[M], r[M];
      operand(l, lefts[at] + k * STRIDE, row), operand(r, rights[at] + k * STRIDE, col);
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < M; n++) sums[m][n] += l[m] * r[n];
    }
  }
#pragma unroll
  for (int m = 0; m < M; m++) {
    int i = place_of(row, m);
    if (i >= to.rows) continue;
#pragma unroll
    for (int n = 0; n < M; n += EACH) {
      int j = place_of(col, n);
      float part[EACH] = {sums[m][n], sums[m][n + 1], sums[m][n + 2], sums[m][n + 3]};
      if (j < to.columns) store<EACH>(to.at + int64_t(i) * to.stride + j, part);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) grouped_times_f32 TIMES_ARGS(float) {
  TIMES(false);
}
extern "C" __global__ void __launch_bounds__(THREADS) grouped_times_transposed_f32 TIMES_ARGS(float) {
  TIMES(true);
}
extern "C" __global__ void __launch_bounds__(THREADS) grouped_outer_f32 OUTER_ARGS(float) {
  OUTER;
}
