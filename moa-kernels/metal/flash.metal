// Attention: see flash.h.
#include "common.h"
#include "flash.h"

template <class T> struct Memory {
  alignas(16) T own[ROWS * D];
  alignas(16) T keys[STEP * D];
  alignas(16) T values[STEP * D];
  alignas(16) T probs[ROWS * STEP];
  alignas(16) float scores[ROWS * STEP];
  alignas(16) float keep[ROWS * 8]; // diagonal matrices
};
static_assert(sizeof(Memory<float>) <= 32768, "all that a group has");

// The result, and for every query the base-2 logarithm of the sum of its exponentials. Two lanes
// have a row of scores.
template <class T>
inline void attend(device T *result, device float *lse, const device T *qkv, Head head,
                   float scale, threadgroup Memory<T> &memory, Thread here) {
  int lane = here.lane, own = here.warp * OWN, first = here.block.x * ROWS, stride = row_of_parts(head);
  const device T *keys = qkv + part_of(head, 1, here), *values = qkv + part_of(head, 2, here);
  threadgroup T *probs = memory.probs + own * STEP;
  threadgroup float *scores = memory.scores + own * STEP, *keep = memory.keep + own * 8;
  int row = lane / 2, column = lane % 2 * 8, diagonal = row / 8 * 64 + row % 8 * 9;
  fetch<ROWS>(memory.own, qkv + part_of(head, 0, here), stride, first, head.queries, here);
  for (int i = lane; i < OWN * 8; i += 32) keep[i] = 0;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  Matrix out[OWN / 8][D / 8];
  clear(out);
  float top = -INFINITY, sum = 0, base2 = scale * LOG2_E;
  for (int key = 0; key < head.n; key += STEP) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    fetch<STEP>(memory.keys, keys, stride, key, head.n, here);
    fetch<STEP>(memory.values, values, stride, key, head.n, here);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    times_rows(scores, memory.own + own * D, memory.keys);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    float best = top, part = 0, s[8];
    for (int i = 0; i < 8; i++) {
      s[i] = key + column + i < head.n ? scores[row * STEP + column + i] : -INFINITY;
      best = max(best, s[i]);
    }
    best = max(best, simd_shuffle_xor(best, ushort(1)));
    for (int i = 0; i < 8; i++) {
      float p = exp2((s[i] - best) * base2);
      probs[row * STEP + column + i] = T(p);
      part += p;
    }
    float factor = exp2((top - best) * base2);
    sum = sum * factor + part + simd_shuffle_xor(part, ushort(1));
    top = best;
    if (lane % 2 == 0) keep[diagonal] = factor;
    simdgroup_barrier(mem_flags::mem_threadgroup);
    scale_rows(out, keep);
    add_times(out, probs, memory.values);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  if (lane % 2 == 0) {
    keep[diagonal] = 1.0f / sum;
    if (first + own + row < head.queries)
      lse[queries_of(head, here) + first + own + row] = top * base2 + log2(sum);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  scale_rows(out, keep);
  write_rows(result + result_of(head, here), row_of_results(head), first + own, head.queries, out,
             scores, lane);
}

#define FORWARD_ARGS(T) device T *result, device float *lse, const device T *qkv, HEAD
TYPES(flash, FORWARD_ARGS, Memory,
      attend(result, lse, qkv, Head{n, queries, heads}, scale, memory, HERE))
