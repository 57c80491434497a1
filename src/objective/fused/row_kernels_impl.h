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
  constexpr float kRound =
      12582912.0f;  // 1.5 · 2^23: adding it rounds to a whole number, which stands in the low bits
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

}  // namespace
}  // namespace retort
