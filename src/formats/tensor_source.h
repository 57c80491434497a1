// Named tensors on disk, as views into mapped files. Every container (safetensors, GGUF) reads as a
// TensorSource.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/dtype.h"
#include "formats/encodings/encoding.h"

namespace retort {

struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;   // row-major, slowest axis first
  std::span<const std::byte> bytes;  // may be unaligned
  // Blocks of weights along the last axis (GGUF's quantized types), in place of elements of `dtype`, which
  // then says u8.
  const Encoding* encoding = nullptr;

  std::int64_t element_count() const;
  std::int64_t byte_size() const;  // what the shape implies
  std::string describe() const;    // "model.embed_tokens.weight BF16 [8192, 512]"
};

// Where a tensor's bytes come from when it is written: by default the view's own. A function makes them one
// tensor at a time, asked once for each in the order written, so that a model need not be in memory twice.
using TensorBytes = std::function<std::vector<std::byte>(const TensorView&)>;

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::vector<TensorView>& tensors() const = 0;  // in file order
  virtual const TensorView* find(const std::string& name) const = 0;
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  // Throws Error naming the source and the nearest names it does hold.
  const TensorView& get(const std::string& name) const;
  virtual std::string where() const = 0;  // the path, for messages
};

// Copies a tensor's values as fp32, encoded ones decoded. Throws for integer types.
std::vector<float> to_float(const TensorView& tensor);
// Into a caller's buffer of element_count() floats.
void to_float(const TensorView& tensor, float* out);

}  // namespace retort
