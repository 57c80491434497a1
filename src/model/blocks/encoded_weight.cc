#include "model/blocks/encoded_weight.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>

#include "architecture/i8_channel.h"
#include "base/error.h"
#include "formats/encodings/f8_channel.h"
#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kTileBytes = 256 << 10;  // decoded; fits into the cache of a core

// Rows or columns a tile, given the other extent.
std::int64_t tile_extent(std::int64_t other, std::int64_t element_bytes, std::int64_t multiple) {
  return std::max<std::int64_t>(1, kTileBytes / (other * element_bytes * multiple)) * multiple;
}

// A weight as a value that the graph can hold.
struct EncodedHolder : torch::CustomClassHolder {
  explicit EncodedHolder(std::shared_ptr<const EncodedWeight> w) : weight(std::move(w)) {}
  std::shared_ptr<const EncodedWeight> weight;
};

struct EncodedFunction : torch::autograd::Function<EncodedFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const std::optional<at::Tensor>& bias,
                            const c10::intrusive_ptr<EncodedHolder>& holder) {
    ctx->saved_data["weight"] = c10::IValue::make_capsule(holder);
    const at::Tensor y = holder->weight->multiply(x);
    if (bias) y.add_(*bias);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto holder =
        c10::static_intrusive_pointer_cast<EncodedHolder>(ctx->saved_data["weight"].toCapsule());
    return {holder->weight->multiply_transposed(grads[0].contiguous()), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

EncodedWeight::EncodedWeight(const Encoding& encoding, std::int64_t rows, std::int64_t columns,
                             const at::TensorOptions& options, const std::string& where)
    : encoding_(encoding), rows_(rows), columns_(columns), options_(options) {
  if (columns % encoding.block_size != 0)
    throw Error(
        {.where = where,
         .found = fmt::format("rows of {} weights", columns),
         .expected = fmt::format("a multiple of {}, the block of {}", encoding.block_size, encoding.name),
         .advice = "Choose an encoding with smaller blocks: q8_0 and q4_0 have 32 weights, i8_channel and "
                   "f8_channel "
                   "any."});
  if (!options.device().is_cpu() && !has_device_decoder(encoding))
    throw Error({.where = where,
                 .found = fmt::format("{} on a GPU", encoding.name),
                 .expected = "i8_channel, f8_channel, q8_0, q4_0 or q4_k",
                 .advice = ""});
  bytes_ = at::empty({rows, encoding.byte_size(columns)}, options.dtype(at::kByte));
  if (&encoding == &kI8Channel || &encoding == &kF8Channel)
    scales_ = at::empty({rows}, options.dtype(at::kFloat));
}

void EncodedWeight::encode(std::int64_t begin, std::span<const float> values, const std::string& where) {
  const auto count = static_cast<std::int64_t>(values.size()) / columns_;
  const at::Tensor bytes = at::empty({count, bytes_.size(1)}, at::kByte),
                   scales = at::empty({count}, at::kFloat);
  at::parallel_for(0, count, 16, [&](std::int64_t first, std::int64_t last) {
    const auto part = values.subspan(static_cast<std::size_t>(first * columns_),
                                     static_cast<std::size_t>((last - first) * columns_));
    std::uint8_t* out = bytes.data_ptr<std::uint8_t>() + first * bytes.size(1);
    const std::span row_scales(scales.data_ptr<float>() + first, static_cast<std::size_t>(last - first));
    if (&encoding_ == &kI8Channel)
      encode_i8_rows(part, columns_, {reinterpret_cast<std::int8_t*>(out), part.size()}, row_scales);
    else if (&encoding_ == &kF8Channel)
      encode_f8_rows(part, columns_, {out, part.size()}, row_scales, where);
    else
      encode_rows(encoding_, part, columns_, {}, reinterpret_cast<std::byte*>(out), where);
  });
  bytes_.narrow(0, begin, count).copy_(bytes);
  if (scales_.defined()) scales_.narrow(0, begin, count).copy_(scales);
}

at::Tensor EncodedWeight::tile(std::int64_t row, std::int64_t rows, std::int64_t column,
                               std::int64_t columns) const {
  const std::int64_t first_byte = encoding_.byte_size(column);
  if (!bytes_.is_cpu()) {
    at::Tensor decoded = decode_on_device(
        encoding_, bytes_.narrow(0, row, rows).narrow(1, first_byte, encoding_.byte_size(columns)));
    if (scales_.defined()) decoded.mul_(scales_.narrow(0, row, rows).unsqueeze(1));
    return decoded.to(options_.dtype());
  }
  const at::Tensor out = at::empty({rows, columns}, options_);
  with_element_type(out, [&]<class T>(T) {
    at::parallel_for(0, rows, 16, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> values(static_cast<std::size_t>(columns));
      for (std::int64_t r = begin; r < end; ++r) {
        const std::uint8_t* in = bytes_.data_ptr<std::uint8_t>() + (row + r) * bytes_.size(1) + first_byte;
        encoding_.decode(reinterpret_cast<const std::byte*>(in), values);
        const float scale = scales_.defined() ? scales_.data_ptr<float>()[row + r] : 1;
        T* to = out.data_ptr<T>() + r * columns;
        for (std::int64_t c = 0; c < columns; ++c)
          to[c] = static_cast<T>(values[static_cast<std::size_t>(c)] * scale);
      }
    });
  });
  return out;
}

at::Tensor EncodedWeight::rows(std::int64_t begin, std::int64_t count) const {
  return tile(begin, count, 0, columns_);
}

at::Tensor EncodedWeight::multiply(const at::Tensor& x) const {
  if (!x.is_cpu()) return at::mm(x, rows(0, rows_).t());
  at::Tensor y = at::empty({x.size(0), rows_}, x.options());
  const std::int64_t step = tile_extent(columns_, x.element_size(), 1);
  for (std::int64_t row = 0; row < rows_; row += step) {
    const std::int64_t count = std::min(step, rows_ - row);
    at::Tensor part = y.narrow(1, row, count);
    at::mm_out(part, x, rows(row, count).t());
  }
  return y;
}

at::Tensor EncodedWeight::multiply_transposed(const at::Tensor& grad) const {
  if (!grad.is_cpu()) return at::mm(grad, rows(0, rows_));
  at::Tensor out = at::empty({grad.size(0), columns_}, grad.options());
  // Tiles of columns: each output is one sum, as in the product with the decoded matrix.
  const std::int64_t step = tile_extent(rows_, grad.element_size(), encoding_.block_size);
  for (std::int64_t column = 0; column < columns_; column += step) {
    const std::int64_t count = std::min(step, columns_ - column);
    at::Tensor part = out.narrow(1, column, count);
    at::mm_out(part, grad, tile(0, rows_, column, count));
  }
  return out;
}

at::Tensor encoded_linear(const at::Tensor& x, std::shared_ptr<const EncodedWeight> weight,
                          const at::Tensor& bias) {
  if (at::GradMode::is_enabled() && x.requires_grad())
    return EncodedFunction::apply(x, optional_of(bias),
                                  c10::make_intrusive<EncodedHolder>(std::move(weight)));
  at::Tensor y = weight->multiply(x);
  if (bias.defined()) y.add_(bias);
  return y;
}

const Encoding& find_weight_encoding(const std::string& name, const std::string& where) {
  for (const Encoding* channel : {&kI8Channel, &kF8Channel})
    if (name == channel->name) return *channel;
  const Encoding& encoding = find_encoding(name, where);
  if (encoding.activations_only)
    throw Error({.where = where, .found = name, .expected = "an encoding of weights", .advice = ""});
  return encoding;
}

}  // namespace retort
