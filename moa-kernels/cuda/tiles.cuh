// Tiles of operands on their way to shared memory while others are computed.
#pragma once
#include "common.cuh"

#ifndef MOA_SHIM
// Starts to copy 16 bytes to shared memory, or zeros if there is nothing to copy.
__device__ inline void copy16(void *to, const void *from, bool there) {
#if __CUDA_ARCH__ >= 800
  uint32_t address = uint32_t(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(there ? 16 : 0));
#endif
}
// Ends a group of copies.
__device__ inline void end_group() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;");
#endif
}
// Waits for all groups but the last `N`.
template <int N> __device__ inline void wait_groups() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N));
#endif
}
#endif

// Calls step(count, at) for tile after tile of `all` rows: `count` of them are in tile `at`. Two
// are always on their way: fetch(row, at) starts one and ends a group of copies.
template <int STEP, class Fetch, class Step>
__device__ inline void each_tile(int all, bool busy, Fetch fetch, Step step) {
  for (int row = 0, at = 0; row < all; row += STEP, at ^= 1) {
    if (row + STEP < all) wait_groups<1>();
    else wait_groups<0>();
    __syncthreads();
    if (busy && row + STEP <= all) step(STEP, at);
    else if (busy) step(all - row, at);
    __syncthreads();
    if (row + 2 * STEP < all) fetch(row + 2 * STEP, at);
  }
}

// Starts the first two tiles.
template <int STEP, class Fetch> __device__ inline void first_tiles(int all, Fetch fetch) {
  fetch(0, 0);
  if (STEP < all) fetch(STEP, 1);
}
