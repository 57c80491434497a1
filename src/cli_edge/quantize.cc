// quantize: a model in fewer bits, with what it lost by kind of tensor.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <map>

#include "architecture/i8_channel.h"
#include "architecture/importance.h"
#include "architecture/mixture.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli_edge/calibration.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"
#include "data/export_model.h"
#include "data/gguf_tokenizer.h"
#include "runtime/engine_options.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr const char* kI8Name = "i8_channel";

// Sums over the tensors of one kind (or one layer).
struct Loss {
  std::map<std::string, std::int64_t> weights;  // by encoding
  double bits = 0, squared_error = 0, squared = 0;

  std::int64_t count() const {
    std::int64_t sum = 0;
    for (const auto& [encoding, weights_of] : weights) sum += weights_of;
    return sum;
  }
  void add(std::string_view encoding, double bits_per_weight, std::span<const float> before,
           std::span<const float> after) {
    weights[std::string(encoding)] += static_cast<std::int64_t>(before.size());
    bits += bits_per_weight * static_cast<double>(before.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      const double off = static_cast<double>(after[i]) - before[i];
      squared_error += off * off;
      squared += static_cast<double>(before[i]) * before[i];
    }
  }
  Json to_json() const {
    const double all = static_cast<double>(count());
    return {{"encodings", weights},
            {"weights", count()},
            {"bits_per_weight", bits / all},
            {"mean_squared_error", squared_error / all},
            {"relative_error", squared > 0 ? std::sqrt(squared_error / squared) : 0.0}};
  }
};

class Quantize : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "model folder or .gguf file");
    model.required = true;
    model.path = PathRole::input;
    Option& encoding = list.add("encoding", encoding_, "encoding or mixture");
    encoding.required = true;
    for (const Mixture& mixture : mixtures()) encoding.choices.emplace_back(mixture.name);
    encoding.choices.emplace_back(kI8Name);
    Option& out = list.add("out", out_, ".gguf file to write; of i8_channel: a folder");
    out.required = true;
    out.path = PathRole::output;
    list.add("importance", importance_,
             "second moments of each matrix's inputs: llama.cpp's imatrix (.gguf), or .safetensors")
        .path = PathRole::input;
    list.add("activation_limit", activation_limit_, "of i8_channel: inputs are clamped to ±this (0: not)");
    list.add("calibration", calibration_,
             "of i8_channel: pairs, dialogues or texts, on which each layer's inputs are measured: what "
             "clamping "
             "and rounding loses of them is told")
        .path = PathRole::input;
    list.add("calibration_records", calibration_records_, "records of it that are read");
    list.add("calibrate_limits", calibrate_limits_,
             "each layer's limit is the largest input seen in --calibration, in place of --activation-limit");
    list.add("threads", threads_, "threads (0: one for each processor)");
    list.add("json", json_, "file for the figures ('-': standard output)").path = PathRole::output;
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    EngineOptions{.threads = threads_}.check();
    const auto weights = open_model_weights(model_);
    weights->check();
    parameters_ = parameter_count(weights->config());
    progress_ = std::make_unique<Progress>("quantize", static_cast<std::uint64_t>(parameters_), "weights");
    if (encoding_ == kI8Name)
      write_i8(*weights);
    else
      write_gguf_file(weights->config());
    progress_.reset();
    return report();
  }

 private:
  void write_gguf_file(const ModelConfig& config) {
    const Mixture& mixture = find_mixture(encoding_, "encoding");
    const std::unique_ptr<Importance> importance =
        importance_.empty() ? nullptr : open_importance(importance_);
    SaveGgufOptions options;
    options.threads = static_cast<unsigned>(threads_);
    options.encoding = [&](const GgufParameter& stored) -> const Encoding& {
      return choose_encoding(mixture, config, stored);
    };
    if (importance)
      options.importance = [&](const GgufParameter& stored) { return importance->of(stored, config); };
    options.written = [&](const GgufParameter& stored, const Encoding& encoding,
                          std::span<const float> before, std::span<const std::byte> blocks) {
      std::vector<float> after(before.size());
      encoding.decode(blocks.data(), after);
      note(stored.shape.size() > 1 ? tensor_kind(stored) : "norms, biases", encoding.name,
           encoding.bits_per_weight(), before, after);
    };
    if (const std::string caveat = export_gguf(model_, out_, mixture.file_type, options); !caveat.empty())
      log_message(LogLevel::warning, out_ + ": " + caveat);
  }

  void write_i8(const ModelWeights& weights) {
    if (looks_like_gguf(model_))
      throw Error({.where = "model",
                   .found = model_,
                   .expected = "a folder",
                   .advice = "Use retort export --format hf first."});
    I8ChannelOptions options;
    options.activation_limit = calibrate_limits_ ? 0 : activation_limit_;
    if (!(activation_limit_ >= 0))
      throw Error({.where = "activation_limit",
                   .found = fmt::format("{}", activation_limit_),
                   .expected = "0 or more"});
    if (calibrate_limits_ && calibration_.empty())
      throw Error({.where = "calibrate_limits", .found = "no calibration", .expected = "a file of texts"});
    if (calibration_records_ < 1)
      throw Error({.where = "calibration_records",
                   .found = fmt::format("{}", calibration_records_),
                   .expected = "at least 1"});
    AtomicFolder folder(out_);  // one that is there already is refused before the work
    if (!calibration_.empty()) {
      Calibration found = calibrate({.model = model_,
                                     .data = calibration_,
                                     .records = calibration_records_,
                                     .threads = threads_,
                                     .limit = options.activation_limit});
      if (calibrate_limits_) options.activation_limits = std::move(found.limits);
      inputs_ = std::move(found.inputs);
    }
    options.written = [&](const ParameterSpec& spec, std::span<const float> before,
                          std::span<const float> after) {
      note(spec.name, kI8Name, 8 + 32.0 / static_cast<double>(spec.shape[1]), before, after);
    };
    write_tokenizer_files(tokenizer_files(fs::path(model_)), folder.path());
    save_i8_folder(
        folder.path(), weights.config(), [&](const ParameterSpec& spec) { return weights.load(spec); },
        options);
    folder.commit();
  }

  void note(const std::string& kind, std::string_view encoding, double bits_per_weight,
            std::span<const float> before, std::span<const float> after) {
    if (!losses_.contains(kind)) kinds_.push_back(kind);
    losses_[kind].add(encoding, bits_per_weight, before, after);
    done_ += before.size();
    progress_->update(done_, kind);
  }

  Json report() const {
    const std::uint64_t bytes = weight_bytes(out_);
    Json figures = {{"out", out_},
                    {"encoding", encoding_},
                    {"bytes", bytes},
                    {"parameters", parameters_},
                    {"bits_per_weight", 8.0 * static_cast<double>(bytes) / static_cast<double>(parameters_)},
                    {"kinds", Json::object()}};
    for (const std::string& kind : kinds_) figures["kinds"][kind] = losses_.at(kind).to_json();
    if (!inputs_.empty()) figures["inputs"] = inputs_;
    if (json_ != "-") print(figures);
    write_result(json_, figures);
    return figures;
  }

  static void print(const Json& figures) {
    std::string lines = fmt::format("{:<42} {:>12} {:>6} {:>11} {:>9}  {}\n", "tensors", "weights", "bits",
                                    "squared err", "relative", "encodings");
    for (const auto& [kind, row] : figures["kinds"].items()) {
      std::string encodings;
      for (const auto& [encoding, count] : row["encodings"].items())
        encodings += (encodings.empty() ? "" : ", ") + encoding;
      lines += fmt::format("{:<42} {:>12} {:>6.2f} {:>11.3g} {:>8.3f}%  {}\n", kind,
                           row["weights"].get<std::int64_t>(), row["bits_per_weight"].get<double>(),
                           row["mean_squared_error"].get<double>(), 100 * row["relative_error"].get<double>(),
                           encodings);
    }
    if (const auto inputs = figures.find("inputs"); inputs != figures.end()) {
      lines += fmt::format("{:<42} {:>12} {:>10} {:>9} {:>9}\n", "inputs of", "largest", "limit", "clamped",
                           "relative");
      for (const auto& [name, row] : inputs->items())
        lines += fmt::format("{:<42} {:>12.4g} {:>10.4g} {:>8.4f}% {:>8.3f}%\n", name,
                             row["largest"].get<double>(), row["limit"].get<double>(),
                             100 * row["clamped"].get<double>(), 100 * row["relative_error"].get<double>());
    }
    std::fputs(lines.c_str(), stdout);
    log_info("{}: {:.2f} MB, {:.3f} bits a weight over the whole file", figures["out"].get<std::string>(),
             figures["bytes"].get<double>() / 1e6, figures["bits_per_weight"].get<double>());
  }

  std::string model_, encoding_, out_, importance_, calibration_, json_;
  double activation_limit_ = 6;
  bool calibrate_limits_ = false;
  std::int64_t threads_ = 0, parameters_ = 0, calibration_records_ = 64;
  Json inputs_ = Json::object();  // of i8_channel, when calibrated
  std::uint64_t done_ = 0;
  std::unique_ptr<Progress> progress_;
  std::vector<std::string> kinds_;
  std::map<std::string, Loss> losses_;
};

}  // namespace

std::unique_ptr<Verb> make_quantize() { return std::make_unique<Quantize>(); }

}  // namespace retort
