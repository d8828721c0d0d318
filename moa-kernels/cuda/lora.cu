// LoRA experts side by side, and their gradients one after the other.
#include "common.cuh"

// Ranks of the experts; `first` of each is the sum of those before. Ranks that only fill up
// belong to none.
struct Experts {
  int count, width, out, total;
  Table<int64_t> firsts; // one more than experts
  __device__ int of(int rank) const {
    int e = 0;
    while (e < count && rank >= firsts.at[e + 1]) e++;
    return e;
  }
  __device__ int rank(int e) const { return firsts.at[e + 1] - firsts.at[e]; }
};

// down [total, in] and up [out, total] from those of the experts, [r, in] and [out, r].
template <class T>
__device__ inline void pack(T *down, T *up, Table<const float *> downs, Table<const float *> ups,
                            const Experts &experts) {
  int64_t i = first_element<1>(), own = int64_t(experts.total) * experts.width;
  bool is_down = i < own;
  int64_t at = is_down ? i : i - own;
  if (at >= int64_t(experts.total) * (is_down ? experts.width : experts.out)) return;
  int rank = is_down ? at / experts.width : at % experts.total, e = experts.of(rank);
  float value = 0;
  if (e < experts.count) {
    rank -= experts.firsts.at[e];
    value = is_down ? downs.at[e][int64_t(rank) * experts.width + at % experts.width]
                    : ups.at[e][at / experts.total * experts.rank(e) + rank];
  }
  (is_down ? down : up)[at] = from_float<T>(value);
}

// All experts' down and up, expert by expert, from down [total, in] and up [total, out].
template <class T>
__device__ inline void unpack(float *flat, const T *down, const T *up, const Experts &experts) {
  int64_t i = first_element<1>(), own = int64_t(experts.total) * experts.width;
  bool is_down = i < own;
  int64_t at = is_down ? i : i - own;
  int cols = is_down ? experts.width : experts.out, rank = at / cols, col = at % cols;
  if (rank >= experts.total) return;
  int e = experts.of(rank);
  if (e == experts.count) return;
  int64_t first = experts.firsts.at[e], begin = first * (experts.width + experts.out);
  int ranks = experts.rank(e);
  int64_t to = is_down ? (rank - first) * experts.width + col
                       : int64_t(ranks) * experts.width + int64_t(col) * ranks + rank - first;
  flat[begin + to] = to_float((is_down ? down : up)[at]);
}

#define PACK_ARGS(T)                                                                               \
  (T *down, T *up, Table<const float *> downs, Table<const float *> ups, int count, int width,     \
   int out, int total, Table<int64_t> firsts)
#define PACK(T, N) pack<T>(down, up, downs, ups, {count, width, out, total, firsts})
INSTANCES(pack, PACK_ARGS, PACK)

#define UNPACK_ARGS(T)                                                                             \
  (float *flat, const T *down, const T *up, int count, int width, int out, int total,              \
   Table<int64_t> firsts)
#define UNPACK(T, N) unpack<T>(flat, down, up, {count, width, out, total, firsts})
INSTANCES(unpack, UNPACK_ARGS, UNPACK)
