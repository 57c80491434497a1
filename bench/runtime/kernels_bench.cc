// Products of the kernels at the shapes of a Qwen3-0.6B layer (hidden 1,024, 16 and 8 heads of 128, FFN
// 3,072), for each encoding and number of activation rows: multiply-adds a second, and bytes of packed
// weights a second. 64 rows and more are a prompt's. The weights of several layers pass the last cache, as in
// decoding. The best of a few short passes, since machines are shared.
//
//   kernels_bench [encoding or "attention" ...] [--rows n,n,...] [--layers n] [--threads n] [--seconds s]
#include <fmt/format.h>

#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/multiply.h"
#include "runtime/read_bandwidth.h"

namespace retort {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kPrompt = 64;

struct Options {
  std::vector<std::string> encodings = {"attention", "q8_0", "q4_0", "q4_k", "q6_k", "bf16", "f16", "f32"};
  std::vector<std::int64_t> rows = {1, 2, 4, 8, 16, 64, 512};
  int layers = 8, threads = 0;
  double seconds = 0.6;
};

struct Layer {
  WeightMatrix q, k, v, o, gate, up, down;
};

WeightMatrix random_matrix(const Encoding& encoding, std::int64_t rows, std::int64_t columns,
                           ThreadPool& pool) {
  // 64 encoded rows, repeated.
  const std::int64_t distinct = std::min<std::int64_t>(rows, 64);
  static std::uint64_t seed = 0;
  Random random(++seed);
  std::vector<float> values(static_cast<std::size_t>(distinct * columns));
  for (auto& value : values) value = static_cast<float>(random.uniform() - 0.5);
  const auto row_bytes = static_cast<std::size_t>(encoding.byte_size(columns));
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows) * row_bytes);
  encode_rows(encoding, values, columns, {}, bytes.data(), "bench");
  for (std::size_t at = static_cast<std::size_t>(distinct) * row_bytes; at < bytes.size(); ++at)
    bytes[at] = bytes[at - static_cast<std::size_t>(distinct) * row_bytes];
  return WeightMatrix(
      {.encoding = &encoding, .bytes = bytes, .rows = rows, .columns = columns, .name = "bench"}, pool);
}

Layer random_layer(const Encoding& encoding, ThreadPool& pool) {
  const auto make = [&](std::int64_t rows, std::int64_t columns) {
    return random_matrix(encoding, rows, columns, pool);
  };
  return {make(2048, 1024), make(1024, 1024), make(1024, 1024), make(1024, 2048),
          make(3072, 1024), make(3072, 1024), make(1024, 3072)};
}

class Stack {
 public:
  Stack(const Encoding& encoding, int layers, std::int64_t rows, ThreadPool& pool) : pool_(pool) {
    for (int i = 0; i < layers; ++i) layers_.push_back(random_layer(encoding, pool));
    x_.assign(static_cast<std::size_t>(rows * 1024), 0.5f);
    Random random(1);
    for (auto& value : x_) value = static_cast<float>(random.normal());
    qkv_.resize(static_cast<std::size_t>(rows * 4096));
    inner_.resize(static_cast<std::size_t>(rows * 3072));
  }

  void run(std::int64_t n) {
    const std::vector<float> weight(1024, 1.0f);
    const NormOptions norm{.kind = NormKind::rms, .weight = weight.data(), .eps = 1e-6f};
    std::vector<std::int64_t> tile_rows(n >= kPrompt ? static_cast<std::size_t>(n) : 0);
    std::iota(tile_rows.begin(), tile_rows.end(), 0);
    const auto assign = [&](ActivationInput input, ActivationForms forms) {
      input.rows = n;
      input.tile_rows = tile_rows;
      activations_.assign(input, forms, pool_);
    };
    for (const Layer& layer : layers_) {
      const auto forms = static_cast<unsigned>(layer.q.form());
      assign({.x = x_.data(), .columns = 1024, .stride = 1024, .norm = norm}, forms);
      const Product products[] = {{.weights = &layer.q, .out = qkv_.data(), .stride = 4096},
                                  {.weights = &layer.k, .out = qkv_.data() + 2048, .stride = 4096},
                                  {.weights = &layer.v, .out = qkv_.data() + 3072, .stride = 4096}};
      multiply(activations_, products, pool_);
      assign({.x = qkv_.data(), .columns = 2048, .stride = 4096}, forms);
      multiply(activations_, {.weights = &layer.o, .out = x_.data(), .stride = 1024}, pool_);
      assign({.x = x_.data(), .columns = 1024, .stride = 1024, .norm = norm}, forms);
      multiply_gated(activations_,
                     {.gate = &layer.gate, .up = &layer.up, .out = inner_.data(), .stride = 3072}, pool_);
      assign({.x = inner_.data(), .columns = 3072, .stride = 3072}, forms);
      multiply(activations_, {.weights = &layer.down, .out = x_.data(), .stride = 1024}, pool_);
    }
  }

  double bytes() const {
    double total = 0;
    for (const Layer& l : layers_)
      for (const WeightMatrix* m : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down})
        total += static_cast<double>(m->memory_bytes());
    return total;
  }
  double weights() const {
    double total = 0;
    for (const Layer& l : layers_)
      for (const WeightMatrix* m : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down})
        total += static_cast<double>(m->rows() * m->columns());
    return total;
  }

 private:
  ThreadPool& pool_;
  std::vector<Layer> layers_;
  std::vector<float> x_, qkv_, inner_;
  Activations activations_;
};

// What threads used, which other users of the machine hardly change.
double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Times {
  double seconds = 1e30, processor = 1e30;
};

template <class Body>
Times best_times(double budget, const Body& body) {
  Times best;
  double used = 0;
  body();
  for (int pass = 0; pass < 3 || used < budget; ++pass) {
    const auto start = Clock::now();
    const double processor = processor_seconds();
    body();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best.seconds = std::min(best.seconds, seconds);
    best.processor = std::min(best.processor, processor_seconds() - processor);
    used += seconds;
  }
  return best;
}

// One layer's attention of 512 new tokens, and of 16 sequences with 64 tokens behind them.
void bench_attention(ThreadPool& pool, double budget) {
  const CacheLayout cache{.type = CacheType::f16, .block_tokens = 32, .kv_heads = 8, .head_dim = 128};
  AlignedBuffer memory(static_cast<std::size_t>(16 * 32 * cache.bytes()));
  std::fill(memory.data(), memory.data() + memory.size(), std::byte{0});
  const AttentionLayer layer{
      .cache = cache, .base = memory.data(), .block_stride = cache.bytes(), .heads = 16, .scale = 0.088f};
  std::vector<std::int32_t> blocks(16 * 32);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::int32_t>(i);
  std::vector<float> q(512 * 4096, 0.1f), out(512 * 2048);
  const auto time = [&](std::span<const CachedSequence> sequences, const char* name) {
    const Times write = best_times(budget / 2, [&] {
      write_cache(layer, sequences, {.k = q.data() + 2048, .v = q.data() + 3072, .stride = 4096}, pool);
    });
    const Times all = best_times(budget / 2, [&] {
      attend(layer, sequences, {.q = q.data(), .out = out.data(), .q_stride = 4096, .out_stride = 2048},
             pool);
    });
    fmt::print("attention {:24} {:8.3f} ms a layer ({:.3f} of a processor), writing the cache {:.3f}\n", name,
               all.seconds * 1e3, all.processor * 1e3, write.seconds * 1e3);
  };
  const CachedSequence prompt{.blocks = blocks, .past = 0, .first_query = 0, .queries = 512};
  time(std::span(&prompt, 1), "512 new tokens");
  const CachedSequence one{.blocks = blocks, .past = 511, .first_query = 0, .queries = 1};
  time(std::span(&one, 1), "1 after 511");
  std::vector<CachedSequence> many;
  for (std::size_t s = 0; s < 16; ++s)
    many.push_back({.blocks = std::span(blocks).subspan(s * 32, 32),
                    .past = 64,
                    .first_query = static_cast<std::int64_t>(s),
                    .queries = 1});
  time(many, "16 sequences after 64");
}

int run(const Options& options) {
  ThreadPool pool(options.threads);
  fmt::print("kernels {} ({}), {} threads, {:.1f} GB/s read at best\n", kernel_set().name,
             kernel_set().summary, pool.threads(), 1e-9 * read_bandwidth(pool));
  fmt::print("{:10} {:>6} {:>12} {:>10} {:>20} {:>10} {:>16}\n", "encoding", "rows", "ms a layer", "GMAC/s",
             "a processor's GMAC/s", "GB/s", "rows/s, 28 layers");
  for (const std::string& name : options.encodings) {
    if (name == "attention") {
      bench_attention(pool, options.seconds);
      continue;
    }
    std::int64_t most = 1;
    for (const std::int64_t n : options.rows) most = std::max(most, n);
    Stack stack(find_encoding(name, "kernels_bench"), options.layers, most, pool);
    for (const std::int64_t n : options.rows) {
      const Times times = best_times(options.seconds, [&] { stack.run(n); });
      const double work = 1e-9 * stack.weights() * static_cast<double>(n), seconds = times.seconds;
      fmt::print("{:10} {:>6} {:>12.3f} {:>10.1f} {:>20.1f} {:>10.2f} {:>16.1f}\n", name, n,
                 seconds * 1e3 / options.layers, work / seconds, work / times.processor,
                 1e-9 * stack.bytes() / seconds, static_cast<double>(n) / (seconds * 28 / options.layers));
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  retort::Options options;
  std::vector<std::string> encodings;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool has_value = i + 1 < argc;
    if (argument == "--rows" && has_value) {
      options.rows.clear();
      std::string list = argv[++i];
      for (std::size_t at = 0; at < list.size();) {
        const std::size_t comma = std::min(list.find(',', at), list.size());
        options.rows.push_back(std::atoll(list.substr(at, comma - at).c_str()));
        at = comma + 1;
      }
    } else if (argument == "--layers" && has_value) {
      options.layers = std::atoi(argv[++i]);
    } else if (argument == "--threads" && has_value) {
      options.threads = std::atoi(argv[++i]);
    } else if (argument == "--seconds" && has_value) {
      options.seconds = std::atof(argv[++i]);
    } else {
      encodings.push_back(argument);
    }
  }
  if (!encodings.empty()) options.encodings = encodings;
  return retort::run(options);
}
