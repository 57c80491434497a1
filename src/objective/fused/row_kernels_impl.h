// The kernels' source, compiled once per instruction set (row_kernels*.cc): plain loops for the vectorizer.
// Includes nothing with inline functions beyond <cstdint>: an inline function compiled here for AVX-512 could
// be the copy that the linker keeps for everybody. For the same reason everything is in an unnamed namespace.
//
// Sums run in fp32 within a block of kBlock elements and in fp64 over blocks.
#include "objective/fused/row_kernels.h"

namespace retort {
namespace {

constexpr std::int64_t kBlock = 2048;

// e^x for x <= 0 (and little above) to about 1 ulp: x = n ln 2 + r, polynomial of Cephes' expf on r. Below
// -86, where a probability is 1e-37, the result stays at e^-86. NaN stays NaN.
inline float fast_exp(float x) {
  // 1.5 · 2^23: adding it rounds to a whole number, which stands in the low bits.
  constexpr float kRound = 12582912.0f;
  x = x < -86.0f ? -86.0f : x;
  const float shifted = x * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::uint32_t exponent = (__builtin_bit_cast(std::uint32_t, shifted) << 23) + 0x3f800000u;
  return p * __builtin_bit_cast(float, exponent);
}

// log x to about 1 ulp for a normal x > 0, exactly 0 at 1: Cephes' logf on a mantissa in [√½, √2).
inline float fast_log(float x) {
  constexpr std::uint32_t kRootHalf = 0x3f3504f3u;
  const std::uint32_t shifted = __builtin_bit_cast(std::uint32_t, x) + (0x3f800000u - kRootHalf);
  const float n = static_cast<float>(static_cast<std::int32_t>(shifted >> 23) - 127);
  const float f = __builtin_bit_cast(float, (shifted & 0x007fffffu) + kRootHalf) - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float square = f * f;
  return f + (p * f * square + n * -2.12194440e-4f - 0.5f * square) + n * 0.693359375f;
}

inline std::int64_t block_size(std::int64_t begin, std::int64_t size) {
  return size - begin < kBlock ? size - begin : kBlock;
}

float log_sum_exp(const float* z, std::int64_t size, float inverse_temperature) {
  float max = -__builtin_inff();
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += kBlock) {
    const float* block = z + begin;
    const std::int64_t n = block_size(begin, size);
    float block_max = -__builtin_inff();
#pragma omp simd reduction(max : block_max)
    for (std::int64_t i = 0; i < n; ++i) block_max = block[i] > block_max ? block[i] : block_max;
    block_max *= inverse_temperature;
    if (block_max > max) {
      sum *= __builtin_exp(static_cast<double>(max) - static_cast<double>(block_max));
      max = block_max;
    }
    float block_sum = 0;
#pragma omp simd reduction(+ : block_sum)
    for (std::int64_t i = 0; i < n; ++i) block_sum += fast_exp(block[i] * inverse_temperature - max);
    sum += block_sum;
  }
  return static_cast<float>(static_cast<double>(max) + __builtin_log(sum));
}

void add_softmax(const float* z, std::int64_t size, float log_sum_exp, float scale, float* gradient) {
#pragma omp simd
  for (std::int64_t i = 0; i < size; ++i) gradient[i] += scale * fast_exp(z[i] - log_sum_exp);
}

float forward_kl(const KlRow& row, float scale, float* gradient) {
  const float inverse = row.inverse_temperature, lse_s = row.student_log_sum_exp,
              lse_t = row.teacher_log_sum_exp;
  double sum = 0;
  for (std::int64_t begin = 0; begin < row.size; begin += kBlock) {
    const float *student = row.student + begin, *teacher = row.teacher + begin;
    const std::int64_t n = block_size(begin, row.size);
    float block_sum = 0;
    if (gradient) {
      float* out = gradient + begin;
#pragma omp simd reduction(+ : block_sum)
      for (std::int64_t i = 0; i < n; ++i) {
        const float log_s = student[i] * inverse - lse_s, log_t = teacher[i] * inverse - lse_t;
        const float p_t = fast_exp(log_t);
        block_sum += p_t * (log_t - log_s);
        out[i] += scale * (fast_exp(log_s) - p_t);
      }
    } else {
#pragma omp simd reduction(+ : block_sum)
      for (std::int64_t i = 0; i < n; ++i) {
        const float log_s = student[i] * inverse - lse_s, log_t = teacher[i] * inverse - lse_t;
        block_sum += fast_exp(log_t) * (log_t - log_s);
      }
    }
    sum += block_sum;
  }
  return static_cast<float>(sum);
}

float reverse_kl(const KlRow& row, float scale, float* gradient) {
  const float inverse = row.inverse_temperature, lse_s = row.student_log_sum_exp,
              lse_t = row.teacher_log_sum_exp;
  double sum = 0;
  for (std::int64_t begin = 0; begin < row.size; begin += kBlock) {
    const float *student = row.student + begin, *teacher = row.teacher + begin;
    const std::int64_t n = block_size(begin, row.size);
    float block_sum = 0;
#pragma omp simd reduction(+ : block_sum)
    for (std::int64_t i = 0; i < n; ++i) {
      const float log_s = student[i] * inverse - lse_s, log_t = teacher[i] * inverse - lse_t;
      block_sum += fast_exp(log_s) * (log_s - log_t);
    }
    sum += block_sum;
  }
  const float value = static_cast<float>(sum);
  if (gradient) {
#pragma omp simd
    for (std::int64_t i = 0; i < row.size; ++i) {
      const float log_s = row.student[i] * inverse - lse_s, log_t = row.teacher[i] * inverse - lse_t;
      gradient[i] += scale * fast_exp(log_s) * (log_s - log_t - value);
    }
  }
  return value;
}

// One token's share of a mixture divergence: its value, p_S, and what ∂f/∂p_S is made of.
struct MixturePoint {
  float value, p_s, s_over_m, t_over_m, log_s_over_m;
};

// With d = log p_T - log p_S, the larger of the two as the unit: m = unit · t, t = a + (1 - a) e^-|d|. So no
// sum of logarithms of tiny numbers is taken. d ≤ 0: p_S is the unit and a its share of m.
inline MixturePoint mixture_point(const MixtureRow& row, float log_s, float log_t) {
  const float d = log_t - log_s, share_s = 1.0f - row.mixture;
  const bool student_larger = d <= 0.0f;
  const float a = student_larger ? share_s : row.mixture;
  const float e = fast_exp(student_larger ? d : -d);
  const float t = a + (1.0f - a) * e;
  const float log_t_over_unit = fast_log(t);  // log(m / larger)
  const float s_over_m = student_larger ? 1.0f / t : e / t, t_over_m = student_larger ? e / t : 1.0f / t;
  const float log_s_over_m = -(log_t_over_unit + (student_larger ? 0.0f : d));
  const float log_t_over_m = -(log_t_over_unit - (student_larger ? d : 0.0f));
  const float p_s = fast_exp(log_s), p_t = fast_exp(log_t);
  return {row.teacher_share * p_t * log_t_over_m + row.student_share * p_s * log_s_over_m, p_s, s_over_m,
          t_over_m, log_s_over_m};
}

// With g = ∂f/∂p_S, ∂f/∂(z_S / τ)_v = p_S,v (g_v - Σ_u p_S,u g_u). The parts of g have each their mean: where
// p_S = p_T all differences are exactly 0, and where they are far apart nothing large is subtracted from a
// large thing.
float mixture(const MixtureRow& row, float scale, float* gradient) {
  const KlRow& r = row.rows;
  const float inverse = r.inverse_temperature, lse_s = r.student_log_sum_exp, lse_t = r.teacher_log_sum_exp;
  double sum = 0, sum_p = 0, sum_s = 0, sum_t = 0, sum_log = 0;
  for (std::int64_t begin = 0; begin < r.size; begin += kBlock) {
    const float *student = r.student + begin, *teacher = r.teacher + begin;
    const std::int64_t n = block_size(begin, r.size);
    float block_sum = 0, block_p = 0, block_s = 0, block_t = 0, block_log = 0;
#pragma omp simd reduction(+ : block_sum, block_p, block_s, block_t, block_log)
    for (std::int64_t i = 0; i < n; ++i) {
      const MixturePoint point =
          mixture_point(row, student[i] * inverse - lse_s, teacher[i] * inverse - lse_t);
      block_sum += point.value;
      block_p += point.p_s;
      block_s += point.p_s * point.s_over_m;
      block_t += point.p_s * point.t_over_m;
      block_log += point.p_s * point.log_s_over_m;
    }
    sum += block_sum;
    sum_p += block_p;
    sum_s += block_s;
    sum_t += block_t;
    sum_log += block_log;
  }
  if (gradient) {
    const float mean_s = static_cast<float>(sum_s / sum_p), mean_t = static_cast<float>(sum_t / sum_p),
                mean_log = static_cast<float>(sum_log / sum_p);
    const float share_s = 1.0f - row.mixture, of_teacher = -row.teacher_share * share_s;
#pragma omp simd
    for (std::int64_t i = 0; i < r.size; ++i) {
      const MixturePoint point =
          mixture_point(row, r.student[i] * inverse - lse_s, r.teacher[i] * inverse - lse_t);
      const float slope =
          of_teacher * (point.t_over_m - mean_t) +
          row.student_share * (point.log_s_over_m - mean_log - share_s * (point.s_over_m - mean_s));
      gradient[i] += scale * point.p_s * slope;
    }
  }
  return static_cast<float>(sum);
}

}  // namespace
}  // namespace retort
