// Tokens ordered by their expert: a counting sort by one group, the same order every time.
#include "common.h"

constant constexpr int EXPERTS = 16, THREADS = 32 * EXPERTS; // a SIMD group to an expert
constant constexpr int LANE = THREADS / 32;                  // threads whose counts a lane sums up

// Of the pairs of a token and a choice, with number token k + choice: the pair at each place, its
// token, the place of each pair, and the first place of each expert.
kernel void order(device uint *pairs, device uint *tokens, device uint *places,
                  device uint *firsts, const device uint *indices, constant int &count,
                  constant int &experts, constant int &k, THREAD) {
  // Pairs that each thread has of each expert, then those before them: all the memory that a
  // group has, so that sums by expert are in `firsts` until they are first places.
  SHARED uint before[EXPERTS][THREADS];
  int own = at_.x, lane = lane_, e = warp_;
  int share = (count + THREADS - 1) / THREADS;
  int first = min(own * share, int(count)), end = min(first + share, int(count));
  for (int i = 0; i < experts; i++) before[i][own] = 0;
  for (int i = first; i < end; i++) before[indices[i]][own]++;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (e < experts) {
    uint sum = 0;
    for (int i = LANE * lane; i < LANE * (lane + 1); i++) sum += before[e][i];
    uint upto = sum;
    for (ushort step = 1; step < 32; step *= 2) {
      uint other = simd_shuffle_up(upto, step);
      if (lane >= step) upto += other;
    }
    uint at = upto - sum;
    for (int i = LANE * lane; i < LANE * (lane + 1); i++) {
      uint had = before[e][i];
      before[e][i] = at, at += had;
    }
    if (lane == 31) firsts[e] = at;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  if (own == 0) {
    uint at = 0;
    for (int i = 0; i < experts; i++) {
      uint had = firsts[i];
      firsts[i] = at, at += had;
    }
    firsts[experts] = at;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  for (int i = first; i < end; i++) {
    uint expert = indices[i], place = firsts[expert] + before[expert][own]++;
    pairs[place] = i, tokens[place] = i / k, places[i] = place;
  }
}
