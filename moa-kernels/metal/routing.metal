// From scores to gates and back: one thread to a token, always in float.
#include "common.h"
#include "philox.h"

// softmax, the k best (the first of equals), their gates
kernel void choose(device float *probs, device uint *indices, device float *gates,
                   const device float *scores, constant long &tokens, constant int &experts,
                   constant int &k, constant int &renormalise, THREAD) {
  long t = first_element<1>(HERE);
  if (t >= tokens) return;
  scores += t * experts, probs += t * experts, indices += t * k, gates += t * k;
  float top = scores[0], sum = 0;
  for (int e = 1; e < experts; e++) top = max(top, scores[e]);
  for (int e = 0; e < experts; e++) sum += exp(scores[e] - top);
  for (int e = 0; e < experts; e++) probs[e] = exp(scores[e] - top) / sum;
  float total = 0;
  for (int c = 0; c < k; c++) {
    int best = -1;
    for (int e = 0; e < experts; e++) {
      bool free = true;
      for (int before = 0; before < c; before++) free = free && int(indices[before]) != e;
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
kernel void score_grad(device float *dscores, const device float *dgates,
                       const device float *probs, const device uint *indices,
                       const device float *gates, constant long &tokens, constant int &experts,
                       constant int &k, constant int &renormalise, THREAD) {
  long t = first_element<1>(HERE);
  if (t >= tokens) return;
  dscores += t * experts, probs += t * experts;
  dgates += t * k, indices += t * k, gates += t * k;
  float along = 0, sum = 1;
  if (renormalise) {
    sum = 0;
    for (int c = 0; c < k; c++) along += dgates[c] * gates[c], sum += probs[indices[c]];
  }
  for (int e = 0; e < experts; e++) dscores[e] = 0;
  float all = 0;
  for (int c = 0; c < k; c++) {
    float d = (dgates[c] - along) / sum;
    dscores[indices[c]] = d;
    all += d * probs[indices[c]];
  }
  for (int e = 0; e < experts; e++) dscores[e] = probs[e] * (dscores[e] - all);
}

// -2 log((a + 1/2) / 2^32). Where that is small, from how far the word is from 2^32, which float
// has exactly: log(1 - d) = log(u) d / (1 - u) with u = 1 - d rounded.
inline float square_radius(uint a) {
  if (a < 0x80000000u) return -2.0f * log((float(a) + 0.5f) * 2.3283064365386963e-10f);
  float d = (float(~a) + 0.5f) * 2.3283064365386963e-10f, u = 1.0f - d;
  return u == 1.0f ? 2.0f * d : -2.0f * log(u) * (d / (1.0f - u));
}

// Cosine and sine of 2 pi (b + 1/2) / 2^32: of an angle up to pi / 4, by the eighth of the circle.
inline float2 direction(uint b) {
  uint eighth = b >> 29, rest = b & 0x1FFFFFFFu;
  if (eighth & 1) rest = 0x1FFFFFFFu - rest;
  float angle = (float(rest) + 0.5f) * 1.4629180792671596e-9f, c = cos(angle), s = sin(angle);
  if ((eighth + 1) & 2) {
    float swapped = c;
    c = s, s = swapped;
  }
  return float2(eighth > 1 && eighth < 6 ? -c : c, eighth > 3 ? -s : s);
}

// Two standard normals from two words: those of the processor, up to the last bits of a float.
inline float2 box_muller(uint a, uint b) { return sqrt(square_radius(a)) * direction(b); }

// Noise of the router: four normals to a thread.
kernel void noise(device float *to, constant Key &key, constant ulong &layer, constant long &count,
                  constant float2 &std, THREAD) {
  long i = first_element<4>(HERE);
  if (i >= count) return;
  uint4 words = philox(key, layer << 48 | ulong(i / 4));
  float2 first = box_muller(words.x, words.y), second = box_muller(words.z, words.w);
  float normals[4] = {first.x, first.y, second.x, second.y};
  for (int j = 0; j < 4 && i + j < count; j++) to[i + j] = normals[j] * std.x + normals[j] * std.y;
}

// Ranks times the gate of their expert, 0 where it was not chosen; `owners` of a rank that
// belongs to no expert is their number.
template <class T>
inline void gate_ranks(device T *to, const device T *h, const device float *gates,
                       const device uint *indices, const device uint *owners, long tokens,
                       int ranks, int k, float scale, Thread here) {
  long i = first_element<1>(here);
  if (i >= tokens * ranks) return;
  long t = i / ranks;
  uint owner = owners[i % ranks];
  float g = 0;
  for (int c = 0; c < k; c++)
    if (indices[t * k + c] == owner) g = gates[t * k + c];
  to[i] = T(g * scale * float(h[i]));
}

// The gradients of the gates and of the ranks from that of gated ranks.
template <class T>
inline void gate_ranks_grad(device float *dgates, device T *dh, const device T *dhg,
                            const device T *h, const device float *gates,
                            const device uint *indices, const device uint *owners, long tokens,
                            int ranks, int k, float scale, Thread here) {
  long t = first_element<1>(here);
  if (t >= tokens) return;
  dhg += t * ranks, h += t * ranks, dh += t * ranks;
  for (int j = 0; j < ranks; j++) dh[j] = T(0.0f);
  for (int c = 0; c < k; c++) {
    uint expert = indices[t * k + c];
    float g = gates[t * k + c] * scale, sum = 0;
    for (int j = 0; j < ranks; j++)
      if (owners[j] == expert) {
        float d = float(dhg[j]);
        sum += d * float(h[j]);
        dh[j] = T(g * d);
      }
    dgates[t * k + c] = sum * scale;
  }
}

#define ROUTED                                                                                     \
  const device float *gates, const device uint *indices, const device uint *owners,                \
      constant long &tokens, constant int &ranks, constant int &k, constant float &scale
#define GATE_ARGS(T) device T *to, const device T *h, ROUTED
#define GATE(T, N) gate_ranks<T>(to, h, gates, indices, owners, tokens, ranks, k, scale, HERE)
INSTANCES(gate, GATE_ARGS, GATE)

#define GATE_GRAD_ARGS(T)                                                                          \
  device float *dgates, device T *dh, const device T *dhg, const device T *h, ROUTED
#define GATE_GRAD(T, N)                                                                            \
  gate_ranks_grad<T>(dgates, dh, dhg, h, gates, indices, owners, tokens, ranks, k, scale, HERE)
INSTANCES(gate_grad, GATE_GRAD_ARGS, GATE_GRAD)
