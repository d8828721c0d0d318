// What tensor_cores.cuh has assembler for: layouts as the PTX manual has them for
// mma.m16n8k16 and ldmatrix.
#pragma once

inline float as_float(__half v) { return __half2float(v); }
inline float as_float(__nv_bfloat16 v) { return __bfloat162float(v); }

// sum += a b by a warp: a is 16 x 16, b 16 x 8.
template <class Left, class T>
void multiply(float (&sum)[4], const Left &a, uint32_t b0, uint32_t b1, T) {
  struct Own {
    uint32_t a[4], b[2];
  } own = {{a.at[0], a.at[1], a.at[2], a.at[3]}, {b0, b1}};
  auto all = shim::exchange(own, __LINE__);
  auto part = [](uint32_t pair, int i) { return as_float(T{uint16_t(pair >> 16 * i)}); };
  int group = shim::self().lane / 4, number = shim::self().lane % 4;
  for (int i = 0; i < 4; i++) {
    int row = i / 2, column = 2 * number + i % 2;
    for (int k = 0; k < 16; k++) {
      float x = part(all.at[group * 4 + k % 8 / 2].a[row + 2 * (k / 8)], k % 2);
      sum[i] += x * part(all.at[column * 4 + k % 8 / 2].b[k / 8], k % 2);
    }
  }
}

// Four 8 x 8 matrices; lane l gives the address of row l % 8 of matrix l / 8.
inline void load_matrices(uint32_t (&to)[4], const void *row, bool transposed) {
  auto rows = shim::exchange(static_cast<const uint16_t *>(row), __LINE__);
  int group = shim::self().lane / 4, number = shim::self().lane % 4;
  for (int m = 0; m < 4; m++) {
    uint16_t pair[2];
    for (int i = 0; i < 2; i++) {
      int at_row = transposed ? 2 * number + i : group, column = transposed ? group : 2 * number + i;
      pair[i] = rows.at[8 * m + at_row][column];
    }
    to[m] = pair[0] | uint32_t(pair[1]) << 16;
  }
}
inline void matrices(uint32_t (&to)[4], const void *row) { load_matrices(to, row, false); }
inline void transposed(uint32_t (&to)[4], const void *row) { load_matrices(to, row, true); }

// Copies to shared memory that a thread waits for later.
inline void copy16(void *to, const void *from, bool there) { shim::start_copy(to, there ? from : nullptr); }
inline void end_group() { shim::end_group(); }
template <int N> void wait_groups() { shim::wait_groups(N); }
