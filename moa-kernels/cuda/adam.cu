// One update of Adam.
#include "common.cuh"

struct Factors {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, decay, stays, rate, root;
};

extern "C" __global__ void adam(float *value, float *m, float *v, const float *old_value,
                                const float *gradient, const float *old_m, const float *old_v,
                                Factors f, float eps, int64_t count) {
  int64_t i = first_element<1>();
  if (i >= count) return;
  float g = gradient[i] + old_value[i] * f.decay;
  m[i] = old_m[i] * f.beta1 + g * f.one_minus_beta1;
  v[i] = old_v[i] * f.beta2 + g * g * f.one_minus_beta2;
  value[i] = old_value[i] * f.stays - m[i] / (sqrtf(v[i]) * f.root + eps) * f.rate;
}
