// What all kernels share: element types, packs of elements, sums over a warp.
//
// Every value is computed in float, whatever it is stored as.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

__device__ inline float to_float(float v) { return v; }
__device__ inline float to_float(__half v) { return __half2float(v); }
__device__ inline float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }

template <class T> __device__ inline T from_float(float v);
template <> __device__ inline float from_float<float>(float v) { return v; }
template <> __device__ inline __half from_float<__half>(float v) { return __float2half(v); }
template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16(v);
}

// N neighbouring elements, moved at once.
template <class T, int N> struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <int N, class T> __device__ inline void load(const T *from, float (&to)[N]) {
  Pack<T, N> pack = *reinterpret_cast<const Pack<T, N> *>(from);
#pragma unroll
  for (int i = 0; i < N; i++) to[i] = to_float(pack.at[i]);
}

template <int N, class T> __device__ inline void store(T *to, const float (&from)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; i++) pack.at[i] = from_float<T>(from[i]);
  *reinterpret_cast<Pack<T, N> *>(to) = pack;
}

// 2 to the power of v, as exact as the device's own instruction.
__device__ inline float power2(float v) {
#ifdef __CUDA_ARCH__
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(v));
  return power;
#else
  return exp2f(v);
#endif
}

// The same for 1 / v.
__device__ inline float inverse(float v) {
#ifdef __CUDA_ARCH__
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
  return result;
#else
  return 1.0f / v;
#endif
}

// The sum of `v` over the lanes of a warp, for all of them, always in the same order.
__device__ inline float warp_sum(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
  return v;
}

__device__ inline float warp_max(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
  return v;
}

// The sum of `v` over a block of THREADS, for all of them, always in the same order.
template <int THREADS> __device__ inline float block_sum(float v) {
  __shared__ float parts[THREADS / 32];
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < THREADS / 32; warp++) sum += parts[warp];
  return sum;
}

// The row of a kernel that gives each warp one, with blocks of (32, warps) threads.
__device__ inline int64_t warp_row() { return int64_t(blockIdx.x) * blockDim.y + threadIdx.y; }

// The first of the N elements of this thread.
template <int N> __device__ inline int64_t first_element() {
  return (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
}

// Addresses, or numbers, of the tensors of one launch that takes many.
template <class T> struct Table {
  T at[24];
};

// Instances of a kernel template for the element types: NAME_f32 and so on, for elements moved
// one by one, and NAME_f32_wide, for 16 bytes at once. ARGS use T; CALL uses T and N.
#define INSTANCE(NAME, SUFFIX, TYPE, WIDTH, ARGS, CALL)                                            \
  extern "C" __global__ void NAME##SUFFIX ARGS(TYPE) { CALL(TYPE, WIDTH); }
#define INSTANCES(NAME, ARGS, CALL)                                                                \
  INSTANCE(NAME, _f32, float, 1, ARGS, CALL)                                                       \
  INSTANCE(NAME, _f16, __half, 1, ARGS, CALL)                                                      \
  INSTANCE(NAME, _bf16, __nv_bfloat16, 1, ARGS, CALL)                                              \
  INSTANCE(NAME, _f32_wide, float, 4, ARGS, CALL)                                                  \
  INSTANCE(NAME, _f16_wide, __half, 8, ARGS, CALL)                                                 \
  INSTANCE(NAME, _bf16_wide, __nv_bfloat16, 8, ARGS, CALL)
