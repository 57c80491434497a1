// AVX-512 with VNNI and BF16: the kernels of set_avx512_vnni.cc, but products of bf16 weights round the
// activations to bf16 too and take pairs of them at once. Everything here is in the set's namespace and stays
// there (see lanes.inc).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/kernels/kernel_set.h"

namespace retort::kernels_avx512_bf16 {

#include "runtime/kernels/lanes_avx512.inc"

// clang-format off
#include "runtime/kernels/lanes.inc"
#include "runtime/kernels/tile.inc"
#include "runtime/kernels/product.inc"
#include "runtime/kernels/float_tile.inc"
// clang-format on

struct Bf16Pairs {
  static constexpr PanelFormat kFormat = PanelFormat::bf16;
  static constexpr int kColumns = 2;
  static void step(Floats& sum, const std::byte* w, const std::byte* x) {
    std::int32_t pair;
    __builtin_memcpy(&pair, x, sizeof pair);
    sum = (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_loadu_si512(w),
                                   (__m512bh)_mm512_set1_epi32(pair));
  }
};
template <>
inline constexpr bool kBf16Dot<Bf16Pairs> = true;

}  // namespace retort::kernels_avx512_bf16

namespace retort {

KernelSet avx512_vnni_kernels();

KernelSet avx512_bf16_kernels() {
  KernelSet set = avx512_vnni_kernels();
  set.name = "avx512_bf16";
  set.summary = "AVX-512, VNNI, BF16";
  set.bf16_activations = true;
  set.multiply[static_cast<std::size_t>(PanelFormat::bf16)] =
      kernels_avx512_bf16::multiply_floats<kernels_avx512_bf16::Bf16Pairs>;
  return set;
}

}  // namespace retort
