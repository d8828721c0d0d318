// The words of Metal's C++ that our kernels use, for a compiler of plain C++.
#pragma once
#define MOA_SHIM 1
#define SHIM_METAL 1
#define __HAVE_BFLOAT__ 1
#include "block.h"
#include <algorithm>
#include <math.h>
#include <stdint.h>
#include <string>
#include <utility>
#include "half.h"
#include "kernels.h"

using uint = unsigned;
using ulong = unsigned long;
using ushort = unsigned short;
using uchar = unsigned char;
using uint3 = shim::Index;
static_assert(sizeof(long) == 8, "long has 64 bits in Metal");

struct half {
  __half at;
  half() = default;
  half(float v) : at(__float2half(v)) {}
  operator float() const { return __half2float(at); }
};
struct bfloat {
  __nv_bfloat16 at;
  bfloat() = default;
  bfloat(float v) : at(__float2bfloat16(v)) {}
  operator float() const { return __bfloat162float(at); }
};
struct alignas(8) float2 {
  float x, y;
  float2() = default;
  float2(float x, float y) : x(x), y(y) {}
};
inline float2 operator*(float a, float2 b) { return float2(a * b.x, a * b.y); }
struct uint4 {
  uint x, y, z, w;
  uint4(uint x, uint y, uint z, uint w) : x(x), y(y), z(z), w(w) {}
};
struct ulong2 {
  ulong x, y;
  explicit ulong2(ulong v) : x(v), y(v) {}
};

using std::abs;
using std::cos;
using std::exp;
using std::exp2;
using std::fma;
using std::log;
using std::log2;
using std::max;
using std::min;
using std::sin;
using std::sqrt;

enum mem_flags { mem_device = 1, mem_threadgroup = 2 };
#define threadgroup_barrier(...) (shim::end_stores(), shim::sync_block(__LINE__))
#define simdgroup_barrier(...) (shim::end_stores(), shim::exchange(0, __LINE__))

namespace shim {
// Matrices are there for others only after a barrier, whatever their SIMD group does together
// before: with copies that end late so do these.
inline void end_stores() {
  for (const auto &[to, v] : self().stores) *to = v;
  self().stores.clear();
}
inline void store(float *to, float v) {
  if (copies_end_late()) self().stores.push_back({to, v});
  else *to = v;
}
} // namespace shim

// All lanes take part in every exchange of ours.
template <class T> T simd_shuffle(T own, ushort lane) {
  return shim::exchange(own, __LINE__).at[lane % 32];
}
template <class T> T simd_shuffle_xor(T own, ushort mask) {
  return shim::exchange(own, __LINE__).at[shim::self().lane ^ mask];
}
template <class T> T simd_shuffle_up(T own, ushort by) {
  auto all = shim::exchange(own, __LINE__);
  unsigned lane = shim::self().lane;
  return lane >= by ? all.at[lane - by] : own;
}

// A matrix of a SIMD group: each lane has two neighbours of a row. At first it is no numbers.
template <class T, int ROWS, int COLUMNS> struct simdgroup_matrix {
  static_assert(ROWS == 8 && COLUMNS == 8);
  T at[2] = {T(NAN), T(NAN)};
};
template <class T, int ROWS, int COLUMNS>
simdgroup_matrix<T, ROWS, COLUMNS> make_filled_simdgroup_matrix(T v) {
  simdgroup_matrix<T, ROWS, COLUMNS> filled;
  filled.at[0] = filled.at[1] = v;
  return filled;
}
// Loads and stores order nothing: that is what barriers are for.
template <class T>
void simdgroup_load(simdgroup_matrix<T, 8, 8> &to, const T *from, ulong row, ulong2 = ulong2(0),
                    bool transposed = false) {
  int r = shim::self().lane / 4, c = shim::self().lane % 4 * 2;
  for (int i = 0; i < 2; i++) to.at[i] = transposed ? from[(c + i) * row + r] : from[r * row + c + i];
}
inline void simdgroup_store(const simdgroup_matrix<float, 8, 8> &from, float *to, ulong row) {
  int r = shim::self().lane / 4, c = shim::self().lane % 4 * 2;
  for (int i = 0; i < 2; i++) shim::store(&to[r * row + c + i], from.at[i]);
}
// to = a b + c
template <class A>
void simdgroup_multiply_accumulate(simdgroup_matrix<float, 8, 8> &to,
                                   const simdgroup_matrix<A, 8, 8> &a,
                                   const simdgroup_matrix<A, 8, 8> &b,
                                   const simdgroup_matrix<float, 8, 8> &c) {
  struct Own {
    float a[2], b[2];
  } own = {{float(a.at[0]), float(a.at[1])}, {float(b.at[0]), float(b.at[1])}};
  auto all = shim::exchange(own, __LINE__);
  int row = shim::self().lane / 4, column = shim::self().lane % 4;
  for (int i = 0; i < 2; i++) {
    float sum = c.at[i];
    for (int k = 0; k < 8; k++) sum += all.at[4 * row + k / 2].a[k % 2] * all.at[4 * k + column].b[i];
    to.at[i] = sum;
  }
}

#define kernel
#define device
#define thread
#define threadgroup
#define constant const
#define SHARED static
// What Metal does not have.
#pragma GCC poison double expf exp2f fabsf fmaxf fminf sqrtf logf erf erff
