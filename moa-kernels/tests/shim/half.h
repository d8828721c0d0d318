// Half precision, rounded to the nearest, ties to even.
#pragma once

template <class To, class From> To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &v, sizeof to);
  return to;
}

struct __nv_bfloat16 {
  uint16_t at;
};
struct __half {
  uint16_t at;
};
struct __half2 {
  __half x, y;
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 v) { return bits<float>(uint32_t(v.at) << 16); }
inline __nv_bfloat16 __float2bfloat16(float v) {
  uint32_t b = bits<uint32_t>(v);
  if (v != v) return {uint16_t(b >> 16 | 0x40)};
  return {uint16_t((b + 0x7FFF + (b >> 16 & 1)) >> 16)};
}

inline float __half2float(__half v) {
  uint32_t sign = uint32_t(v.at & 0x8000) << 16, exponent = v.at >> 10 & 31, rest = v.at & 0x3FF;
  if (exponent == 31) return bits<float>(sign | 0x7F800000 | rest << 13);
  float size = exponent ? ldexpf(float(rest | 0x400), int(exponent) - 25) : ldexpf(float(rest), -24);
  return sign ? -size : size;
}
inline __half __float2half(float v) {
  uint16_t sign = bits<uint32_t>(v) >> 16 & 0x8000;
  float size = fabsf(v);
  if (v != v) return {uint16_t(sign | 0x7E00)};
  if (size >= 65520.0f) return {uint16_t(sign | 0x7C00)};
  int exponent = size < 6.103515625e-5f ? -14 : ilogbf(size);
  // In units of the last place; a carry into the exponent is what it should be.
  uint32_t units = uint32_t(nearbyintf(ldexpf(size, 10 - exponent)));
  return {uint16_t(sign | (units + (exponent + 14) * 0x400))};
}

inline __half2 __floats2half2_rn(float x, float y) { return {__float2half(x), __float2half(y)}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16(x), __float2bfloat16(y)};
}
