// The balance loss, in double as on the CPU: its sums cancel. One thread to a token.
#include "common.cuh"

// Softmax of a row of scores, entry by entry.
struct Softmax {
  const float *scores;
  double top, sum;
  __device__ Softmax(const float *scores, int experts) : scores(scores), top(scores[0]), sum(0) {
    for (int e = 1; e < experts; e++) top = fmax(top, double(scores[e]));
    for (int e = 0; e < experts; e++) sum += exp(scores[e] - top);
  }
  __device__ double at(int e) const { return exp(scores[e] - top) / sum; }
};

// For each token its clean probabilities, then for each expert the chance that its clean one
// with noise reaches the threshold: [tokens, 2 experts].
extern "C" __global__ void balance_parts(double *parts, const float *scores, const float *noisy,
                                         const uint32_t *indices, int64_t tokens, int experts,
                                         int k, int choice, double std) {
  int64_t t = first_element<1>();
  if (t >= tokens) return;
  Softmax clean(scores + t * experts, experts);
  double threshold = noisy[t * experts + indices[t * k + choice]];
  parts += t * 2 * experts;
  for (int e = 0; e < experts; e++) {
    double p = clean.at(e);
    parts[e] = p;
    parts[experts + e] = 0.5 * (1.0 + erf((p - threshold) / std * 0.70710678118654752));
  }
}

// From the sums over tokens [2 experts]: the loss, and its slope by each of them.
extern "C" __global__ void balance_loss(float *loss, double *slopes, const double *sums,
                                        int experts, double factor) {
  double total = 0;
  for (int part = 0; part < 2; part++) {
    const double *v = sums + part * experts;
    double *slope = slopes + part * experts, n = experts, mean = 0, var = 0;
    if (experts < 2) {
      slope[0] = 0;
      continue;
    }
    for (int e = 0; e < experts; e++) mean += v[e] / n;
    for (int e = 0; e < experts; e++) var += (v[e] - mean) * (v[e] - mean) / (n - 1);
    double below = mean * mean + 1e-10;
    for (int e = 0; e < experts; e++)
      slope[e] = factor * (2 * (v[e] - mean) / ((n - 1) * below) - 2 * var * mean / (n * below * below));
    total += var / below;
  }
  *loss = float(factor * total);
}

// The gradient of the scores: through the clean probabilities, then through the threshold.
extern "C" __global__ void balance_grad(float *dscores, const float *scores, const float *noisy,
                                        const uint32_t *indices, const double *slopes,
                                        const float *upstream, int64_t tokens, int experts, int k,
                                        int choice, double std) {
  int64_t t = first_element<1>();
  if (t >= tokens) return;
  Softmax clean(scores + t * experts, experts);
  noisy += t * experts, dscores += t * experts;
  int chosen = indices[t * k + choice];
  double threshold = noisy[chosen], dthreshold = 0, along = 0;
  for (int e = 0; e < experts; e++) {
    double p = clean.at(e), u = (p - threshold) / std;
    double slope = slopes[experts + e] * exp(-0.5 * u * u) * 0.39894228040143268 / std;
    dthreshold -= slope;
    along += p * (slopes[e] + slope);
  }
  for (int e = 0; e < experts; e++) {
    double p = clean.at(e), u = (p - threshold) / std;
    double slope = slopes[experts + e] * exp(-0.5 * u * u) * 0.39894228040143268 / std;
    double through = (e == chosen ? dthreshold : 0.0) - dthreshold * threshold;
    dscores[e] = float(*upstream * (p * (slopes[e] + slope - along) + noisy[e] * through));
  }
}
