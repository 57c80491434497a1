// A frozen weight matrix that stays in one of formats/encodings: products decode it a tile at a time, so that
// little more than its bytes is ever in memory. On a CPU the scalar decoders of the encodings run; on a GPU a
// tile is the whole matrix, decoded there by the same formula (encoded_weight_device.cc).
#pragma once

#include <torch/torch.h>

#include <span>
#include <string>

#include "formats/encodings/encoding.h"

namespace retort {

class EncodedWeight {
 public:
  // [rows, columns], not filled yet. `options`: device, and the element type of products. Error naming
  // `where` when columns are no multiple of the encoding's block, or a GPU has no decoder for it.
  EncodedWeight(const Encoding& encoding, std::int64_t rows, std::int64_t columns,
                const at::TensorOptions& options, const std::string& where);

  // Rows [begin, begin + values.size() / columns). Error for values that the encoding cannot hold.
  void encode(std::int64_t begin, std::span<const float> values, const std::string& where);

  at::Tensor rows(std::int64_t begin, std::int64_t count) const;  // decoded, [count, columns]
  at::Tensor multiply(const at::Tensor& x) const;                 // x Wᵀ: [n, columns] → [n, rows]
  at::Tensor multiply_transposed(const at::Tensor& grad) const;   // grad W: [n, rows] → [n, columns]
  std::int64_t byte_size() const { return bytes_.numel() + (scales_.defined() ? 4 * scales_.numel() : 0); }

 private:
  at::Tensor tile(std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) const;

  const Encoding& encoding_;
  std::int64_t rows_, columns_;
  at::TensorOptions options_;
  at::Tensor bytes_;   // uint8 [rows, bytes of a row]
  at::Tensor scales_;  // fp32 [rows] of i8_channel and f8_channel, which keep them apart
};

// y = x Wᵀ + b, with a gradient for x alone. `bias` may be undefined.
at::Tensor encoded_linear(const at::Tensor& x, std::shared_ptr<const EncodedWeight> weight,
                          const at::Tensor& bias);

// Decoders in tensor operations, equal to the encodings' own to the bit. `bytes` uint8 [n, bytes of a row] →
// fp32 [n, columns]; i8_channel and f8_channel give the bare codes' values.
bool has_device_decoder(const Encoding& encoding);
at::Tensor decode_on_device(const Encoding& encoding, const at::Tensor& bytes);

// "i8_channel", "f8_channel", or an encoding of the registry that stores weights. Error with the nearest
// name.
const Encoding& find_weight_encoding(const std::string& name, const std::string& where);

}  // namespace retort
