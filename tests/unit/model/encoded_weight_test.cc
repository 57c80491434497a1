// Products with encoded weights against the decoded matrix, in double precision; device decoders against the
// scalar ones.
#include "model/blocks/encoded_weight.h"

#include <gtest/gtest.h>

#include "architecture/i8_channel.h"
#include "base/error.h"
#include "formats/encodings/f8_channel.h"

namespace retort {
namespace {

std::vector<std::string> weight_encodings() {
  std::vector<std::string> names = {"i8_channel", "f8_channel"};
  for (const Encoding* encoding : encodings())
    if (!encoding->activations_only) names.emplace_back(encoding->name);
  return names;
}

std::vector<float> values_of(const at::Tensor& x) {
  const at::Tensor flat = x.to(at::kFloat).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

// What a file of this encoding would give back.
at::Tensor stored_and_read(const std::string& name, const at::Tensor& w) {
  const std::vector<float> values = values_of(w);
  std::vector<float> read(values.size());
  if (name == "i8_channel") {
    std::vector<std::int8_t> codes(values.size());
    std::vector<float> scales(static_cast<std::size_t>(w.size(0)));
    encode_i8_rows(values, w.size(1), codes, scales);
    for (std::size_t i = 0; i < values.size(); ++i)
      read[i] = static_cast<float>(codes[i]) * scales[i / static_cast<std::size_t>(w.size(1))];
  } else if (name == "f8_channel") {
    const at::Tensor scales = w.abs().amax(1, /*keepdim=*/true) / 448;  // as PyTorch rounds
    return (w * (1 / scales)).to(at::kFloat8_e4m3fn).to(at::kFloat) * scales;
  } else {
    const Encoding& encoding = find_encoding(name, "test");
    std::vector<std::byte> blocks(static_cast<std::size_t>(encoding.byte_size(w.numel())));
    encode_rows(encoding, values, w.size(1), {}, blocks.data(), "test");
    encoding.decode(blocks.data(), read);
  }
  return at::tensor(read).view(w.sizes());
}

void expect_products(const std::string& name, std::int64_t rows, std::int64_t columns) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({rows, columns}) * 0.1, x = at::randn({9, columns}),
                   grad = at::randn({9, rows});
  EncodedWeight weight(find_weight_encoding(name, "test"), rows, columns, at::kFloat, name);
  const std::vector<float> values = values_of(w);
  const std::int64_t half = rows / 2;
  weight.encode(0, std::span(values).first(static_cast<std::size_t>(half * columns)), name);
  weight.encode(half, std::span(values).subspan(static_cast<std::size_t>(half * columns)), name);
  const at::Tensor read = stored_and_read(name, w), wide = read.to(at::kDouble);
  EXPECT_TRUE(at::equal(weight.rows(half - 3, 9), read.narrow(0, half - 3, 9))) << name;
  const auto worst = [](const at::Tensor& found, const at::Tensor& expected) {
    return (found - expected).abs().max().item<double>();
  };
  EXPECT_LT(worst(weight.multiply(x), at::mm(x.to(at::kDouble), wide.t())), 1e-4) << name;
  EXPECT_LT(worst(weight.multiply_transposed(grad), at::mm(grad.to(at::kDouble), wide)), 1e-4) << name;
  EXPECT_LE(weight.byte_size(), 4 * w.numel() + 4 * rows);
}

TEST(EncodedWeight, MultipliesAsTheDecodedMatrix) {
  for (const std::string& name : weight_encodings()) expect_products(name, 40, 512);
  for (const char* name : {"i8_channel", "q8_0"}) expect_products(name, 1500, 768);  // several tiles each way
}

TEST(EncodedWeight, GradientsReachTheInputAlone) {
  at::manual_seed(2);
  const at::Tensor w = at::randn({64, 96}), x = at::randn({5, 96}).requires_grad_(), bias = at::randn({64});
  const auto weight = std::make_shared<EncodedWeight>(find_encoding("q8_0", "test"), 64, 96, at::kFloat, "w");
  weight->encode(0, values_of(w), "w");
  const at::Tensor y = encoded_linear(x, weight, bias), seed = at::randn({5, 64});
  EXPECT_TRUE(at::allclose(y, at::linear(x, weight->rows(0, 64), bias), 1e-5, 1e-5));
  y.backward(seed);
  EXPECT_TRUE(at::allclose(x.grad(), at::mm(seed, weight->rows(0, 64)), 1e-5, 1e-5));
}

TEST(EncodedWeight, DecodersOfDevicesEqualTheScalarOnes) {
  at::manual_seed(3);
  const at::Tensor w = at::randn({7, 512}) * at::randn({7, 1});
  for (const char* name : {"q8_0", "q4_0", "q4_k"}) {
    const Encoding& encoding = find_encoding(name, "test");
    ASSERT_TRUE(has_device_decoder(encoding)) << name;
    const at::Tensor bytes = at::empty({7, encoding.byte_size(512)}, at::kByte);
    encode_rows(encoding, values_of(w), 512, {}, reinterpret_cast<std::byte*>(bytes.data_ptr<std::uint8_t>()),
                name);
    EXPECT_TRUE(at::equal(decode_on_device(encoding, bytes), stored_and_read(name, w))) << name;
    // A tile of columns is a view.
    const std::int64_t begin = encoding.byte_size(256);
    EXPECT_TRUE(at::equal(decode_on_device(encoding, bytes.narrow(1, begin, encoding.byte_size(256))),
                          stored_and_read(name, w).narrow(1, 256, 256)))
        << name;
  }
}

TEST(EncodedWeight, RoundsToFp8AsPyTorchDoes) {
  std::vector<float> values;
  // All numbers, what lies between, and a little beside the middle.
  for (int code = -0x7e; code <= 0x7e; ++code)
    for (const float part : {0.0f, 0.25f, 0.5f, 0.5000001f, 0.75f}) {
      const auto number = [](int c) {
        const std::uint8_t bits = static_cast<std::uint8_t>(c < 0 ? 0x80 - c : c);
        return static_cast<float>(c10::Float8_e4m3fn(bits, c10::Float8_e4m3fn::from_bits()));
      };
      const int next = std::min(code + 1, 0x7e);
      values.push_back(number(code) + part * (number(next) - number(code)));
    }
  for (const float value : values) EXPECT_EQ(f8_code(value), c10::Float8_e4m3fn(value).x) << value;
  EXPECT_EQ(f8_code(1e9f), 0x7e);
}

TEST(EncodedWeight, SaysWhatDoesNotFit) {
  EXPECT_THROW(EncodedWeight(find_encoding("q4_k", "test"), 4, 96, at::kFloat, "w"), Error);
  EXPECT_THROW(find_weight_encoding("q8_k", "test"), Error);
  EXPECT_THROW(find_weight_encoding("q9_0", "test"), Error);
  EncodedWeight weight(find_encoding("q8_0", "test"), 1, 32, at::kFloat, "w");
  EXPECT_THROW(weight.encode(0, std::vector<float>(32, INFINITY), "w"), Error);
}

}  // namespace
}  // namespace retort
