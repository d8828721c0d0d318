// What all kernels share: element types, packs of elements, sums over a SIMD group. It is put in
// front of every file, as a library that is compiled from text has no headers of ours.
//
// The kernels are those of cuda/*.cu: the same names, arguments, order of sums. Arguments are
// bound by their position. What may be missing is told by the bits of one more argument, `given`;
// of tables of tensors a launch sees one, the one with the number `number`. Every value is
// computed in float, whatever it is stored as; a number in double comes as two in float.
#ifndef MOA_SHIM
#include <metal_stdlib>
#include <metal_simdgroup>
#include <metal_simdgroup_matrix>
using namespace metal;
#define SHARED threadgroup
#endif

// Where a thread is: its group, its place there, the size of groups; its SIMD group and lane.
struct Thread {
  uint3 block, at, of;
  uint lane, warp;
};
#define THREAD                                                                                     \
  uint3 block_ [[threadgroup_position_in_grid]], uint3 at_ [[thread_position_in_threadgroup]],     \
      uint3 of_ [[threads_per_threadgroup]], uint lane_ [[thread_index_in_simdgroup]],             \
      uint warp_ [[simdgroup_index_in_threadgroup]]
#define HERE Thread{block_, at_, of_, lane_, warp_}
#define GIVEN constant uint &given
// An argument that may be missing, by its position.
#define OPTIONAL(NAME, POSITION) (given >> POSITION & 1 ? NAME : nullptr)

// N neighbouring elements, moved at once.
template <class T, int N> struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <int N, class T> inline void load(const device T *from, thread float (&to)[N]) {
  Pack<T, N> pack = *reinterpret_cast<const device Pack<T, N> *>(from);
  for (int i = 0; i < N; i++) to[i] = float(pack.at[i]);
}

template <int N, class T> inline void store(device T *to, const thread float (&from)[N]) {
  Pack<T, N> pack;
  for (int i = 0; i < N; i++) pack.at[i] = T(from[i]);
  *reinterpret_cast<device Pack<T, N> *>(to) = pack;
}

template <int N> inline void fill(thread float (&to)[N], float value) {
  for (int i = 0; i < N; i++) to[i] = value;
}

// The sum of `v` over the lanes of a SIMD group, for all of them, always in the same order.
inline float warp_sum(float v) {
  for (ushort step = 16; step > 0; step /= 2) v += simd_shuffle_xor(v, step);
  return v;
}

inline float warp_max(float v) {
  for (ushort step = 16; step > 0; step /= 2) v = max(v, simd_shuffle_xor(v, step));
  return v;
}

// The row of a kernel that gives each SIMD group one.
inline long warp_row(Thread here) { return long(here.block.x) * here.of.y + here.warp; }

// The first of the N elements of this thread.
template <int N> inline long first_element(Thread here) {
  return (long(here.block.x) * here.of.x + here.at.x) * N;
}

// Numbers of the tensors of one launch that takes many.
struct Counts {
  long at[24];
};

// Instances of a kernel for the element types: NAME_f32 and so on, for elements moved one by one,
// and NAME_f32_wide, for 16 bytes at once. ARGS use T; CALL uses T and N.
#define INSTANCE(NAME, SUFFIX, TYPE, WIDTH, ARGS, CALL)                                            \
  kernel void NAME##SUFFIX(ARGS(TYPE), THREAD) { CALL(TYPE, WIDTH); }
#ifdef __HAVE_BFLOAT__
#define INSTANCE_BF16(...) INSTANCE(__VA_ARGS__)
#else
#define INSTANCE_BF16(...)
#endif
#define INSTANCES(NAME, ARGS, CALL)                                                                \
  INSTANCE(NAME, _f32, float, 1, ARGS, CALL)                                                       \
  INSTANCE(NAME, _f16, half, 1, ARGS, CALL)                                                        \
  INSTANCE_BF16(NAME, _bf16, bfloat, 1, ARGS, CALL)                                                \
  INSTANCE(NAME, _f32_wide, float, 4, ARGS, CALL)                                                  \
  INSTANCE(NAME, _f16_wide, half, 8, ARGS, CALL)                                                   \
  INSTANCE_BF16(NAME, _bf16_wide, bfloat, 8, ARGS, CALL)

// The kernel NAME for all types, with what its group shares: a MEMORY<T>.
#define TYPES(NAME, ARGS, MEMORY, CALL)                                                            \
  SHARING(NAME##_f32, float, ARGS, MEMORY, CALL)                                                   \
  SHARING(NAME##_f16, half, ARGS, MEMORY, CALL)                                                    \
  SHARING_BF16(NAME##_bf16, bfloat, ARGS, MEMORY, CALL)
#define SHARING(NAME, TYPE, ARGS, MEMORY, CALL)                                                    \
  kernel void NAME(ARGS(TYPE), THREAD) {                                                           \
    SHARED MEMORY<TYPE> memory;                                                                    \
    CALL;                                                                                          \
  }
#ifdef __HAVE_BFLOAT__
#define SHARING_BF16(...) SHARING(__VA_ARGS__)
#else
#define SHARING_BF16(...)
#endif
