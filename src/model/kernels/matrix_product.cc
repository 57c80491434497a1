#include "model/kernels/matrix_product.h"

#include <algorithm>
#include <atomic>
#include <string_view>

#include "base/machine.h"
#include "model/kernels/bf16_product.h"
#include "model/kernels/launch.h"

namespace retort {
namespace {

// Packing b costs as much as some rows of the product.
constexpr std::int64_t kFewestRows = 64;
constexpr std::int64_t kTilesAtOnce = 8;

bool has_tiles() {
  static const bool has = std::string_view(cpu_kernels_name()) == "avx512_bf16" && !machine().has("amx_bf16");
  return has;
}

bool strided(const at::Tensor& x) { return x.dim() == 2 && (x.stride(0) == 1 || x.stride(1) == 1); }

bool takes(const at::Tensor& a, const at::Tensor& b) {
  return a.is_cpu() && a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 && has_tiles() &&
         strided(a) && strided(b) && a.size(1) % 2 == 0 && a.size(0) >= kFewestRows &&
         b.size(1) >= kBf16Columns;
}

std::uint16_t* values(const at::Tensor& x) {
  return reinterpret_cast<std::uint16_t*>(x.data_ptr<at::BFloat16>());
}

Bf16Matrix matrix(const at::Tensor& x) { return {values(x), x.stride(0), x.stride(1)}; }

void multiply(const at::Tensor& a, const at::Tensor& b, Bf16Product product) {
#if defined(__x86_64__)
  product.m = a.size(0);
  product.n = b.size(1);
  product.k = a.size(1);
  product.a = matrix(a);
  product.b = matrix(b);
  const at::Tensor panels = at::empty({bf16_panel_values(product.n, product.k)}, b.options());
  product.panels = values(panels);
  at::parallel_for(0, bf16_panels(product.n), 1,
                   [&](std::int64_t begin, std::int64_t end) { pack_bf16_panels(product, begin, end); });
  // Threads take blocks as they finish them: half the rows each would wait for the slower core.
  const std::int64_t tiles = (product.m + kBf16Rows - 1) / kBf16Rows;
  std::atomic<std::int64_t> next = 0;
  parallel_rows(at::get_num_threads(), 1, bf16_scratch(product.n, product.k),
                [&](std::int64_t, std::int64_t, float* scratch) {
                  for (std::int64_t tile; (tile = next.fetch_add(kTilesAtOnce)) < tiles;)
                    multiply_bf16(product, tile, std::min(tile + kTilesAtOnce, tiles), scratch);
                });
#endif
}

}  // namespace

at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  if (!takes(a, b)) return bias.defined() ? at::addmm(bias, a, b) : at::mm(a, b);
  const at::Tensor c = at::empty({a.size(0), b.size(1)}, a.options());
  multiply(a, b, {.bias = bias.defined() ? values(bias) : nullptr, .c = values(c), .ld = c.stride(0)});
  return c;
}

void matrix_product_out(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (takes(a, b))
    multiply(a, b, {.c = values(out), .ld = out.stride(0)});
  else
    at::mm_out(const_cast<at::Tensor&>(out), a, b);
}

bool add_matrix_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& sum) {
  if (!takes(a, b)) return false;
  multiply(a, b, {.sum = sum.data_ptr<float>(), .ld = sum.stride(0)});
  return true;
}

}  // namespace retort
