// From scores to gates and back: one thread to a token, always in float.
#include "common.cuh"
#include "noise.cuh"

// softmax, the k best (the first of equals), their gates
extern "C" __global__ void choose(float *probs, uint32_t *indices, float *gates,
                                  const float *scores, int64_t tokens, int experts, int k,
                                  int renormalise) {
  int64_t t = first_element<1>();
  if (t >= tokens) return;
  scores += t * experts, probs += t * experts, indices += t * k, gates += t * k;
  float top = scores[0], sum = 0;
  for (int e = 1; e < experts; e++) top = fmaxf(top, scores[e]);
  for (int e = 0; e < experts; e++) sum += expf(scores[e] - top);
  for (int e = 0; e < experts; e++) probs[e] = expf(scores[e] - top) / sum;
  float total = 0;
  for (int c = 0; c < k; c++) {
    int best = -1;
    for (int e = 0; e < experts; e++) {
      bool free = true;
      for (int before = 0; before < c; before++) free = free && indices[before] != e;
      // A row with NaN chooses in order, never out of range.
      if (free && (best < 0 || probs[e] > probs[best])) best = e;
    }
    indices[c] = best, gates[c] = probs[best];
    total += probs[best];
  }
  if (renormalise)
    for (int c = 0; c < k; c++) gates[c] /= total;
}

// The gradient of the scores from that of the gates.
extern "C" __global__ void score_grad(float *dscores, const float *dgates, const float *probs,
                                      const uint32_t *indices, const float *gates, int64_t tokens,
                                      int experts, int k, int renormalise) {
  int64_t t = first_element<1>();
  if (t >= tokens) return;
  dscores += t * experts, probs += t * experts;
  dgates += t * k, indices += t * k, gates += t * k;
  float dot = 0, sum = 1;
  if (renormalise) {
    sum = 0;
    for (int c = 0; c < k; c++) dot += dgates[c] * gates[c], sum += probs[indices[c]];
  }
  for (int e = 0; e < experts; e++) dscores[e] = 0;
  float along = 0;
  for (int c = 0; c < k; c++) {
    float d = (dgates[c] - dot) / sum;
    dscores[indices[c]] = d;
    along += d * probs[indices[c]];
  }
  for (int e = 0; e < experts; e++) dscores[e] = probs[e] * (dscores[e] - along);
}

// Noise of the router: four normals to a thread.
extern "C" __global__ void noise(float *to, Key key, uint64_t layer, int64_t count, double std) {
  int64_t i = first_element<4>();
  if (i >= count) return;
  uint4 words = philox(key, layer << 48 | uint64_t(i / 4));
  double2 first = box_muller(words.x, words.y), second = box_muller(words.z, words.w);
  double normals[4] = {first.x, first.y, second.x, second.y};
  for (int j = 0; j < 4 && i + j < count; j++) to[i + j] = float(normals[j] * std);
}

// Ranks times the gate of their expert, 0 where it was not chosen; `owners` of a rank that
// belongs to no expert is their number.
template <class T>
__device__ inline void gate(T *to, const T *h, const float *gates, const uint32_t *indices,
                            const uint32_t *owners, int64_t tokens, int ranks, int k, float scale) {
  int64_t i = first_element<1>();
  if (i >= tokens * ranks) return;
  int64_t t = i / ranks;
  uint32_t owner = owners[i % ranks];
  float g = 0;
  for (int c = 0; c < k; c++)
    if (indices[t * k + c] == owner) g = gates[t * k + c];
  to[i] = from_float<T>(g * scale * to_float(h[i]));
}

// The gradients of the gates and of the ranks from that of gated ranks.
template <class T>
__device__ inline void gate_grad(float *dgates, T *dh, const T *dhg, const T *h, const float *gates,
                                 const uint32_t *indices, const uint32_t *owners, int64_t tokens,
                                 int ranks, int k, float scale) {
  int64_t t = first_element<1>();
  if (t >= tokens) return;
  dhg += t * ranks, h += t * ranks, dh += t * ranks;
  for (int j = 0; j < ranks; j++) dh[j] = from_float<T>(0);
  for (int c = 0; c < k; c++) {
    uint32_t expert = indices[t * k + c];
    float g = gates[t * k + c] * scale, sum = 0;
    for (int j = 0; j < ranks; j++)
      if (owners[j] == expert) {
        float d = to_float(dhg[j]);
        sum += d * to_float(h[j]);
        dh[j] = from_float<T>(g * d);
      }
    dgates[t * k + c] = sum * scale;
  }
}

#define GATE_ARGS(T)                                                                               \
  (T *to, const T *h, const float *gates, const uint32_t *indices, const uint32_t *owners,         \
   int64_t tokens, int ranks, int k, float scale)
#define GATE(T, N) gate<T>(to, h, gates, indices, owners, tokens, ranks, k, scale)
INSTANCES(gate, GATE_ARGS, GATE)

#define GATE_GRAD_ARGS(T)                                                                          \
  (float *dgates, T *dh, const T *dhg, const T *h, const float *gates, const uint32_t *indices,    \
   const uint32_t *owners, int64_t tokens, int ranks, int k, float scale)
#define GATE_GRAD(T, N)                                                                            \
  gate_grad<T>(dgates, dh, dhg, h, gates, indices, owners, tokens, ranks, k, scale)
INSTANCES(gate_grad, GATE_GRAD_ARGS, GATE_GRAD)
