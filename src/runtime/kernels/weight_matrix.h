// A matrix of weights in the panels that the kernels read. Nothing is lost in packing: a decoded row is equal
// to what the file's encoding decodes to.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "formats/encodings/encoding.h"
#include "runtime/kernels/aligned_buffer.h"
#include "runtime/kernels/panel.h"

namespace retort {

// What a matrix wants to be multiplied by; a set of bits.
enum class ActivationForm : unsigned { f32 = 1, int8 = 2, bf16 = 4 };
using ActivationForms = unsigned;

class WeightMatrix {
 public:
  struct Source {
    const Encoding* encoding = nullptr;
    std::span<const std::byte> bytes;  // row after row; not needed once the matrix is made
    std::int64_t rows = 0, columns = 0;
    std::string name;                        // for errors
    std::span<const float> row_scales = {};  // i8_channel: one a row
  };

  WeightMatrix() = default;
  // Throws Error when the sizes do not fit together or an encoding cannot be multiplied.
  WeightMatrix(const Source& source, ThreadPool& pool);

  bool empty() const { return rows_ == 0; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  PanelFormat format() const { return format_; }
  // The form of activations under the active kernel set.
  ActivationForm form() const;
  std::size_t memory_bytes() const { return panels_.size(); }

  // One row, as an embedding needs it. out: [columns].
  void decode_row(std::int64_t row, std::span<float> out) const;

  // For multiply.cc.
  const std::byte* panels() const { return panels_.data(); }
  std::int64_t panel_count() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  std::int64_t chunks() const;
  std::int64_t panel_bytes() const;
  float factor() const { return factor_; }
  std::span<const float> row_scales() const { return row_scales_; }

 private:
  std::int64_t rows_ = 0, columns_ = 0;
  PanelFormat format_ = PanelFormat::f32;
  float factor_ = 1;  // of all weights: MXFP4's powers of two moved to where half precision holds them
  std::vector<float> row_scales_;
  AlignedBuffer panels_;
};

inline ActivationForms operator|(ActivationForm a, ActivationForm b) {
  return static_cast<unsigned>(a) | static_cast<unsigned>(b);
}
inline ActivationForms operator|(ActivationForms a, ActivationForm b) { return a | static_cast<unsigned>(b); }

}  // namespace retort
