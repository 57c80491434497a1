#include "formats/tensor_source.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/options.h"

namespace retort {
namespace {

// Stored values may lie at any address; memcpy of one element compiles to a plain load.
template <class Stored, class Convert>
void convert_each(std::span<const std::byte> bytes, float* out, Convert convert) {
  const std::size_t count = bytes.size() / sizeof(Stored);
  for (std::size_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = convert(value);
  }
}

}  // namespace

std::int64_t TensorView::element_count() const {
  // Extents before the one that is 0 may overflow.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

std::int64_t TensorView::byte_size() const {
  const std::int64_t count = element_count();
  return encoding != nullptr ? encoding->byte_size(count)
                             : count * static_cast<std::int64_t>(dtype_size(dtype));
}

std::string TensorView::describe() const {
  std::string text =
      name + " " + std::string(encoding != nullptr ? encoding->name : dtype_name(dtype)) + " [";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

const TensorView& TensorSource::get(const std::string& name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  std::vector<std::string> names;
  for (const TensorView& tensor : tensors()) names.push_back(tensor.name);
  const std::string near = nearest_name(name, names);
  std::string advice = "It holds " + std::to_string(names.size()) + " tensors";
  if (!near.empty())
    advice += "; the nearest is '" + near + "'.";
  else
    advice += names.empty() ? "." : ", the first is '" + names.front() + "'.";
  throw Error({.where = where(), .found = "no tensor '" + name + "'", .expected = "", .advice = advice});
}

void to_float(const TensorView& tensor, float* out) {
  if (tensor.encoding != nullptr)
    return tensor.encoding->decode(tensor.bytes.data(),
                                   {out, static_cast<std::size_t>(tensor.element_count())});
  switch (tensor.dtype) {
    case DType::f64:
      return convert_each<double>(tensor.bytes, out, [](double value) { return static_cast<float>(value); });
    case DType::f32:
      if (!tensor.bytes.empty()) std::memcpy(out, tensor.bytes.data(), tensor.bytes.size());
      return;
    case DType::f16:
      return convert_each<std::uint16_t>(tensor.bytes, out, f16_to_float);
    case DType::bf16:
      return convert_each<std::uint16_t>(tensor.bytes, out, bf16_to_float);
    default:
      throw Error({.where = tensor.describe(),
                   .found = "integers",
                   .expected = "floating-point values",
                   .advice = ""});
  }
}

std::vector<float> to_float(const TensorView& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.element_count()));
  to_float(tensor, values.data());
  return values;
}

}  // namespace retort
