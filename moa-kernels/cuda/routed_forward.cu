// From [x W^T | x U^T] to experts, gates and the layer's result.
#include "routed.cuh"

// What the kernel writes; null where nobody wants it.
template <class T> struct Results {
  T *y, *kept; // [tokens, out]; x U^T, [tokens, ranks + all]
  float *scores, *probs;
  uint32_t *indices;
  float *gates;
};

// What it reads.
template <class T> struct Given {
  const T *both, *up;
  Units units;
  const float *noise;
  const uint32_t *indices;
};

// Routes a token and leaves its weighted ranks in `hg`: one warp.
template <int N, class T>
__device__ inline void route(const Results<T> &to, const Given<T> &from, const Firsts &firsts,
                             const Sizes &s, const Noises &noise, float scale, int64_t t,
                             float (&hg)[RANKS][TOKENS], int place) {
  int lane = threadIdx.x % 32;
  const T *row = from.both + t * (s.out + s.kept()) + s.out;
  if (to.kept)
    for (int i = lane; i < s.kept(); i += 32) to.kept[t * s.kept() + i] = row[i];
  int mine = owner(firsts, s.experts, lane);
  float gate = 1;
  if (!s.single()) {
    float length, score = score_of<N>(row + s.ranks, from.units, s, length);
    float own = lane < s.experts ? noise[place * s.experts + lane] : 0.0f;
    float prob = softmax(score + own, s.experts);
    Choices chosen(prob, from.indices ? from.indices + t * s.k : nullptr, s);
    if (lane < s.experts) to.scores[t * s.experts + lane] = score, to.probs[t * s.experts + lane] = prob;
    if (lane < s.k) to.indices[t * s.k + lane] = chosen.expert, to.gates[t * s.k + lane] = chosen.gate;
    gate = chosen.of(mine, s.k);
  }
  if (lane >= s.ranks) return;
  float h = mine < s.experts ? gate * scale * to_float(row[lane]) : 0.0f;
  hg[lane][place] = s.biased() && lane == firsts.at[s.experts] ? 1.0f : h;
}

template <class T, int N>
__device__ inline void forward(const Results<T> &to, const Given<T> &from, const Firsts &firsts,
                               int64_t tokens, const Sizes &s, const Noise &noise, float scale) {
  __shared__ alignas(16) float hg[RANKS][TOKENS];
  __shared__ Noises noises;
  int64_t first = int64_t(blockIdx.x) * TOKENS;
  int here = tokens - first < TOKENS ? tokens - first : TOKENS;
  if (!s.single()) draw(noises, from.noise, noise, first, tokens, s);
  __syncthreads();
  for (int place = threadIdx.x / 32; place < here; place += WARPS)
    route<N>(to, from, firsts, s, noises, scale, first + place, hg, place);
  __syncthreads();
  // y = x W^T + hg up: N columns of a few tokens at a time.
  int columns = s.out / N;
  for (int i = threadIdx.x; i < columns * (TOKENS / FOUR); i += THREADS) {
    int c = i % columns * N, place = i / columns * FOUR;
    float sum[FOUR][N] = {};
    for (int j = 0; j < s.ranks; j++) {
      float b[N], g[FOUR];
      load<N>(from.up + int64_t(j) * s.out + c, b);
      load<FOUR>(&hg[j][place], g);
#pragma unroll
      for (int q = 0; q < FOUR; q++)
#pragma unroll
        for (int n = 0; n < N; n++) sum[q][n] += g[q] * b[n];
    }
#pragma unroll
    for (int q = 0; q < FOUR; q++) {
      if (place + q >= here) break;
      float v[N];
      int64_t t = first + place + q;
      load<N>(from.both + t * (s.out + s.kept()) + c, v);
#pragma unroll
      for (int n = 0; n < N; n++) v[n] += sum[q][n];
      store<N>(to.y + t * s.out + c, v);
    }
  }
}

#define FORWARD_ARGS(T)                                                                            \
  (T *y, T *kept, float *scores, float *probs, uint32_t *indices, float *gates, const T *both,     \
   const T *up, const float *units, const float *given_noise, const uint32_t *given,               \
   Firsts firsts, int64_t tokens, Sizes s, Noise noise, float scale)
#define FORWARD(T, N)                                                                              \
  forward<T, N>(Results<T>{y, kept, scores, probs, indices, gates},                                \
                Given<T>{both, up, {units, s.experts, s.all}, given_noise, given}, firsts, tokens,  \
                s, noise, scale)
INSTANCES(routed_forward, FORWARD_ARGS, FORWARD)
