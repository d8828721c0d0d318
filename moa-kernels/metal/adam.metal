// Updates of Adam, and the norms of gradients: of many tensors, a launch for each.
#include "common.h"

struct Factors {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, decay, stays, rate, root;
};

kernel void adam(device float *value, const device float *gradient, device float *m,
                 device float *v, constant Counts &counts, constant Factors &f,
                 constant float &eps, GIVEN, constant uint &number, THREAD) {
  long i = first_element<1>(HERE);
  if (i >= counts.at[number]) return;
  float g = gradient[i] + value[i] * f.decay;
  m[i] = m[i] * f.beta1 + g * f.one_minus_beta1;
  v[i] = v[i] * f.beta2 + g * g * f.one_minus_beta2;
  value[i] = value[i] * f.stays - m[i] / (sqrt(v[i]) * f.root + eps) * f.rate;
}

// The sum of two numbers that are each the sum of two floats, the second of them small.
inline float2 add_double(float2 a, float2 b) {
  float sum = a.x + b.x, part = sum - a.x;
  float rest = (a.x - (sum - part)) + (b.x - part) + a.y + b.y;
  float all = sum + rest;
  return float2(all, rest - (all - sum));
}

// The sum of the squares of a tensor, by one group of 256 threads, as two floats.
kernel void squares(device float *sums, const device float *tensor, constant Counts &counts,
                    GIVEN, constant uint &number, THREAD) {
  SHARED float2 parts[256];
  int thread_ = at_.x;
  float2 sum = float2(0, 0);
  for (long i = thread_; i < counts.at[number]; i += 256) {
    float square = tensor[i] * tensor[i];
    sum = add_double(sum, float2(square, fma(tensor[i], tensor[i], -square)));
  }
  parts[thread_] = sum;
  for (int step = 128; step > 0; step /= 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (thread_ < step) parts[thread_] = add_double(parts[thread_], parts[thread_ + step]);
  }
  if (thread_ > 0) return;
  sums[2 * number] = parts[0].x, sums[2 * number + 1] = parts[0].y;
}
