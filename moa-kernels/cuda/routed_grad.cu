// From the gradient of a routed layer's result to that of x U^T and of the router.
#include "routed.cuh"

constexpr int PARTS = WARPS / (TOKENS / FOUR); // warps that share tokens, each a part of `out`
constexpr int CHUNK = 8;                       // ranks at a time

// What the kernel writes: the gradient of x U^T, [tokens, ranks + all], gated ranks again, and
// for each block the sums over its tokens that router tensors need.
template <class T> struct Results {
  T *du, *hg;
  float *planes;
};

// What it reads; `dy` and `dscores` may be missing.
template <class T> struct Given {
  const T *dy, *kept, *up;
  Units units;
  const float *dscores, *noise;
  const uint32_t *indices;
};

// What a block holds.
struct Block {
  float dhg[PARTS][TOKENS][RANKS];
  float grads[TOKENS][EXPERTS]; // of scores, times the scale
  float inverse[TOKENS];        // of the projection's length
  float temperature[TOKENS];
  Noises noise;
};

// dhg = dy up^T: each warp for a few tokens over its part of the columns, 8 ranks at a time.
template <class T, int N>
__device__ inline void times_up(Block &to, const Given<T> &from, int64_t first, int64_t tokens,
                                const Sizes &s) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int part = warp / (TOKENS / FOUR), place = warp % (TOKENS / FOUR) * FOUR;
  const T *rows[FOUR];
#pragma unroll
  for (int q = 0; q < FOUR; q++) {
    int64_t t = first + place + q; // behind the last it is repeated
    rows[q] = from.dy + (t < tokens ? t : tokens - 1) * s.out;
  }
  for (int chunk = 0; chunk < s.ranks; chunk += CHUNK) {
    const T *up = from.up + int64_t(chunk) * s.out;
    float sum[FOUR][CHUNK] = {};
    for (int c = (part * 32 + lane) * N; c < s.out; c += PARTS * 32 * N) {
      float d[FOUR][N];
#pragma unroll
      for (int q = 0; q < FOUR; q++) load<N>(rows[q] + c, d[q]);
#pragma unroll
      for (int j = 0; j < CHUNK; j++) {
        float b[N];
        load<N>(up + int64_t(j) * s.out + c, b);
#pragma unroll
        for (int q = 0; q < FOUR; q++)
#pragma unroll
          for (int n = 0; n < N; n++) sum[q][j] += d[q][n] * b[n];
      }
    }
    float own = 0;
#pragma unroll
    for (int q = 0; q < FOUR; q++)
#pragma unroll
      for (int j = 0; j < CHUNK; j++) {
        float all = warp_sum(sum[q][j]);
        if (lane == q * CHUNK + j) own = all;
      }
    to.dhg[part][place + lane / CHUNK][chunk + lane % CHUNK] = own;
  }
}

// The gradient of the score of expert `lane` from those of the gates, which lane c has of choice c.
__device__ inline float through_gates(float dgate, float prob, const Choices &chosen, const Sizes &s) {
  int lane = threadIdx.x % 32;
  if (s.renormalise()) {
    float dot = warp_sum(lane < s.k ? dgate * chosen.gate : 0.0f);
    dgate = (dgate - dot) / chosen.total;
  }
  float d = 0;
  for (int c = 0; c < s.k; c++) {
    float own = lane_at(dgate, c);
    if (lane_at(chosen.expert, c) == lane) d = own;
  }
  float p = lane < s.experts ? prob : 0.0f;
  return p * (d - warp_sum(d * p));
}

// The gradient of a token's projection from that of the score of expert `lane`.
template <int N, class T>
__device__ inline void through_cosines(Block &to, T *dz, const T *z, const Units &units, float grad,
                                       float length, int place, const Sizes &s) {
  int lane = threadIdx.x % 32;
  float inverse = 1.0f / fmaxf(length, EPS), dot = 0;
  const float *grads = to.grads[place];
  if (lane < s.experts) to.grads[place][lane] = units.scale() * grad;
  __syncwarp();
  for (int i = lane * N; i < s.all; i += 32 * N) {
    float v[N];
    load<N>(z + i, v);
    for (int e = 0; e < s.experts; e++) {
#pragma unroll
      for (int j = 0; j < N; j++) dot += grads[e] * units.unit(e)[i + j] * (v[j] + units.bias()[i + j]);
    }
  }
  dot = warp_sum(dot);
  if (lane == 0) to.temperature[place] = dot * inverse, to.inverse[place] = inverse;
  // A vector shorter than EPS is divided by a constant: its length does not matter.
  dot = length > EPS ? dot * inverse * inverse : 0.0f;
  for (int i = lane * N; i < s.all; i += 32 * N) {
    float v[N], d[N] = {};
    load<N>(z + i, v);
    for (int e = 0; e < s.experts; e++) {
#pragma unroll
      for (int j = 0; j < N; j++) d[j] += grads[e] * units.unit(e)[i + j];
    }
#pragma unroll
    for (int j = 0; j < N; j++) d[j] = (d[j] - (v[j] + units.bias()[i + j]) * dot) * inverse;
    store<N>(dz + i, d);
  }
}

// All but sums over tokens, for one token: one warp.
template <int N, class T>
__device__ inline void back(Block &block, const Results<T> &to, const Given<T> &from,
                            const Firsts &firsts, const Sizes &s, float scale, int64_t t,
                            int place) {
  int lane = threadIdx.x % 32, mine = owner(firsts, s.experts, lane);
  const T *row = from.kept + t * s.kept();
  T *du = to.du + t * s.kept();
  float h = lane < s.ranks ? to_float(row[lane]) : 0.0f, dhg = 0, gate = 1, length = 0, grad = 0;
  if (from.dy && lane < s.ranks)
    for (int part = 0; part < PARTS; part++) dhg += block.dhg[part][place][lane];
  if (!s.single()) {
    float score = score_of<N>(row + s.ranks, from.units, s, length);
    float own = lane < s.experts ? block.noise[place * s.experts + lane] : 0.0f;
    float prob = softmax(score + own, s.experts), dgate = 0;
    Choices chosen(prob, from.indices + t * s.k, s);
    gate = chosen.of(mine, s.k);
    for (int c = 0; c < s.k; c++) {
      float sum = warp_sum(mine == lane_at(chosen.expert, c) ? dhg * h : 0.0f);
      if (lane == c) dgate = sum * scale;
    }
    grad = from.dy ? through_gates(dgate, prob, chosen, s) : 0.0f;
    if (from.dscores && lane < s.experts) grad += from.dscores[t * s.experts + lane];
  }
  if (mine == s.experts) gate = 0;
  if (lane < s.ranks) {
    du[lane] = from_float<T>(gate * scale * dhg);
    if (to.hg) {
      bool one = s.biased() && lane == firsts.at[s.experts];
      to.hg[t * s.ranks + lane] = from_float<T>(one ? 1.0f : gate * scale * h);
    }
  }
  if (s.cosine()) return through_cosines<N>(block, du + s.ranks, row + s.ranks, from.units, grad,
                                            length, place, s);
  if (lane < s.all) du[s.ranks + lane] = from_float<T>(lane < s.p ? grad : 0.0f);
}

// Adds the sums over the block's tokens to its plane: [experts, all] for the directions, [all] for
// the projection's bias, and one for the temperature. A thread has the same columns each time.
template <class T>
__device__ inline void add_up(float *plane, const Block &block, const T *du, const Given<T> &from,
                              int64_t first, int here, bool begins, const Sizes &s) {
  for (int i = threadIdx.x; i < s.all; i += THREADS) {
    for (int e = 0; e <= s.experts; e++) {
      float sum = begins ? 0.0f : plane[e * s.all + i];
      for (int place = 0; place < here; place++) {
        int64_t at = (first + place) * s.kept() + s.ranks + i;
        sum += e == s.experts ? to_float(du[at])
                              : block.grads[place][e] * block.inverse[place] *
                                (to_float(from.kept[at]) + from.units.bias()[i]);
      }
      plane[e * s.all + i] = sum;
    }
  }
  if (threadIdx.x > 0) return;
  float *last = plane + (s.experts + 1) * s.all, sum = begins ? 0.0f : *last;
  for (int place = 0; place < here; place++) sum += block.temperature[place];
  *last = sum;
}

template <class T, int N>
__device__ inline void grad(const Results<T> &to, const Given<T> &from, const Firsts &firsts,
                            int64_t tokens, const Sizes &s, const Noise &noise, float scale) {
  __shared__ Block block;
  float *plane = to.planes + int64_t(blockIdx.x) * ((s.experts + 1) * s.all + 1);
  int64_t begin = int64_t(blockIdx.x) * TOKENS, step = int64_t(gridDim.x) * TOKENS;
  for (int64_t first = begin; first < tokens; first += step) {
    int here = tokens - first < TOKENS ? tokens - first : TOKENS;
    if (from.dy) times_up<T, N>(block, from, first, tokens, s);
    if (!s.single()) draw(block.noise, from.noise, noise, first, tokens, s);
    __syncthreads();
    for (int place = threadIdx.x / 32; place < here; place += WARPS)
      back<N>(block, to, from, firsts, s, scale, first + place, place);
    __syncthreads();
    // What this reads is written next behind a barrier, and what is written before that is read
    // no more.
    if (s.cosine()) add_up(plane, block, to.du, from, first, here, first == begin, s);
  }
}

#define GRAD_ARGS(T)                                                                               \
  (T *du, T *hg, float *planes, const T *dy, const T *kept, const T *up, const float *units,       \
   const float *dscores, const float *given_noise, const uint32_t *indices, Firsts firsts,         \
   int64_t tokens, Sizes s, Noise noise, float scale)
#define GRAD(T, N)                                                                                 \
  grad<T, N>(Results<T>{du, hg, planes},                                                           \
             Given<T>{dy, kept, up, {units, s.experts, s.all}, dscores, given_noise, indices},     \
             firsts, tokens, s, noise, scale)
INSTANCES(routed_grad, GRAD_ARGS, GRAD)
