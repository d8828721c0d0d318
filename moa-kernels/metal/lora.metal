// LoRA experts side by side, and their gradients one after the other.
#include "common.h"

// Ranks of the experts; `first` of each is the sum of those before. Ranks that only fill up
// belong to none.
inline int expert_of(constant Counts &firsts, int experts, int rank) {
  int e = 0;
  while (e < experts && rank >= firsts.at[e + 1]) e++;
  return e;
}

// down [total, in] and up [out, total]: the part of one expert, [r, in] and [out, r]; the first
// launch also writes the zeros of ranks that fill up.
template <class T>
inline void pack_expert(device T *down, device T *up, const device float *own_down,
                        const device float *own_up, int experts, int width, int out, int total,
                        constant Counts &firsts, uint number, Thread here) {
  long i = first_element<1>(here), own = long(total) * width;
  bool is_down = i < own;
  long at = is_down ? i : i - own;
  if (at >= long(total) * (is_down ? width : out)) return;
  int rank = is_down ? at / width : at % total, e = expert_of(firsts, experts, rank);
  if (e != int(number) && !(e == experts && number == 0)) return;
  float value = 0;
  if (e < experts) {
    rank -= firsts.at[e];
    long ranks = firsts.at[e + 1] - firsts.at[e];
    value = is_down ? own_down[long(rank) * width + at % width] : own_up[at / total * ranks + rank];
  }
  if (is_down) down[at] = T(value);
  else up[at] = T(value);
}

// All experts' down and up, expert by expert, from down [total, in] and up [total, out].
template <class T>
inline void unpack_experts(device float *flat, const device T *down, const device T *up,
                           int experts, int width, int out, int total, constant Counts &firsts,
                           Thread here) {
  long i = first_element<1>(here), own = long(total) * width;
  bool is_down = i < own;
  long at = is_down ? i : i - own;
  int cols = is_down ? width : out;
  int rank = at / cols, col = at % cols;
  if (rank >= total) return;
  int e = expert_of(firsts, experts, rank);
  if (e == experts) return;
  long first = firsts.at[e], begin = first * (width + out), ranks = firsts.at[e + 1] - first;
  long to = is_down ? (rank - first) * width + col : ranks * width + col * ranks + rank - first;
  flat[begin + to] = float(is_down ? down[at] : up[at]);
}

#define EXPERTS                                                                                    \
  constant int &count, constant int &width, constant int &out, constant int &total,                \
      constant Counts &firsts
#define PACK_ARGS(T)                                                                               \
  device T *down, device T *up, const device float *own_down, const device float *own_up, EXPERTS, \
      GIVEN, constant uint &number
#define PACK(T, N)                                                                                 \
  pack_expert<T>(down, up, own_down, own_up, count, width, out, total, firsts, number, HERE)
INSTANCES(pack, PACK_ARGS, PACK)

#define UNPACK_ARGS(T) device float *flat, const device T *down, const device T *up, EXPERTS
#define UNPACK(T, N) unpack_experts<T>(flat, down, up, count, width, out, total, firsts, HERE)
INSTANCES(unpack, UNPACK_ARGS, UNPACK)
