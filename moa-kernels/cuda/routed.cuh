// A routed layer in one: what its kernels share.
//
// One product gives [x W^T | x U^T], where U has the experts' ranks and the router's projection
// side by side. The rest of the forward pass, from there to the layer's result, is one kernel; so
// is the way back from the result's gradient to that of x U^T.
#pragma once
#include "noise.cuh"
#include "common.cuh"

constexpr int TOKENS = 16;   // of a block: what it reads of the experts serves all of them
constexpr int THREADS = 256; // of a block
constexpr int WARPS = THREADS / 32;
constexpr int RANKS = 32;   // at most: a lane to a rank
constexpr int EXPERTS = 16; // at most
constexpr int FOUR = 4;     // tokens of a thread at a time

__device__ constexpr float EPS = 1e-12f; // shortest length that a vector is divided by

// Of one layer. A linear router's projection gives the scores.
struct Sizes {
  int width, out;
  int ranks;  // of all experts, and of what fills them up
  int p, all; // outputs of the projection, and of what fills them up
  int experts, k;
  uint32_t flags;
  // The projection gives directions, whose cosines with the experts' are the scores.
  __device__ bool cosine() const { return flags & 1; }
  __device__ bool renormalise() const { return flags & 2; }
  // The first rank that belongs to no expert is 1 for every token: its `up` is the bias.
  __device__ bool biased() const { return flags & 4; }
  // Noise is drawn, not given.
  __device__ bool draws() const { return flags & 8; }
  // There is one expert, and every token takes it with weight 1.
  __device__ bool single() const { return flags & 16; }
  __device__ int kept() const { return ranks + all; }
};

// `firsts.at[e]` is the first rank of expert e; one more than experts.
using Firsts = Table<int64_t>;

// The expert of a rank, or their number for one that belongs to none.
__device__ inline int owner(const Firsts &firsts, int experts, int rank) {
  int e = 0;
  while (e < experts && rank >= firsts.at[e + 1]) e++;
  return e;
}

// Directions of the experts [experts, all], the projection's bias [all], lengths of the former
// before they were divided by them [experts], and the scale.
struct Units {
  const float *at;
  int experts, all;
  __device__ const float *unit(int e) const { return at + int64_t(e) * all; }
  __device__ const float *bias() const { return unit(experts); }
  __device__ float length(int e) const { return unit(experts + 1)[e]; }
  __device__ float scale() const { return unit(experts + 1)[experts]; }
};

__device__ inline float lane_at(float v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }
__device__ inline int lane_at(int v, int lane) { return __shfl_sync(0xffffffffu, v, lane); }

// The score of expert `lane` for the token with the projection `z`, and the length of that.
template <int N, class T>
__device__ inline float score_of(const T *z, const Units &units, const Sizes &s, float &length) {
  int lane = threadIdx.x % 32;
  length = 0;
  if (!s.cosine()) return lane < s.experts ? to_float(z[lane]) : 0.0f;
  float square = 0, score = 0;
  for (int i = lane * N; i < s.all; i += 32 * N) {
    float v[N];
    load<N>(z + i, v);
#pragma unroll
    for (int j = 0; j < N; j++) v[j] += units.bias()[i + j], square += v[j] * v[j];
  }
  length = sqrtf(warp_sum(square));
  float factor = units.scale() / fmaxf(length, EPS);
  for (int e = 0; e < s.experts; e++) {
    float dot = 0;
    for (int i = lane * N; i < s.all; i += 32 * N) {
      float v[N];
      load<N>(z + i, v);
#pragma unroll
      for (int j = 0; j < N; j++) dot += (v[j] + units.bias()[i + j]) * units.unit(e)[i + j];
    }
    dot = warp_sum(dot);
    if (lane == e) score = factor * dot;
  }
  return score;
}

// The noise on the scores of a block's tokens, [TOKENS, experts]; by all of its threads.
using Noises = float[TOKENS * EXPERTS];
__device__ inline void draw(Noises &to, const float *given, const Noise &noise, int64_t first,
                            int64_t tokens, const Sizes &s) {
  int64_t begin = first * s.experts, end = tokens * s.experts;
  for (int i = 2 * threadIdx.x; i < TOKENS * s.experts; i += 2 * THREADS) {
    float2 pair = s.draws() ? noise.pair(begin + i) : make_float2(0, 0);
    if (given && begin + i < end) pair.x = given[begin + i];
    if (given && begin + i + 1 < end) pair.y = given[begin + i + 1];
    to[i] = pair.x, to[i + 1] = pair.y;
  }
}

// Softmax over the lanes of experts.
__device__ inline float softmax(float score, int experts) {
  bool there = threadIdx.x % 32 < experts;
  float top = warp_max(there ? score : -INFINITY), e = there ? expf(score - top) : 0.0f;
  return e / warp_sum(e);
}

// Where a token goes: lane c has choice c.
struct Choices {
  int expert;
  float gate;
  // The sum of the chosen probabilities.
  float total;

  // Those of `given`, or the k best, the first of equals.
  __device__ Choices(float prob, const uint32_t *given, const Sizes &s)
      : expert(-1), gate(0), total(0) {
    uint32_t taken = 0;
    for (int c = 0; c < s.k; c++) {
      int best = given ? int(given[c]) : -1;
      float most = 0;
      for (int e = 0; e < s.experts && !given; e++) {
        float p = lane_at(prob, e);
        // A row with NaN chooses in order, never out of range.
        if (!(taken >> e & 1) && (best < 0 || p > most)) best = e, most = p;
      }
      if (!given) taken |= 1u << best;
      most = lane_at(prob, best);
      total += most;
      if (threadIdx.x % 32 == c) expert = best, gate = most;
    }
    if (s.renormalise()) gate /= total;
  }

  // The gate of an expert, 0 if it was not chosen.
  __device__ float of(int wanted, int k) const {
    float g = 0;
    for (int c = 0; c < k; c++) {
      int e = lane_at(expert, c);
      float own = lane_at(gate, c);
      if (e == wanted) g = own;
    }
    return g;
  }
};
