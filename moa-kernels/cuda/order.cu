// Tokens ordered by their expert: a counting sort by one block, the same order every time.
#include "common.cuh"

constexpr int EXPERTS = 16, THREADS = 32 * EXPERTS; // a warp to an expert
constexpr int LANE = THREADS / 32;                  // threads whose counts a lane sums up

// Calls f for each index from first to end; reads 8 at a time, as each read takes long.
template <class F>
__device__ inline void each(const uint32_t *__restrict__ indices, int first, int end, F f) {
  for (int i = first; i < end; i += 8) {
    uint32_t expert[8];
#pragma unroll
    for (int j = 0; j < 8; j++) expert[j] = i + j < end ? indices[i + j] : 0;
#pragma unroll
    for (int j = 0; j < 8; j++)
      if (i + j < end) f(i + j, expert[j]);
  }
}

// Of the pairs of a token and a choice, with number token k + choice: the pair at each place, its
// token, the place of each pair, and the first place of each expert.
extern "C" __global__ void __launch_bounds__(THREADS)
    order(uint32_t *pairs, uint32_t *tokens, uint32_t *places, uint32_t *firsts,
          const uint32_t *__restrict__ indices, int count, int experts, int k) {
  // Pairs that each thread has of each expert, then those before them.
  __shared__ uint32_t before[EXPERTS][THREADS];
  __shared__ uint32_t total[EXPERTS];
  int share = (count + THREADS - 1) / THREADS, thread = threadIdx.x, lane = thread % 32;
  int first = min(thread * share, count), end = min(first + share, count);
  for (int e = 0; e < experts; e++) before[e][thread] = 0;
  each(indices, first, end, [&](int, uint32_t expert) { before[expert][thread]++; });
  __syncthreads();
  int e = thread / 32;
  if (e < experts) {
    uint32_t sum = 0;
    for (int i = LANE * lane; i < LANE * (lane + 1); i++) sum += before[e][i];
    uint32_t upto = sum;
    for (int step = 1; step < 32; step *= 2) {
      uint32_t other = __shfl_up_sync(0xffffffffu, upto, step);
      if (lane >= step) upto += other;
    }
    uint32_t at = upto - sum;
    for (int i = LANE * lane; i < LANE * (lane + 1); i++) {
      uint32_t own = before[e][i];
      before[e][i] = at, at += own;
    }
    if (lane == 31) total[e] = at;
  }
  __syncthreads();
  if (thread == 0) {
    uint32_t at = 0;
    for (int i = 0; i < experts; i++) {
      firsts[i] = at;
      uint32_t own = total[i];
      total[i] = at, at += own;
    }
    firsts[experts] = at;
  }
  __syncthreads();
  each(indices, first, end, [&](int i, uint32_t expert) {
    uint32_t place = total[expert] + before[expert][thread]++;
    pairs[place] = i, tokens[place] = i / k, places[i] = place;
  });
}
