// Updates of Adam, and the norms of gradients: many tensors at once, a row of blocks for each.
#include "common.cuh"

struct Factors {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, decay, stays, rate, root;
};

extern "C" __global__ void adam(Table<float *> values, Table<const float *> gradients,
                                Table<float *> ms, Table<float *> vs, Table<int64_t> counts,
                                Factors f, float eps) {
  int64_t i = first_element<1>();
  if (i >= counts.at[blockIdx.y]) return;
  float &value = values.at[blockIdx.y][i], &m = ms.at[blockIdx.y][i], &v = vs.at[blockIdx.y][i];
  float g = gradients.at[blockIdx.y][i] + value * f.decay;
  m = m * f.beta1 + g * f.one_minus_beta1;
  v = v * f.beta2 + g * g * f.one_minus_beta2;
  value = value * f.stays - m / (sqrtf(v) * f.root + eps) * f.rate;
}

// The sum of the squares of each tensor, by one block of 256 threads.
extern "C" __global__ void squares(double *sums, Table<const float *> tensors,
                                   Table<int64_t> counts) {
  __shared__ double parts[256];
  const float *tensor = tensors.at[blockIdx.y];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < counts.at[blockIdx.y]; i += 256)
    sum += double(tensor[i]) * tensor[i];
  parts[threadIdx.x] = sum;
  for (int step = 128; step > 0; step /= 2) {
    __syncthreads();
    if (threadIdx.x < step) parts[threadIdx.x] += parts[threadIdx.x + step];
  }
  if (threadIdx.x == 0) sums[blockIdx.y] = parts[0];
}
