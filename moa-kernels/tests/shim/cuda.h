// The words of CUDA C++ that our kernels use, for a compiler of plain C++.
#pragma once
#define MOA_SHIM 1
#include "block.h"
#include <algorithm>
#include <math.h>
#include <stdint.h>
#include <string>
#include <utility>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static
#define alignas(n) __attribute__((aligned(n)))
#define threadIdx (shim::self().thread)
#define blockIdx (shim::self().block)
#define blockDim (shim::self().threads)
#define gridDim (shim::self().blocks)

struct float2 {
  float x, y;
};
struct double2 {
  double x, y;
};
struct uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

using std::max;
using std::min;
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }

#define __syncthreads() shim::sync_block(__LINE__)
#define __syncwarp(...) shim::exchange(0, __LINE__)

// All lanes take part in every exchange of ours.
template <class T> T __shfl_sync(unsigned, T own, int lane) {
  return shim::exchange(own, __LINE__).at[lane % 32];
}
template <class T> T __shfl_xor_sync(unsigned, T own, int mask) {
  return shim::exchange(own, __LINE__).at[shim::self().lane ^ mask];
}
template <class T> T __shfl_up_sync(unsigned, T own, unsigned by) {
  auto all = shim::exchange(own, __LINE__);
  unsigned lane = shim::self().lane;
  return lane >= by ? all.at[lane - by] : own;
}
template <class T> T __shfl_down_sync(unsigned, T own, unsigned by) {
  auto all = shim::exchange(own, __LINE__);
  unsigned lane = shim::self().lane;
  return lane + by < 32 ? all.at[lane + by] : own;
}
inline unsigned __ballot_sync(unsigned, int own) {
  auto all = shim::exchange(own, __LINE__);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= unsigned(all.at[lane] != 0) << lane;
  return bits;
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }

#include "half.h"
#include "tensor_cores.h"
