// bench: how fast the CPU engine reads prompts and answers, and how much of the machine's memory bandwidth
// that is.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/random.h"
#include "cli_edge/energy.h"
#include "cli_edge/engine_opener.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"
#include "runtime/kernels/kernel_set.h"
#include "runtime/log_softmax.h"
#include "runtime/read_bandwidth.h"

namespace retort {
namespace {

// Of the sorted values: nearest rank.
double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size()) + 0.999999);
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

class Bench : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "model folder or .gguf file");
    model.required = true;
    model.path = PathRole::input;
    list.add("prompt", prompt_, "tokens of a prompt");
    list.add("generate", generate_, "tokens of an answer, drawn behind the prompt");
    list.add("batch", batches_, "sequences answered together: one row of the table each");
    list.add("repeat", repeat_, "measurements of each figure; the median is told");
    list.add("adapter", adapters_,
             "adapters, of which each sequence takes the next in turn: PEFT folders or GGUF adapters");
    list.add("answers", answers_, "answers made one at a time for latency at 50 and 99 %; 0 = none");
    list.add("json", json_, "file for the figures ('-': standard output)").path = PathRole::output;
    options_.visit_computing(list);
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    if (prompt_ < 1 || generate_ < 1 || repeat_ < 1 || batches_.empty() ||
        *std::min_element(batches_.begin(), batches_.end()) < 1)
      throw Error({.where = "bench",
                   .found = "a count below 1",
                   .expected = "prompt, generate, repeat and batch of at least 1"});
    options_.reuse_prefix = false;
    const std::int64_t largest = *std::max_element(batches_.begin(), batches_.end());
    options_.max_batch_tokens =
        std::max({options_.max_batch_tokens, std::min<std::int64_t>(prompt_, 8192), largest});
    Engine engine(open_model_weights(model_), options_);
    for (const std::string& path : adapters_) load_adapters(engine, path, {{.path = path}});
    const std::int64_t context = engine.config().max_position_embeddings;
    std::int64_t prefix = 0;
    for (const std::string& path : adapters_) prefix = std::max(prefix, engine.virtual_tokens(path));
    if (const std::int64_t longest = prefix + prompt_ + steps(); longest > context)
      throw Error({.where = "bench",
                   .found = fmt::format("{} tokens of prompt and answer", longest),
                   .expected = fmt::format("at most the model's context of {}", context)});
    ThreadPool pool(static_cast<int>(engine.options().threads));

    Json figures = {{"model", model_},          {"prompt", prompt_},
                    {"generate", generate_},    {"threads", engine.options().threads},
                    {"isa", kernel_set().name}, {"cache_dtype", engine.options().cache_dtype}};
    measure_prefill(engine, figures);
    Json rows = Json::array();
    const std::vector<SequenceId> ids = start(engine, largest);
    for (const std::int64_t batch : batches_)
      rows.push_back(measure_decode(engine, {ids.begin(), ids.begin() + batch}, pool));
    for (const SequenceId id : ids) engine.cache().remove(id);
    // The first batch's figures stand for the model.
    for (const char* key : {"read_bandwidth_gb_s", "decode_tokens_per_second", "decode_bandwidth_gb_s",
                            "bytes_per_token", "joules_per_token", "watts"})
      if (rows[0].contains(key)) figures[key] = rows[0][key];
    figures["batches"] = rows;
    if (answers_ > 0) measure_latency(engine, figures);
    figures["resident_bytes"] = resident_memory_bytes();
    figures["peak_memory_bytes"] = peak_memory_bytes();
    figures["machine"] = machine().to_json();
    if (json_ != "-") print(figures);
    write_result(json_, figures);
    return figures;
  }

 private:
  // Tokens that follow a prompt: one before the clock starts, and at least one more.
  std::int64_t steps() const { return std::max<std::int64_t>(2, generate_); }

  // Reads a random prompt into each sequence.
  std::vector<SequenceId> start(Engine& engine, std::int64_t count) {
    std::vector<SequenceId> ids;
    for (std::int64_t i = 0; i < count; ++i) {
      ids.push_back(open(engine, i));
      read_prompt(engine, ids.back());
    }
    return ids;
  }

  std::string adapter_of(std::int64_t number) const {
    return adapters_.empty() ? "" : adapters_[static_cast<std::size_t>(number) % adapters_.size()];
  }
  SequenceId open(Engine& engine, std::int64_t number) const { return engine.open(adapter_of(number)); }

  // The likeliest of a row's tokens; of logits that are no numbers any will do.
  static TokenId likeliest(std::span<const float> logits) { return std::max(0, row_maximum(logits).index); }

  void read_prompt(Engine& engine, SequenceId id) {
    std::vector<TokenId> tokens(static_cast<std::size_t>(prompt_));
    for (TokenId& token : tokens)
      token = static_cast<TokenId>(random_.below(static_cast<std::uint64_t>(engine.config().vocab_size)));
    const auto piece_size = static_cast<std::size_t>(engine.options().max_batch_tokens);
    for (std::size_t begin = 0; begin < tokens.size(); begin += piece_size) {
      const std::size_t count = std::min(piece_size, tokens.size() - begin);
      const Piece piece{id, std::span(tokens).subspan(begin, count),
                        begin + count == tokens.size() ? Outputs::last : Outputs::none};
      if (engine.step(std::span(&piece, 1)) > 0) next_ = likeliest(engine.logits(0, 1));
    }
  }

  // Forgets what follows the prompts.
  void rewind(Engine& engine, const std::vector<SequenceId>& ids) {
    for (std::size_t i = 0; i < ids.size(); ++i)
      engine.cache().truncate(ids[i],
                              engine.virtual_tokens(adapter_of(static_cast<std::int64_t>(i))) + prompt_);
  }

  // One more token for each sequence, the likeliest of its logits.
  void step(Engine& engine, const std::vector<SequenceId>& ids, std::vector<TokenId>& tokens) {
    pieces_.clear();
    for (std::size_t i = 0; i < ids.size(); ++i)
      pieces_.push_back({ids[i], std::span(tokens).subspan(i, 1), Outputs::last});
    const std::int64_t rows = engine.step(pieces_);
    for (std::int64_t begin = 0; begin < rows; begin += engine.max_logit_rows()) {
      const std::int64_t count = std::min(engine.max_logit_rows(), rows - begin);
      const std::span<float> logits = engine.logits(begin, count);
      const auto width = static_cast<std::size_t>(engine.config().vocab_size);
      for (std::int64_t i = 0; i < count; ++i)
        tokens[static_cast<std::size_t>(begin + i)] =
            likeliest(logits.subspan(static_cast<std::size_t>(i) * width, width));
    }
  }

  void measure_prefill(Engine& engine, Json& figures) {
    std::vector<double> seconds;
    for (std::int64_t i = 0; i <= repeat_; ++i) {  // the first one warms up
      const SequenceId id = open(engine, 0);
      const Clock::time_point begin = Clock::now();
      read_prompt(engine, id);
      seconds.push_back(seconds_since(begin));
      engine.cache().remove(id);
    }
    seconds.erase(seconds.begin());
    figures["prefill_tokens_per_second"] = static_cast<double>(prompt_) / percentile(seconds, 0.5);
  }

  // ids: sequences that have read their prompts. The memory's speed, which other users of the machine change,
  // is the mean of before and after.
  Json measure_decode(Engine& engine, const std::vector<SequenceId>& ids, ThreadPool& pool) {
    const auto batch = static_cast<std::int64_t>(ids.size());
    const double before = read_bandwidth(pool);
    std::vector<double> seconds;
    for (std::int64_t i = 0; i < repeat_; ++i) {
      std::vector<TokenId> tokens(ids.size(), next_);
      step(engine, ids, tokens);
      const Clock::time_point begin = Clock::now();
      for (std::int64_t t = 1; t < steps(); ++t) step(engine, ids, tokens);
      seconds.push_back(seconds_since(begin));
      rewind(engine, ids);
    }
    const double bandwidth = (before + read_bandwidth(pool)) / 2;
    const double tokens_per_second = static_cast<double>((steps() - 1) * batch) / percentile(seconds, 0.5);
    // A step reads the weights once, and each sequence's cache.
    std::int64_t prefixes = 0;
    for (std::int64_t i = 0; i < batch; ++i) prefixes += engine.virtual_tokens(adapter_of(i));
    const std::int64_t depth = prefixes / batch + prompt_ + generate_ / 2;
    const double weights = engine.bytes_per_token(0), cache = engine.bytes_per_token(depth) - weights;
    const double bytes = weights / static_cast<double>(batch) + cache;
    Json row = {{"batch", batch},
                {"read_bandwidth_gb_s", 1e-9 * bandwidth},
                {"decode_tokens_per_second", tokens_per_second},
                {"bytes_per_token", bytes},
                {"decode_bandwidth_gb_s", 1e-9 * bytes * tokens_per_second},
                {"share_of_read_bandwidth", bytes * tokens_per_second / bandwidth}};
    if (batch == batches_.front() && energy_joules()) measure_energy(engine, ids, row);
    return row;
  }

  void measure_energy(Engine& engine, const std::vector<SequenceId>& ids, Json& row) {
    std::vector<TokenId> tokens(ids.size(), next_);
    const std::optional<double> before = energy_joules();
    const Clock::time_point begin = Clock::now();
    for (std::int64_t t = 0; t < generate_; ++t) step(engine, ids, tokens);
    const double seconds = seconds_since(begin), joules = energy_joules().value_or(0) - before.value_or(0);
    rewind(engine, ids);
    if (joules <= 0) return;  // the counter wrapped
    row["joules_per_token"] = joules / static_cast<double>(generate_ * static_cast<std::int64_t>(ids.size()));
    row["watts"] = joules / seconds;
  }

  void measure_latency(Engine& engine, Json& figures) {
    std::vector<double> first, whole;
    for (std::int64_t i = 0; i < answers_; ++i) {
      const Clock::time_point begin = Clock::now();
      const SequenceId id = open(engine, i);
      read_prompt(engine, id);
      first.push_back(1000 * seconds_since(begin));
      std::vector<TokenId> tokens(1, next_);
      for (std::int64_t t = 1; t < generate_; ++t) step(engine, {id}, tokens);
      whole.push_back(1000 * seconds_since(begin));
      engine.cache().remove(id);
    }
    figures["first_token_median_ms"] = percentile(first, 0.5);
    figures["first_token_p99_ms"] = percentile(first, 0.99);
    figures["latency_median_ms"] = percentile(whole, 0.5);
    figures["latency_p99_ms"] = percentile(whole, 0.99);
  }

  static void print(const Json& figures) {
    const auto number = [&](const char* key) { return figures.value(key, 0.0); };
    std::printf("%s\n",
                fmt::format("{} threads, {}; reading memory at {:.1f} GB/s", figures["threads"].get<int>(),
                            figures["isa"].get<std::string>(), number("read_bandwidth_gb_s"))
                    .c_str());
    std::printf("%s\n",
                fmt::format("prompt of {} tokens: {:.1f} tokens/s", figures["prompt"].get<std::int64_t>(),
                            number("prefill_tokens_per_second"))
                    .c_str());
    std::printf("  batch   tokens/s   MB/token    GB/s   share of bandwidth\n");
    for (const Json& row : figures["batches"])
      std::printf("%s\n", fmt::format("{:7} {:10.1f} {:10.1f} {:7.1f} {:10.0f} %", row["batch"].get<int>(),
                                      row["decode_tokens_per_second"].get<double>(),
                                      1e-6 * row["bytes_per_token"].get<double>(),
                                      row["decode_bandwidth_gb_s"].get<double>(),
                                      100 * row["share_of_read_bandwidth"].get<double>())
                              .c_str());
    if (figures.contains("latency_median_ms"))
      std::printf(
          "%s\n",
          fmt::format("answers alone: first token {:.1f} ms (99 %: {:.1f}), whole {:.0f} ms (99 %: {:.0f})",
                      number("first_token_median_ms"), number("first_token_p99_ms"),
                      number("latency_median_ms"), number("latency_p99_ms"))
              .c_str());
    if (figures.contains("joules_per_token"))
      std::printf("%s\n", fmt::format("{:.3f} joules a token, {:.1f} watts", number("joules_per_token"),
                                      number("watts"))
                              .c_str());
  }

  std::string model_, json_;
  std::int64_t prompt_ = 512, generate_ = 64, repeat_ = 3, answers_ = 8;
  std::vector<std::int64_t> batches_ = {1, 2, 4, 8, 16, 32};
  std::vector<std::string> adapters_;
  EngineOptions options_;
  Random random_{1};
  TokenId next_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace

std::unique_ptr<Verb> make_bench() { return std::make_unique<Bench>(); }

}  // namespace retort
