#include "objective/fused/head_gemm.h"

#include "model/kernels/matrix_product.h"

namespace retort {
namespace {

// Columns of the vocabulary whose low-precision partial sums are made at a time on the CPU: they stay in the
// cache.
constexpr std::int64_t kSlice = 4096;

bool low_precision(const at::Tensor& t) { return t.scalar_type() != at::kFloat; }

}  // namespace

at::ScalarType logits_dtype(const at::Tensor& head) {
  return head.is_cuda() ? at::kFloat : head.scalar_type();
}

void project(const at::Tensor& rows, const at::Tensor& head, at::Tensor& logits) {
  if (low_precision(rows) && rows.is_cuda())
    at::mm_out(logits, rows, head.t(), at::kFloat);
  else
    matrix_product_out(logits, rows, head.t());
}

at::Tensor rows_gradient(const at::Tensor& gradient, const at::Tensor& head) {
  return matrix_product(gradient, head);
}

void add_head_gradient(const at::Tensor& gradient, const at::Tensor& rows, at::Tensor& sum) {
  if (!low_precision(rows)) {
    sum.addmm_(gradient.t(), rows);
  } else if (rows.is_cuda()) {
    sum.add_(at::mm(gradient.t(), rows, at::kFloat));
  } else if (!add_matrix_product(gradient.t(), rows, sum)) {
    // Gradients are small: fp16's partial sums would fall among its subnormal numbers.
    const at::ScalarType dtype = rows.scalar_type() == at::kHalf ? at::kFloat : rows.scalar_type();
    const at::Tensor factor = rows.to(dtype);
    at::Tensor partial = at::empty({std::min(kSlice, sum.size(0)), sum.size(1)}, factor.options());
    for (std::int64_t begin = 0; begin < sum.size(0); begin += kSlice) {
      const std::int64_t size = std::min(kSlice, sum.size(0) - begin);
      at::Tensor slice = partial.narrow(0, 0, size);
      at::mm_out(slice, gradient.narrow(1, begin, size).to(dtype).t(), factor);
      sum.narrow(0, begin, size).add_(slice);
    }
  }
}

}  // namespace retort
