// Products of 16 x 16 by 16 x 8 matrices by a warp, and how it reads them from shared memory.
//
// Lane l of a warp is in group l / 4 with number l % 4 in it. Of a result it holds the
// elements (group, 2 number + {0, 1}) and (group + 8, 2 number + {0, 1}).
#pragma once
#include "common.cuh"

// Elements between rows of 64 of a tile in shared memory, which then start in different banks.
constexpr int STRIDE = 72;

// Left operand, 16 x 16.
struct Left {
  uint32_t at[4];
};

// Right operands of two neighbouring products, 16 x 16 in all.
struct Right {
  uint32_t at[4];
};

// The row, 0 or 8 further, and the column of element i of result j.
__device__ inline int row_of(int i) { return threadIdx.x % 32 / 4 + i / 2 * 8; }
__device__ inline int column_of(int j, int i) { return 8 * j + threadIdx.x % 4 * 2 + i % 2; }

// MOA_SHIM: tests that run kernels on the CPU have functions of their own for what follows.
#ifdef MOA_SHIM
#elif __CUDA_ARCH__ >= 800
__device__ inline void multiply(float (&sum)[4], const Left &a, uint32_t b0, uint32_t b1, __half) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%0,%1,%2,%3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b0), "r"(b1));
}
__device__ inline void multiply(float (&sum)[4], const Left &a, uint32_t b0, uint32_t b1,
                                __nv_bfloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%0,%1,%2,%3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(b0), "r"(b1));
}
#else
template <class T>
__device__ inline void multiply(float (&)[4], const Left &, uint32_t, uint32_t, T) {
  __trap(); // never launched on such a device
}
#endif

#ifndef MOA_SHIM
// Four 8 x 8 matrices; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void matrices(uint32_t (&to)[4], const void *row) {
  uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address));
}
__device__ inline void transposed(uint32_t (&to)[4], const void *row) {
  uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address));
}
#endif

// Rows [row, row + 16) and columns [col, col + 16) of a tile as left operand.
template <int S = STRIDE, class T>
__device__ inline Left left(const T *tile, int row, int col) {
  Left a;
  int lane = threadIdx.x % 32;
  matrices(a.at, tile + (row + lane % 16) * S + col + lane / 16 * 8);
  return a;
}

// Of a tile whose rows are the steps: columns [row, row + 16) and steps [k, k + 16).
template <int S, class T>
__device__ inline Left left_of_steps(const T *tile, int row, int k) {
  Left a;
  int lane = threadIdx.x % 32;
  transposed(a.at, tile + (k + lane / 16 * 8 + lane % 8) * S + row + lane / 8 % 2 * 8);
  return a;
}

// Of a tile whose rows are the columns of the right operand: columns [n, n + 16) of it and
// steps [k, k + 16). Its products take (at[0], at[1]) and (at[2], at[3]).
template <int S = STRIDE, class T>
__device__ inline Right right_of_rows(const T *tile, int n, int k) {
  Right b;
  int lane = threadIdx.x % 32;
  matrices(b.at, tile + (n + lane / 16 * 8 + lane % 8) * S + k + lane / 8 % 2 * 8);
  return b;
}

// Of a tile whose rows are the steps: steps [k, k + 16) and columns [n, n + 16).
template <int S = STRIDE, class T>
__device__ inline Right right_of_steps(const T *tile, int k, int n) {
  Right b;
  int lane = threadIdx.x % 32;
  transposed(b.at, tile + (k + lane % 16) * S + n + lane / 16 * 8);
  return b;
}

__device__ inline uint32_t pack(float x, float y, __half) {
  __half2 pair = __floats2half2_rn(x, y);
  return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ inline uint32_t pack(float x, float y, __nv_bfloat16) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(x, y);
  return *reinterpret_cast<uint32_t *>(&pair);
}

// Two neighbouring results, 16 x 16, as left operand.
template <class T> __device__ inline Left left_of(const float (&first)[4], const float (&second)[4]) {
  return {{pack(first[0], first[1], T()), pack(first[2], first[3], T()),
           pack(second[0], second[1], T()), pack(second[2], second[3], T())}};
}

// The sum of the products of two pairs.
template <class T> __device__ inline float dot2(uint32_t a, uint32_t b) {
  auto x = *reinterpret_cast<Pack<T, 2> *>(&a), y = *reinterpret_cast<Pack<T, 2> *>(&b);
  return to_float(x.at[0]) * to_float(y.at[0]) + to_float(x.at[1]) * to_float(y.at[1]);
}

// The kernel NAME for both types of half precision.
#define HALF(NAME, ARGS, CALL)                                                                     \
  extern "C" __global__ void __launch_bounds__(THREADS) NAME##_f16 ARGS(__half) { CALL; }          \
  extern "C" __global__ void __launch_bounds__(THREADS) NAME##_bf16 ARGS(__nv_bfloat16) { CALL; }
