// Normal numbers from the words of philox.cuh.
#pragma once
#include "philox.cuh"

// Two standard normals from two words.
__device__ inline double2 box_muller(uint32_t a, uint32_t b) {
  const double scale = 1.0 / 4294967296.0;
  double radius = sqrt(-2.0 * log((a + 0.5) * scale)), sin, cos;
  sincos(6.283185307179586477 * ((b + 0.5) * scale), &sin, &cos);
  return make_double2(radius * cos, radius * sin);
}

// The noise of one layer's router, from random words.
struct Noise {
  Key key;
  uint64_t layer;
  double std;

  // For entries `i` and `i + 1` of [tokens, experts], `i` even: numbers i % 4 and i % 4 + 1 of the
  // four at index i / 4. Both at once: double precision takes long on most GPUs.
  __device__ float2 pair(int64_t i) const {
    uint4 words = philox(key, layer << 48 | uint64_t(i / 4));
    bool first = i % 4 < 2;
    double2 normals = box_muller(first ? words.x : words.z, first ? words.y : words.w);
    return make_float2(float(normals.x * std), float(normals.y * std));
  }
};
