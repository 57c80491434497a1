// Products of every encoding in every kernel set this processor can run: against decoded weights and rounded
// activations in double, on odd sizes; equal bits whatever the number of rows and threads. Prompts are
// products of their own where a set has tiles.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "runtime/kernels/multiply.h"

namespace retort {
namespace {

std::vector<float> normal_values(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(n);
  for (auto& value : values) value = static_cast<float>(random.normal());
  return values;
}

struct Matrix {
  const Encoding* encoding = nullptr;
  std::int64_t rows = 0, columns = 0;
  std::vector<std::byte> bytes;  // the blocks begin at `misaligned`
  std::size_t misaligned = 1;
  std::vector<float> decoded;

  WeightMatrix pack(ThreadPool& pool) const {
    return WeightMatrix({.encoding = encoding,
                         .bytes = std::span(bytes).subspan(misaligned),
                         .rows = rows,
                         .columns = columns,
                         .name = "test"},
                        pool);
  }
};

Matrix make_matrix(std::string_view name, std::int64_t rows, std::int64_t columns, std::uint64_t seed = 1) {
  Matrix m;
  m.encoding = &find_encoding(name, "test");
  m.rows = rows;
  m.columns = columns;
  const auto values = normal_values(static_cast<std::size_t>(rows * columns), seed);
  m.bytes.resize(m.misaligned + static_cast<std::size_t>(m.encoding->byte_size(rows * columns)));
  encode_rows(*m.encoding, values, columns, {}, m.bytes.data() + m.misaligned, "test");
  m.decoded.resize(values.size());
  m.encoding->decode(m.bytes.data() + m.misaligned, m.decoded);
  return m;
}

bool multiplied(const Encoding& encoding) { return !encoding.activations_only; }

double to_bf16(float value) { return bf16_to_float(float_to_bf16(value)); }

// What the kernels promise: weights exactly as decoded, activations rounded to 8 bits per 32. In tiles both
// are rounded to bf16.
double expected(const Matrix& m, ActivationForm form, bool tiles, const std::vector<float>& x, std::int64_t t,
                std::int64_t r) {
  double total = 0;
  for (std::int64_t first = 0; first < m.columns; first += 32) {
    const std::int64_t last = std::min(m.columns, first + 32);
    double most = 0;
    for (std::int64_t c = first; c < last; ++c)
      most = std::max(most, std::fabs(static_cast<double>(x[static_cast<std::size_t>(t * m.columns + c)])));
    const float inverse = 127.0f / static_cast<float>(most);
    for (std::int64_t c = first; c < last; ++c) {
      const float value = x[static_cast<std::size_t>(t * m.columns + c)];
      double rounded = value;
      if (form == ActivationForm::int8) rounded = std::nearbyint(value * inverse) * (most / 127);
      if (form == ActivationForm::bf16 || tiles) rounded = to_bf16(value);
      const float weight = m.decoded[static_cast<std::size_t>(r * m.columns + c)];
      total += rounded * (tiles ? to_bf16(weight) : static_cast<double>(weight));
    }
  }
  return total;
}

// A weight on the border between two numbers of bf16 may be rounded to either, since its scale and minimum
// are applied in another order: the last of its eight digits, of two weights at once.
double border(const Matrix& m, const std::vector<float>& x, std::int64_t t, std::int64_t r) {
  double most = 0;
  for (std::int64_t c = 0; c < m.columns; ++c)
    most = std::max(most,
                    std::fabs(static_cast<double>(x[static_cast<std::size_t>(t * m.columns + c)]) *
                              static_cast<double>(m.decoded[static_cast<std::size_t>(r * m.columns + c)])));
  return 2 * most / 128;
}

ActivationForm form_of(const WeightMatrix& weights, const KernelSet& set) {
  if (weights.format() != PanelFormat::bf16) return weights.form();
  return set.bf16_activations ? ActivationForm::bf16 : ActivationForm::f32;
}

using RowList = std::vector<std::int64_t>;
RowList first_rows(std::int64_t n) {
  RowList rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}
bool in_tiles(const WeightMatrix& weights, const KernelSet& set) {
  return set.tiles && form_of(weights, set) != ActivationForm::f32;
}

std::vector<float> product(const WeightMatrix& weights, const std::vector<float>& x, std::int64_t n,
                           const KernelSet& set, ThreadPool& pool, const RowList& tile_rows = {}) {
  Activations activations;
  activations.assign({.x = x.data(),
                      .rows = n,
                      .columns = weights.columns(),
                      .stride = weights.columns(),
                      .tile_rows = tile_rows},
                     static_cast<unsigned>(form_of(weights, set)), pool, set);
  std::vector<float> out(static_cast<std::size_t>(n * weights.rows()), -1.0f);
  multiply(activations, {.weights = &weights, .out = out.data(), .stride = weights.rows()}, pool, set);
  return out;
}

// Every set, without a prompt and with one.
std::vector<std::pair<const KernelSet*, RowList>> sets_and_prompts(std::int64_t n) {
  std::vector<std::pair<const KernelSet*, RowList>> all;
  for (const KernelSet* set : kernel_sets())
    for (const std::int64_t prompts : {std::int64_t{0}, n}) all.emplace_back(set, first_rows(prompts));
  return all;
}

TEST(KernelProduct, EveryEncodingInEverySetOnOddSizes) {
  ThreadPool pool(2);
  for (const Encoding* encoding : encodings()) {
    if (!multiplied(*encoding)) continue;
    for (const std::int64_t rows : {1, 16, 37, 83}) {
      const std::int64_t columns = encoding->block_size == 1 ? 45 + rows : 3 * encoding->block_size;
      const Matrix m = make_matrix(encoding->name, rows, columns);
      const WeightMatrix weights = m.pack(pool);
      for (const KernelSet* set : kernel_sets())
        for (const std::int64_t n : {1, 2, 3, 5, 7, 13, 16, 29, 50})
          for (const bool prompt : {false, true}) {
            const auto x = normal_values(static_cast<std::size_t>(n * columns), 7);
            const auto out = product(weights, x, n, *set, pool, first_rows(prompt ? n : 0));
            const ActivationForm form = form_of(weights, *set);
            const bool tiles = prompt && in_tiles(weights, *set);
            for (std::int64_t t = 0; t < n; ++t)
              for (std::int64_t r = 0; r < rows; ++r)
                ASSERT_NEAR(out[static_cast<std::size_t>(t * rows + r)], expected(m, form, tiles, x, t, r),
                            2e-6 * static_cast<double>(columns) + (tiles ? border(m, x, t, r) : 0))
                    << encoding->name << ' ' << set->name << " rows " << rows << " n " << n << " at " << t
                    << ' ' << r << (prompt ? ", a prompt" : "");
          }
    }
  }
}

TEST(KernelProduct, DecodedRowsAreTheEncodings) {
  ThreadPool pool(1);
  for (const Encoding* encoding : encodings()) {
    if (!multiplied(*encoding)) continue;
    const Matrix m =
        make_matrix(encoding->name, 21, encoding->block_size == 1 ? 70 : 3 * encoding->block_size);
    const WeightMatrix weights = m.pack(pool);
    std::vector<float> row(static_cast<std::size_t>(m.columns));
    for (std::int64_t r = 0; r < m.rows; ++r) {
      weights.decode_row(r, row);
      for (std::int64_t c = 0; c < m.columns; ++c)
        ASSERT_EQ(row[static_cast<std::size_t>(c)], m.decoded[static_cast<std::size_t>(r * m.columns + c)])
            << encoding->name << ' ' << r << ' ' << c;
    }
  }
}

TEST(KernelProduct, ZeroBlocksOfMxfp4MayHaveAnyExponent) {
  ThreadPool pool(1);
  Matrix m = make_matrix("mxfp4", 3, 96);
  std::byte* block = m.bytes.data() + m.misaligned + 17;  // the first row's second
  for (const int exponent : {0, 200, 254}) {
    block[0] = static_cast<std::byte>(exponent);
    std::fill(block + 1, block + 17, std::byte{0x80});  // zeros of both signs
    m.encoding->decode(m.bytes.data() + m.misaligned, m.decoded);
    const WeightMatrix weights = m.pack(pool);
    std::vector<float> row(96);
    weights.decode_row(0, row);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), m.decoded.begin())) << exponent;
    const std::vector<float> x = normal_values(96, 3);
    for (const auto& [set, prompts] : sets_and_prompts(1))
      for (const float value : product(weights, x, 1, *set, pool, prompts))
        EXPECT_TRUE(std::isfinite(value)) << set->name << ' ' << exponent;
  }
}

TEST(KernelProduct, SameBitsAloneAndAmongOthers) {
  ThreadPool one(1), three(3);
  for (const Encoding* encoding : encodings()) {
    if (!multiplied(*encoding)) continue;
    const std::int64_t rows = 70, columns = 512, n = 23;
    const Matrix m = make_matrix(encoding->name, rows, columns);
    const WeightMatrix weights = m.pack(three);
    const auto x = normal_values(static_cast<std::size_t>(n * columns), 3);
    for (const KernelSet* set : kernel_sets()) {
      const auto together = product(weights, x, n, *set, three);
      for (std::int64_t t = 0; t < n; ++t) {
        const std::vector<float> row(x.begin() + t * columns, x.begin() + (t + 1) * columns);
        const auto alone = product(weights, row, 1, *set, one);
        ASSERT_EQ(std::memcmp(alone.data(), together.data() + t * rows, alone.size() * sizeof(float)), 0)
            << encoding->name << ' ' << set->name << ' ' << t;
      }
    }
  }
}

TEST(KernelProduct, PromptsGiveTheSameBitsWhateverStandsWithThem) {
  ThreadPool one(1), three(3);
  for (const Encoding* encoding : encodings()) {
    if (!multiplied(*encoding)) continue;
    const std::int64_t rows = 70, columns = 768, n = 600;  // more than one job's rows, and parts of columns
    const Matrix m = make_matrix(encoding->name, rows, columns);
    const WeightMatrix weights = m.pack(three);
    const auto x = normal_values(static_cast<std::size_t>(n * columns), 3);
    RowList tile_rows;  // others lie between them
    for (std::int64_t t = 3; t < n; ++t)
      if (t < 30 || t % 5 > 0) tile_rows.push_back(t);
    for (const KernelSet* set : kernel_sets()) {
      if (!set->tiles) continue;
      const auto together = product(weights, x, n, *set, three, tile_rows);
      for (const std::int64_t t : {0, 2, 3, 18, 30, 31, 100, 333, 599}) {
        const bool prompt = std::binary_search(tile_rows.begin(), tile_rows.end(), t);
        const std::vector<float> row(x.begin() + t * columns, x.begin() + (t + 1) * columns);
        const auto alone = product(weights, row, 1, *set, one, first_rows(prompt ? 1 : 0));
        ASSERT_EQ(std::memcmp(alone.data(), together.data() + t * rows, alone.size() * sizeof(float)), 0)
            << encoding->name << ' ' << set->name << ' ' << t;
      }
    }
  }
}

TEST(KernelProduct, ExtremeCodesDoNotSaturate) {
  ThreadPool pool(1);
  const std::int64_t columns = 64;
  // Q8_0 as a hostile file may have it: codes of -128 throughout.
  Matrix m = make_matrix("q8_0", 16, columns);
  for (std::int64_t block = 0; block < 32; ++block) {
    std::byte* at = m.bytes.data() + m.misaligned + block * 34;
    const std::uint16_t one = 0x3c00;
    std::memcpy(at, &one, 2);
    std::memset(at + 2, 0x80, 32);
  }
  m.encoding->decode(m.bytes.data() + m.misaligned, m.decoded);
  const WeightMatrix weights = m.pack(pool);
  for (const float sign : {1.0f, -1.0f})
    for (const KernelSet* set : kernel_sets()) {
      const std::vector<float> x(64, sign);
      for (const std::int64_t tile_rows : {0, 1}) {
        const auto out = product(weights, x, 1, *set, pool, first_rows(tile_rows));
        for (const float value : out) ASSERT_NEAR(value, sign * -128.0f * 64.0f, 1e-2) << set->name;
      }
    }
}

TEST(KernelProduct, BiasResidualAndSharedInput) {
  ThreadPool pool(2);
  const Matrix a = make_matrix("q8_0", 40, 96, 1), b = make_matrix("f32", 17, 96, 2);
  const WeightMatrix first = a.pack(pool), second = b.pack(pool);
  const std::int64_t n = 3;
  const auto x = normal_values(static_cast<std::size_t>(n * 96), 5);
  const auto bias = normal_values(40, 6);
  for (const auto& [set, prompts] : sets_and_prompts(n)) {
    const auto plain = product(first, x, n, *set, pool, prompts),
               other = product(second, x, n, *set, pool, prompts);
    Activations activations;
    activations.assign({.x = x.data(), .rows = n, .columns = 96, .stride = 96, .tile_rows = prompts},
                       ActivationForm::int8 | ActivationForm::f32, pool, *set);
    std::vector<float> out(static_cast<std::size_t>(n * 45), 2.0f),
        out_second(static_cast<std::size_t>(n * 17));
    const Product products[] = {
        {.weights = &first, .out = out.data(), .stride = 45, .bias = bias.data(), .add = true},
        {.weights = &second, .out = out_second.data(), .stride = 17}};
    multiply(activations, products, pool, *set);
    for (std::int64_t t = 0; t < n; ++t) {
      for (std::int64_t r = 0; r < 40; ++r)
        EXPECT_NEAR(out[static_cast<std::size_t>(t * 45 + r)],
                    plain[static_cast<std::size_t>(t * 40 + r)] + bias[static_cast<std::size_t>(r)] + 2,
                    1e-5);
      for (std::int64_t r = 40; r < 45; ++r) EXPECT_EQ(out[static_cast<std::size_t>(t * 45 + r)], 2.0f);
    }
    EXPECT_EQ(out_second, other);
  }
}

TEST(KernelProduct, GatedIsActivationTimesUp) {
  ThreadPool pool(2);
  for (const auto& [gate_encoding, up_encoding] :
       {std::pair("q4_0", "q4_0"), {"q4_k", "q4_k"}, {"f16", "f16"}, {"q8_0", "q4_0"}}) {
    const Matrix g = make_matrix(gate_encoding, 50, 256, 1), u = make_matrix(up_encoding, 50, 256, 2);
    const WeightMatrix gate = g.pack(pool), up = u.pack(pool);
    for (const std::int64_t n : {1, 4, 9, 41})
      for (const auto& [set, prompts] : sets_and_prompts(n)) {
        const auto x = normal_values(static_cast<std::size_t>(n * 256), 5);
        const auto gates = product(gate, x, n, *set, pool, prompts),
                   ups = product(up, x, n, *set, pool, prompts);
        Activations activations;
        activations.assign({.x = x.data(), .rows = n, .columns = 256, .stride = 256, .tile_rows = prompts},
                           form_of(gate, *set) | form_of(up, *set), pool, *set);
        std::vector<float> out(gates.size());
        multiply_gated(activations, {.gate = &gate, .up = &up, .out = out.data(), .stride = 50}, pool, *set);
        for (std::size_t i = 0; i < out.size(); ++i) {
          const double gated = gates[i] / (1 + std::exp(-static_cast<double>(gates[i])));
          ASSERT_NEAR(out[i], gated * static_cast<double>(ups[i]),
                      1e-5 * (1 + std::fabs(gated * static_cast<double>(ups[i]))))
              << set->name;
        }
      }
  }
}

TEST(KernelProduct, ChannelIntegersTakeTheirRowScales) {
  ThreadPool pool(1);
  std::vector<std::byte> codes(20 * 70);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::byte>(i * 37 % 255 - 127);
  std::vector<float> scales(20);
  for (std::size_t r = 0; r < scales.size(); ++r) scales[r] = 0.001f * static_cast<float>(r + 1);
  const WeightMatrix weights({.encoding = &kI8Channel,
                              .bytes = codes,
                              .rows = 20,
                              .columns = 70,
                              .name = "test",
                              .row_scales = scales},
                             pool);
  const std::vector<float> x(70, 1.0f);
  for (const KernelSet* set : kernel_sets()) {
    const auto out = product(weights, x, 1, *set, pool);
    for (std::size_t r = 0; r < 20; ++r) {
      double total = 0;
      for (std::size_t c = 0; c < 70; ++c) total += static_cast<std::int8_t>(codes[r * 70 + c]);
      EXPECT_NEAR(out[r], total * static_cast<double>(scales[r]), 1e-4) << set->name;
    }
  }
}

TEST(KernelSets, TheActiveOneIsTheLastOrTheOneNamed) {
  const char* wish = std::getenv("RETORT_ISA");
  EXPECT_EQ(kernel_set().name, wish != nullptr ? wish : kernel_sets().back()->name);
}

TEST(KernelProduct, SizesThatDoNotFitAreErrors) {
  ThreadPool pool(1);
  const Encoding& q8 = find_encoding("q8_0", "test");
  const std::vector<std::byte> bytes(34 * 4);
  EXPECT_THROW(WeightMatrix({.encoding = &q8, .bytes = bytes, .rows = 4, .columns = 33, .name = "w"}, pool),
               Error);
  EXPECT_THROW(WeightMatrix({.encoding = &q8, .bytes = bytes, .rows = 5, .columns = 32, .name = "w"}, pool),
               Error);
  EXPECT_THROW(
      WeightMatrix(
          {.encoding = &q8, .bytes = bytes, .rows = std::int64_t{1} << 60, .columns = 32, .name = "w"}, pool),
      Error);
  EXPECT_NO_THROW(
      WeightMatrix({.encoding = &q8, .bytes = bytes, .rows = 4, .columns = 32, .name = "w"}, pool));
}

}  // namespace
}  // namespace retort
