// Softmax attention for heads of 64, after FlashAttention-2 (Dao, 2023): scores of a tile of
// queries and a tile of keys at a time, never all of them. Reads q, k and v where the fused
// projection left them, [b, n, 3, h, 64], and writes the result as it is read next,
// [b, queries, h, 64].
//
// Each SIMD group of a block has 16 rows: of queries, or for their own gradients of keys. The
// block goes through the others tile by tile. Where the elements of a SIMD group's matrices lie is
// not documented, so what is done element by element goes through the group's memory, and rows
// are scaled by a product with a diagonal matrix. Loops over matrices are unrolled, so that these
// are registers.

constant constexpr int D = 64;
constant constexpr int ROWS = 32, OWN = 16, THREADS = 64; // of a block, of a SIMD group; threads
constant constexpr int STEP = 16;                         // rows of a tile
constant constexpr float LOG2_E = 1.44269504f;

typedef simdgroup_matrix<float, 8, 8> Matrix;

struct Head {
  int n, queries, heads;
};

// Where q, k or v of a block's head and image begin: part 0, 1 or 2. Rows are row_of_parts apart.
inline long part_of(Head head, int part, Thread here) {
  return ((long(here.block.z) * head.n * 3 + part) * head.heads + here.block.y) * D;
}
inline int row_of_parts(Head head) { return 3 * head.heads * D; }
// The same of a result, rows row_of_results apart, and of what there is one for each query.
inline long result_of(Head head, Thread here) {
  return (long(here.block.z) * head.queries * head.heads + here.block.y) * D;
}
inline int row_of_results(Head head) { return head.heads * D; }
inline long queries_of(Head head, Thread here) {
  return (long(here.block.z) * head.heads + here.block.y) * head.queries;
}

// Copies COUNT of `all` rows, from row `from` on; zeros behind the last.
template <int COUNT, class T>
inline void fetch(threadgroup T *tile, const device T *rows, int stride, int from, int all,
                  Thread here) {
  for (int i = int(here.at.x) * 4; i < COUNT * D; i += THREADS * 4) {
    int row = from + i / D;
    Pack<T, 4> pack;
    for (int j = 0; j < 4; j++) pack.at[j] = T(0.0f);
    if (row < all) pack = *reinterpret_cast<const device Pack<T, 4> *>(rows + long(row) * stride + i % D);
    for (int j = 0; j < 4; j++) tile[i + j] = pack.at[j];
  }
}

inline void clear(thread Matrix (&sums)[OWN / 8][D / 8]) {
#pragma clang loop unroll(full)
  for (int m = 0; m < OWN / 8; m++)
#pragma clang loop unroll(full)
    for (int j = 0; j < D / 8; j++) sums[m][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
}

// to [16, STEP] = the rows of a SIMD group times the rows of a tile
template <class T>
inline void times_rows(threadgroup float *to, const threadgroup T *own, const threadgroup T *tile) {
  for (int m = 0; m < OWN; m += 8)
    for (int j = 0; j < STEP; j += 8) {
      Matrix sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      for (int k = 0; k < D; k += 8) {
        simdgroup_matrix<T, 8, 8> a, b;
        simdgroup_load(a, own + m * D + k, D);
        simdgroup_load(b, tile + j * D + k, D, ulong2(0), true);
        simdgroup_multiply_accumulate(sum, a, b, sum);
      }
      simdgroup_store(sum, to + m * STEP + j, STEP);
    }
}

// sums += values [16, STEP] times the rows of a tile
template <class T>
inline void add_times(thread Matrix (&sums)[OWN / 8][D / 8], const threadgroup T *values,
                      const threadgroup T *tile) {
  for (int k = 0; k < STEP; k += 8) {
    simdgroup_matrix<T, 8, 8> a[OWN / 8], b;
#pragma clang loop unroll(full)
    for (int m = 0; m < OWN / 8; m++) simdgroup_load(a[m], values + 8 * m * STEP + k, STEP);
#pragma clang loop unroll(full)
    for (int j = 0; j < D / 8; j++) {
      simdgroup_load(b, tile + k * D + 8 * j, D);
#pragma clang loop unroll(full)
      for (int m = 0; m < OWN / 8; m++) simdgroup_multiply_accumulate(sums[m][j], a[m], b, sums[m][j]);
    }
  }
}

// Each row times its factor: `diagonals` has an 8 x 8 matrix for 8 rows.
inline void scale_rows(thread Matrix (&sums)[OWN / 8][D / 8], const threadgroup float *diagonals) {
#pragma clang loop unroll(full)
  for (int m = 0; m < OWN / 8; m++) {
    Matrix factors;
    simdgroup_load(factors, diagonals + 64 * m, 8);
#pragma clang loop unroll(full)
    for (int j = 0; j < D / 8; j++) {
      Matrix scaled = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      simdgroup_multiply_accumulate(scaled, factors, sums[m][j], scaled);
      sums[m][j] = scaled;
    }
  }
}

// Writes the rows of a SIMD group, those of `all` from `from` on, through `room` [16, STEP].
template <class T>
inline void write_rows(device T *to, int stride, int from, int all,
                       thread Matrix (&sums)[OWN / 8][D / 8], threadgroup float *room, int lane) {
#pragma clang loop unroll(full)
  for (int j = 0; j < D / 8; j += STEP / 8) {
    simdgroup_barrier(mem_flags::mem_threadgroup);
#pragma clang loop unroll(full)
    for (int m = 0; m < OWN / 8; m++)
#pragma clang loop unroll(full)
      for (int i = 0; i < STEP / 8; i++)
        simdgroup_store(sums[m][j + i], room + 8 * m * STEP + 8 * i, STEP);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = lane; i < OWN * STEP; i += 32) {
      int row = from + i / STEP;
      if (row < all) to[long(row) * stride + 8 * j + i % STEP] = T(room[i]);
    }
  }
}

#define HEAD constant int &n, constant int &queries, constant int &heads, constant float &scale
