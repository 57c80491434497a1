// INT8 for each output channel: a Hugging Face folder whose matrices are int8 [stored as the family stores
// them] beside "<name>_scale" with one F32 factor for each output channel. Norms, biases and learned
// positions stay F32. config.json says "quantization_config": {"quant_method": "i8_channel",
// "activation_limit": 6}: the inputs of a product are clamped to the limit before they are rounded to 8 bits,
// as the practice guides of deployment ask; "activation_limits" may name another limit for single parameters.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "architecture/model_folder.h"

namespace retort {

struct I8ChannelOptions {
  double activation_limit = 6;                           // 0: inputs are rounded by their own largest value
  std::map<std::string, double> activation_limits = {};  // of single parameters, in place of that
  // Called after each quantized parameter with its values before and after; may be null.
  std::function<void(const ParameterSpec&, std::span<const float>, std::span<const float>)> written = nullptr;
};

// Rows of int8 and their scales: the largest magnitude of a row is 127.
void encode_i8_rows(std::span<const float> values, std::int64_t columns, std::span<std::int8_t> codes,
                    std::span<float> scales);

void save_i8_folder(const std::filesystem::path& folder, const ModelConfig& config,
                    const ParameterReader& read, const I8ChannelOptions& options);

}  // namespace retort
