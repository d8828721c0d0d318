// The balance loss, one thread to a token. In float, as there is nothing wider here.
#include "common.h"
#include "normal.h"

// Softmax of a row of scores: their largest, and the sum of exponentials.
inline float2 softmax_of(const device float *scores, int experts) {
  float top = scores[0], sum = 0;
  for (int e = 1; e < experts; e++) top = max(top, scores[e]);
  for (int e = 0; e < experts; e++) sum += exp(scores[e] - top);
  return float2(top, sum);
}

#define TOKENS constant long &tokens, constant int &experts, constant int &k, constant int &choice

// For each token its clean probabilities, then for each expert the chance that its clean one
// with noise reaches the threshold: [tokens, 2 experts].
kernel void balance_parts(device float *parts, const device float *scores,
                          const device float *noisy, const device uint *indices, TOKENS,
                          constant float2 &std, THREAD) {
  long t = first_element<1>(HERE);
  if (t >= tokens) return;
  scores += t * experts, parts += t * 2 * experts;
  float2 clean = softmax_of(scores, experts);
  float threshold = noisy[t * experts + indices[t * k + choice]];
  for (int e = 0; e < experts; e++) {
    float p = exp(scores[e] - clean.x) / clean.y;
    parts[e] = p;
    parts[experts + e] = normal((p - threshold) / std.x).x;
  }
}

// From the sums over tokens [2 experts]: the loss, and its slope by each of them.
kernel void balance_loss(device float *loss, device float *slopes, const device float *sums,
                         constant int &experts, constant float2 &factor, THREAD) {
  float total = 0, n = experts;
  for (int part = 0; part < 2; part++) {
    const device float *v = sums + part * experts;
    device float *slope = slopes + part * experts;
    float mean = 0, var = 0;
    if (experts < 2) {
      slope[0] = 0;
      continue;
    }
    for (int e = 0; e < experts; e++) mean += v[e] / n;
    for (int e = 0; e < experts; e++) var += (v[e] - mean) * (v[e] - mean) / (n - 1);
    float below = mean * mean + 1e-10f;
    for (int e = 0; e < experts; e++)
      slope[e] = factor.x * (2 * (v[e] - mean) / ((n - 1) * below) - 2 * (var / below) * (mean / below) / n);
    total += var / below;
  }
  *loss = factor.x * total;
}

// The gradient of the scores: through the clean probabilities, then through the threshold.
kernel void balance_grad(device float *dscores, const device float *scores,
                         const device float *noisy, const device uint *indices,
                         const device float *slopes, const device float *upstream, TOKENS,
                         constant float2 &std, THREAD) {
  long t = first_element<1>(HERE);
  if (t >= tokens) return;
  scores += t * experts, noisy += t * experts, dscores += t * experts;
  float2 clean = softmax_of(scores, experts);
  int chosen = indices[t * k + choice];
  float threshold = noisy[chosen], dthreshold = 0, along = 0;
  for (int e = 0; e < experts; e++) {
    float p = exp(scores[e] - clean.x) / clean.y, u = (p - threshold) / std.x;
    float slope = slopes[experts + e] * exp(-0.5f * u * u) * 0.39894228f / std.x;
    dthreshold -= slope;
    along += p * (slopes[e] + slope);
  }
  for (int e = 0; e < experts; e++) {
    float p = exp(scores[e] - clean.x) / clean.y, u = (p - threshold) / std.x;
    float slope = slopes[experts + e] * exp(-0.5f * u * u) * 0.39894228f / std.x;
    float through = (e == chosen ? dthreshold : 0.0f) - dthreshold * threshold;
    dscores[e] = *upstream * (p * (slopes[e] + slope - along) + noisy[e] * through);
  }
}
