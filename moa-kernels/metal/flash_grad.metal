// The gradients of attention: see flash.h.
#include "common.h"
#include "flash.h"

template <class T> struct Memory {
  alignas(16) T own[2][ROWS * D];
  alignas(16) T tile[2][STEP * D];
  alignas(16) T values[ROWS * STEP];
  alignas(16) float scores[ROWS * STEP];
  alignas(16) float grads[ROWS * STEP];
  alignas(16) float norm[STEP];
  alignas(16) float along[STEP];
};
static_assert(sizeof(Memory<float>) <= 32768, "all that a group has");

// The gradient of q, and for every query the sum of probabilities times their gradients, which
// is that of the result's elements times their gradients. Two lanes have a row of scores.
template <class T>
inline void query_grad(device T *dqkv, device float *sums, const device T *qkv,
                       const device T *result, const device T *grad, const device float *lse,
                       Head head, float scale, threadgroup Memory<T> &memory, Thread here) {
  int lane = here.lane, own = here.warp * OWN, first = here.block.x * ROWS, stride = row_of_parts(head);
  const device T *keys = qkv + part_of(head, 1, here), *values = qkv + part_of(head, 2, here);
  threadgroup T *room = memory.values + own * STEP;
  threadgroup float *scores = memory.scores + own * STEP, *grads = memory.grads + own * STEP;
  int row = lane / 2, column = lane % 2 * 8, query = first + own + row;
  result += result_of(head, here), grad += result_of(head, here);
  fetch<ROWS>(memory.own[0], qkv + part_of(head, 0, here), stride, first, head.queries, here);
  fetch<ROWS>(memory.own[1], grad, row_of_results(head), first, head.queries, here);
  bool there = query < head.queries;
  float along = 0, norm = INFINITY; // of a query that is not there: then all are 0
  if (there) {
    norm = lse[queries_of(head, here) + query];
    for (int i = 0; i < D / 2; i++) {
      long at = long(query) * row_of_results(head) + lane % 2 * (D / 2) + i;
      along += float(result[at]) * float(grad[at]);
    }
  }
  along += simd_shuffle_xor(along, ushort(1));
  if (there && lane % 2 == 0) sums[queries_of(head, here) + query] = along;
  Matrix dq[OWN / 8][D / 8];
  clear(dq);
  for (int key = 0; key < head.n; key += STEP) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    fetch<STEP>(memory.tile[0], keys, stride, key, head.n, here);
    fetch<STEP>(memory.tile[1], values, stride, key, head.n, here);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    times_rows(scores, memory.own[0] + own * D, memory.tile[0]);
    times_rows(grads, memory.own[1] + own * D, memory.tile[1]);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = 0; i < 8; i++) {
      int at = row * STEP + column + i;
      float p = exp2(scores[at] * scale * LOG2_E - norm);
      room[at] = T(key + column + i < head.n ? p * (grads[at] - along) * scale : 0.0f);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    add_times(dq, room, memory.tile[0]);
  }
  // Zeros for queries that were not asked.
  write_rows(dqkv + part_of(head, 0, here), stride, first + own, head.n, dq, scores, lane);
}

// The gradients of k and v: the rows are keys, and the tiles are of queries.
template <class T>
inline void key_grad(device T *dqkv, const device T *qkv, const device T *grad,
                     const device float *lse, const device float *sums, Head head, float scale,
                     threadgroup Memory<T> &memory, Thread here) {
  int lane = here.lane, own = here.warp * OWN, first = here.block.x * ROWS, stride = row_of_parts(head);
  const device T *queries = qkv + part_of(head, 0, here);
  threadgroup T *room = memory.values + own * STEP;
  threadgroup float *scores = memory.scores + own * STEP, *grads = memory.grads + own * STEP;
  int row = lane / 2, column = lane % 2 * 8, thread_ = here.at.x;
  grad += result_of(head, here), lse += queries_of(head, here), sums += queries_of(head, here);
  fetch<ROWS>(memory.own[0], qkv + part_of(head, 1, here), stride, first, head.n, here);
  fetch<ROWS>(memory.own[1], qkv + part_of(head, 2, here), stride, first, head.n, here);
  Matrix dk[OWN / 8][D / 8], dv[OWN / 8][D / 8];
  clear(dk), clear(dv);
  for (int query = 0; query < head.queries; query += STEP) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    fetch<STEP>(memory.tile[0], queries, stride, query, head.queries, here);
    fetch<STEP>(memory.tile[1], grad, row_of_results(head), query, head.queries, here);
    if (thread_ < STEP) {
      bool there = query + thread_ < head.queries;
      memory.norm[thread_] = there ? lse[query + thread_] : INFINITY; // then all are 0
      memory.along[thread_] = there ? sums[query + thread_] : 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    times_rows(scores, memory.own[0] + own * D, memory.tile[0]);
    times_rows(grads, memory.own[1] + own * D, memory.tile[1]);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    float p[8];
    for (int i = 0; i < 8; i++) {
      int at = row * STEP + column + i;
      p[i] = exp2(scores[at] * scale * LOG2_E - memory.norm[column + i]);
      room[at] = T(p[i]);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    add_times(dv, room, memory.tile[1]);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = 0; i < 8; i++) {
      int at = row * STEP + column + i;
      room[at] = T(p[i] * (grads[at] - memory.along[column + i]) * scale);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    add_times(dk, room, memory.tile[0]);
  }
  write_rows(dqkv + part_of(head, 1, here), stride, first + own, head.n, dk, scores, lane);
  write_rows(dqkv + part_of(head, 2, here), stride, first + own, head.n, dv, scores, lane);
}

#define QUERY_ARGS(T)                                                                              \
  device T *dqkv, device float *sums, const device T *qkv, const device T *result,                 \
      const device T *grad, const device float *lse, HEAD
TYPES(flash_query_grad, QUERY_ARGS, Memory,
      query_grad(dqkv, sums, qkv, result, grad, lse, Head{n, queries, heads}, scale, memory, HERE))

#define KEY_ARGS(T)                                                                                \
  device T *dqkv, const device T *qkv, const device T *grad, const device float *lse,              \
      const device float *sums, HEAD
TYPES(flash_key_grad, KEY_ARGS, Memory,
      key_grad(dqkv, qkv, grad, lse, sums, Head{n, queries, heads}, scale, memory, HERE))
