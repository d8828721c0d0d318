// Products of tokens and the matrix of their expert, however many tokens each has: see
// cuda/grouped.cuh. A group has a tile of one expert's result; those that are left over end at once.
#include "common.h"

constant constexpr int TILE = 64;               // rows and columns of a group's result
constant constexpr int STEP = 16;               // steps of the product from one barrier to the next
constant constexpr int OWN = 32, THREADS = 128; // rows and columns of a SIMD group; threads

typedef simdgroup_matrix<float, 8, 8> Matrix;

template <class T> struct Memory {
  alignas(16) T left[TILE * STEP];
  alignas(16) T right[TILE * STEP];
  alignas(16) float room[THREADS / 32][8 * OWN];
};

// Places of one expert; none in a group that is left over.
struct Places {
  int expert, first, count;
};

inline Places places_of(const device uint *firsts, int expert) {
  int first = firsts[expert];
  return Places{expert, first, int(firsts[expert + 1]) - first};
}

// At most TILE of them: every expert's first place begins a tile.
inline Places places_of_tile(const device uint *firsts, int experts, int tile) {
  for (int e = 0; e < experts; e++) {
    Places all = places_of(firsts, e);
    int tiles = (all.count + TILE - 1) / TILE, done = tile * TILE;
    if (tile < tiles) return Places{e, all.first + done, min(TILE, all.count - done)};
    tile -= tiles;
  }
  return Places{0, 0, 0};
}

// Four neighbours, or zeros.
template <class T> inline void copy4(threadgroup T *to, const device T *from, bool there) {
  Pack<T, 4> pack;
  for (int j = 0; j < 4; j++) pack.at[j] = T(0.0f);
  if (there) pack = *reinterpret_cast<const device Pack<T, 4> *>(from);
  for (int j = 0; j < 4; j++) to[j] = pack.at[j];
}

// Rows whose elements are steps: of a matrix, or of its tokens. A tile is [TILE, STEP].
template <class T> struct Along {
  const device T *from;
  const device uint *tokens;
  int steps, count;

  void fetch(threadgroup T *tile, int step, int number) const {
    for (int i = 4 * number; i < TILE * STEP; i += 4 * THREADS) {
      int row = i / STEP, k = step + i % STEP;
      bool there = row < count && k < steps;
      long own = there && tokens ? tokens[row] : row;
      copy4(tile + i, there ? from + own * steps + k : from, there);
    }
  }
  static void left(thread simdgroup_matrix<T, 8, 8> &to, const threadgroup T *tile, int row, int k) {
    simdgroup_load(to, tile + row * STEP + k, STEP);
  }
  static void right(thread simdgroup_matrix<T, 8, 8> &to, const threadgroup T *tile, int col, int k) {
    simdgroup_load(to, tile + col * STEP + k, STEP, ulong2(0), true);
  }
};

// Steps whose elements are rows or columns of the result. A tile is [STEP, TILE].
template <class T> struct Across {
  const device T *from;
  const device uint *tokens;
  int stride, steps, columns;

  void fetch(threadgroup T *tile, int step, int number) const {
    for (int i = 4 * number; i < TILE * STEP; i += 4 * THREADS) {
      int k = step + i / TILE, col = i % TILE;
      bool there = k < steps && col < columns;
      long own = there && tokens ? tokens[k] : k;
      copy4(tile + i, there ? from + own * stride + col : from, there);
    }
  }
  static void left(thread simdgroup_matrix<T, 8, 8> &to, const threadgroup T *tile, int row, int k) {
    simdgroup_load(to, tile + k * TILE + row, TILE, ulong2(0), true);
  }
  static void right(thread simdgroup_matrix<T, 8, 8> &to, const threadgroup T *tile, int col, int k) {
    simdgroup_load(to, tile + k * TILE + col, TILE);
  }
};

// Where a group writes its tile: so many rows and columns of it are there.
template <class T> struct Result {
  device T *at;
  int stride, rows, columns;
};

// result = a b, over `steps`
template <class To, class A, class B, class T>
inline void product(Result<To> to, A a, B b, int steps, threadgroup Memory<T> &memory, Thread here) {
  int row = here.warp / 2 * OWN, col = here.warp % 2 * OWN, number = here.at.x;
  Matrix sums[OWN / 8][OWN / 8];
#pragma clang loop unroll(full)
  for (int m = 0; m < OWN / 8; m++)
#pragma clang loop unroll(full)
    for (int n = 0; n < OWN / 8; n++) sums[m][n] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (int step = 0; step < steps; step += STEP) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    a.fetch(memory.left, step, number);
    b.fetch(memory.right, step, number);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int k = 0; k < STEP; k += 8) {
      simdgroup_matrix<T, 8, 8> l[OWN / 8], r;
#pragma clang loop unroll(full)
      for (int m = 0; m < OWN / 8; m++) A::left(l[m], memory.left, row + 8 * m, k);
#pragma clang loop unroll(full)
      for (int n = 0; n < OWN / 8; n++) {
        B::right(r, memory.right, col + 8 * n, k);
#pragma clang loop unroll(full)
        for (int m = 0; m < OWN / 8; m++) simdgroup_multiply_accumulate(sums[m][n], l[m], r, sums[m][n]);
      }
    }
  }
  threadgroup float *room = memory.room[here.warp];
#pragma clang loop unroll(full)
  for (int m = 0; m < OWN / 8; m++) {
    simdgroup_barrier(mem_flags::mem_threadgroup);
#pragma clang loop unroll(full)
    for (int n = 0; n < OWN / 8; n++) simdgroup_store(sums[m][n], room + 8 * n, OWN);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = here.lane; i < 8 * OWN; i += 32) {
      int r = row + 8 * m + i / OWN, c = col + i % OWN;
      if (r < to.rows && c < to.columns) to.at[long(r) * to.stride + c] = To(room[i]);
    }
  }
}

// Rows of tokens, at the place of each, times the matrix of the expert.
template <bool TRANSPOSED, class T>
inline void times(device T *to, const device T *from, const device T *matrices,
                  const device uint *tokens, const device uint *firsts, int experts, int width,
                  int out, threadgroup Memory<T> &memory, Thread here) {
  Places own = places_of_tile(firsts, experts, here.block.y);
  if (own.count == 0) return;
  int col = here.block.x * TILE;
  const device T *matrix = matrices + long(own.expert) * width * out;
  Along<T> rows{from, tokens + own.first, width, own.count};
  Result<T> result{to + long(own.first) * out + col, out, own.count, out - col};
  if (TRANSPOSED) {
    Along<T> columns{matrix + long(col) * width, nullptr, width, out - col};
    product(result, rows, columns, width, memory, here);
  } else {
    Across<T> columns{matrix + col, nullptr, out, width, out - col};
    product(result, rows, columns, width, memory, here);
  }
}

// For each expert the sum of the outer products of its rows.
template <class T>
inline void outer(device float *to, const device T *a, const device T *b, const device uint *tokens,
                  const device uint *firsts, int width, int out, threadgroup Memory<T> &memory,
                  Thread here) {
  Places own = places_of(firsts, here.block.z);
  int row = here.block.y * TILE, col = here.block.x * TILE;
  Across<T> left{a + long(own.first) * width + row, nullptr, width, own.count, width - row};
  Across<T> right{b + col, tokens + own.first, out, own.count, out - col};
  Result<float> result{to + (long(own.expert) * width + row) * out + col, out, width - row, out - col};
  product(result, left, right, own.count, memory, here);
}

#define ORDER                                                                                      \
  const device uint *tokens, const device uint *firsts, constant int &experts,                     \
      constant int &width, constant int &out
#define TIMES_ARGS(T) device T *to, const device T *from, const device T *matrices, ORDER
#define TIMES(TRANSPOSED)                                                                          \
  times<TRANSPOSED>(to, from, matrices, tokens, firsts, experts, width, out, memory, HERE)
TYPES(grouped_times, TIMES_ARGS, Memory, TIMES(false))
TYPES(grouped_times_transposed, TIMES_ARGS, Memory, TIMES(true))

#define OUTER_ARGS(T) device float *to, const device T *a, const device T *b, ORDER
TYPES(grouped_outer, OUTER_ARGS, Memory, outer(to, a, b, tokens, firsts, width, out, memory, HERE))
