// The normal distribution, as Metal has no error function.

// Up to x, and exp(-x^2 / 2). Near the middle by the error function's power series, else by
// formula 7.1.26 of Abramowitz and Stegun: 1.5e-7 off at most.
inline float2 normal(float x) {
  float density = exp(-0.5f * x * x), u = abs(x) * 0.70710678f;
  if (u < 0.75f) {
    float square = u * u, sum = 1.0f / 685440.0f;
    sum = sum * square - 1.0f / 75600.0f, sum = sum * square + 1.0f / 9360.0f;
    sum = sum * square - 1.0f / 1320.0f, sum = sum * square + 1.0f / 216.0f;
    sum = sum * square - 1.0f / 42.0f, sum = sum * square + 0.1f;
    sum = sum * square - 1.0f / 3.0f, sum = sum * square + 1.0f;
    float half_erf = 0.56418958f * u * sum;
    return float2(0.5f + (x < 0 ? -half_erf : half_erf), density);
  }
  float t = 1.0f / (1.0f + 0.3275911f * u);
  float sum = 1.061405429f;
  sum = sum * t - 1.453152027f, sum = sum * t + 1.421413741f;
  sum = sum * t - 0.284496736f, sum = sum * t + 0.254829592f;
  float tail = 0.5f * sum * t * density;
  return float2(x < 0 ? tail : 1.0f - tail, density);
}
