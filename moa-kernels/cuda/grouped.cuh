// Products of tokens and the matrix of their expert, however many tokens each has. How many is
// read where the device wrote it, so that the host neither waits nor knows.
//
// A block has a tile of one expert's result; the grid has as many as there could be, and those
// that are left over end at once. A file that includes this defines `product`, which computes a
// tile, and its operands.
#pragma once
#include "common.cuh"

constexpr int TILE = 128;    // rows and columns of a block's result
constexpr int THREADS = 256; // of a block

// Rows whose elements are steps of the product, TILE of them: of a matrix, or of its tokens.
template <class T> struct Along;
// Steps whose elements are rows or columns of the result: of a matrix, or of its tokens.
template <class T> struct Across;

// Where a block writes its tile: so many rows and columns of it are there.
template <class T> struct Result {
  T *at;
  int stride, rows, columns;
};

// Tokens in the order of their experts: `tokens[place]`, and the first place of each expert.
struct Order {
  const uint32_t *tokens, *firsts;
  int experts;
};

// Places of one expert; none in a block that is left over.
struct Places {
  int expert, first, count;

  __device__ static Places of(const Order &order, int expert) {
    int first = order.firsts[expert];
    return {expert, first, int(order.firsts[expert + 1]) - first};
  }

  // At most TILE of them: every expert's first place begins a tile.
  __device__ static Places of_tile(const Order &order, int tile) {
    for (int e = 0; e < order.experts; e++) {
      Places all = of(order, e);
      int tiles = (all.count + TILE - 1) / TILE, done = tile * TILE;
      if (tile < tiles) return {e, all.first + done, min(TILE, all.count - done)};
      tile -= tiles;
    }
    return {0, 0, 0};
  }
};

// Rows of tokens, at the place of each: rows of `from`, [tokens, width], times the matrix of the
// expert, [width, out]; or transposed, [out, width], as the matrices are there.
template <bool TRANSPOSED, class T>
__device__ inline void times(T *to, const T *from, const T *matrices, Order order, int width,
                             int out) {
  Places own = Places::of_tile(order, blockIdx.y);
  if (own.count == 0) return;
  int col = blockIdx.x * TILE;
  const T *matrix = matrices + int64_t(own.expert) * width * out;
  Along<T> rows(from, order.tokens + own.first, width, own.count);
  Result<T> result{to + int64_t(own.first) * out + col, out, own.count, out - col};
  if (TRANSPOSED)
    product(result, rows, Along<T>(matrix + int64_t(col) * width, nullptr, width, out - col), width);
  else product(result, rows, Across<T>(matrix + col, nullptr, out, width, out - col), width);
}

// For each expert the sum of the outer products of its rows: of `a`, [places, width], in order,
// and of `b`, [tokens, out].
template <class T>
__device__ inline void outer(float *to, const T *a, const T *b, Order order, int width, int out) {
  Places own = Places::of(order, blockIdx.z);
  int row = blockIdx.y * TILE, col = blockIdx.x * TILE;
  Across<T> left(a + int64_t(own.first) * width + row, nullptr, width, own.count, width - row);
  Across<T> right(b + col, order.tokens + own.first, out, own.count, out - col);
  to += (int64_t(own.expert) * width + row) * out + col;
  product(Result<float>{to, out, width - row, out - col}, left, right, own.count);
}

#define TIMES_ARGS(T)                                                                              \
  (T *to, const T *from, const T *matrices, const uint32_t *tokens, const uint32_t *firsts,        \
   int experts, int width, int out)
#define TIMES(TRANSPOSED) times<TRANSPOSED>(to, from, matrices, {tokens, firsts, experts}, width, out)

#define OUTER_ARGS(T)                                                                              \
  (float *to, const T *a, const T *b, const uint32_t *tokens, const uint32_t *firsts, int experts, \
   int width, int out)
#define OUTER outer(to, a, b, {tokens, firsts, experts}, width, out)
