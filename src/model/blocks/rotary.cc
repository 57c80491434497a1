#include "model/blocks/rotary.h"

#include "model/kernels/launch.h"

namespace retort {

Rotation rotation_at(const at::Tensor& frequencies, const at::Tensor& positions) {
  const at::Tensor angles = at::outer(positions.to(at::kFloat), frequencies);
  return {angles.cos(), angles.sin()};
}

at::Tensor rotate(const at::Tensor& qkv, const HeadLayout& layout, const Rotation& rotation) {
  const std::int64_t n = qkv.size(0), rotated = layout.q_heads + layout.kv_heads;
  const at::Tensor heads = qkv.view({n, rotated + layout.kv_heads, layout.head_dim});
  const auto halves = heads.narrow(1, 0, rotated).chunk(2, 2);
  const at::Tensor x1 = halves[0].to(at::kFloat), x2 = halves[1].to(at::kFloat);
  const at::Tensor cos = rotation.cos.unsqueeze(1), sin = rotation.sin.unsqueeze(1);
  const at::Tensor turned = at::cat({x1 * cos - x2 * sin, x2 * cos + x1 * sin}, 2).to(qkv.scalar_type());
  return at::cat({turned, heads.narrow(1, rotated, layout.kv_heads)}, 1).view({n, -1});
}

void rotate_in_place(const at::Tensor& qkv, const HeadLayout& layout, const Rotation& rotation,
                     bool inverse) {
  if (!has_cpu_kernels(qkv)) {
    qkv.copy_(rotate(qkv, layout, inverse ? Rotation{rotation.cos, -rotation.sin} : rotation));
    return;
  }
  with_element_type(qkv, [&]<class T>(T) {
    const RotaryArgs<T> args{.x = qkv.data_ptr<T>(),
                             .row_stride = qkv.stride(0),
                             .heads = layout.q_heads + layout.kv_heads,
                             .head_dim = layout.head_dim,
                             .cos = rotation.cos.data_ptr<float>(),
                             .sin = rotation.sin.data_ptr<float>(),
                             .inverse = inverse};
    at::parallel_for(0, qkv.size(0), 16, [&](std::int64_t begin, std::int64_t end) {
      cpu_kernels<T>().rotary(args, begin, end);
    });
  });
}

}  // namespace retort
