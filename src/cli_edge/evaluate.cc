// evaluate: judges a model, the trivial answer, or texts that any program wrote.
#include "evaluate/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "architecture/model_weights.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/progress.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

class Evaluate : public Verb {
 public:
  explicit Evaluate(std::unique_ptr<ModelOpener> opener) : opener_(std::move(opener)) {}

  void visit(OptionList& list) override {
    list.add("model", model_, "folder or .gguf file of the model to judge").path = PathRole::input;
    list.add("data", data_, "pairs that it has not seen").path = PathRole::input;
    list.add("copy", copy_, "judge the trivial answer instead of a model: the input itself");
    list.add("hypotheses", hypotheses_, "judge texts instead of a model: a file with one a line").path =
        PathRole::input;
    list.add("references", references_, "the right answers to hypotheses, one a line").path = PathRole::input;
    list.add("metrics", metrics_, "for hypotheses: what to compute").choices = {"bleu", "rouge"};
    list.add("json", json_, "file for the figures ('-': standard output)").path = PathRole::output;
    list.add("outputs", outputs_, "file for every pair's texts and counts, one JSON object a line").path =
        PathRole::output;
    options_.visit(list);
    opener_->visit(list);
  }

  // Only a model takes long.
  bool heeds_interrupts() const override { return hypotheses_.empty() && !copy_; }

  Json run() override {
    // Before hours of work, not after.
    for (const std::string& path : {json_, outputs_})
      if (fs::is_directory(path))
        throw Error({.where = path, .found = "a folder", .expected = "a file to write", .advice = ""});
    Json figures;
    Evaluation evaluation;
    if (!hypotheses_.empty()) {
      if (references_.empty())
        throw Error({.where = "references",
                     .found = "nothing",
                     .expected = "a file beside hypotheses",
                     .advice = ""});
      evaluation = evaluate_texts(hypotheses_, references_, options_);
    } else {
      if (data_.empty() || (model_.empty() && !copy_))
        throw Error({.where = "evaluate",
                     .found = data_.empty() ? "no data" : "no model",
                     .expected = "model (or --copy) and data, or hypotheses and references",
                     .advice = ""});
      evaluation = judge();
    }
    if (evaluation.stopped) {
      log_info("Stopped; no figures were written.");
      return nullptr;
    }
    figures = evaluation.to_json();
    if (!hypotheses_.empty())
      for (const char* metric : {"bleu", "rouge"})
        if (std::find(metrics_.begin(), metrics_.end(), metric) == metrics_.end())
          drop_metric(figures, metric);
    figures["machine"] = machine().to_json();
    if (!model_facts_.is_null()) figures.update(model_facts_);
    write_result(json_, figures);
    options_.progress = {};
    if (!outputs_.empty()) write_outputs(outputs_, evaluation);
    log_info("{}", summary(evaluation));
    return figures;
  }

 private:
  Evaluation judge() {
    const auto records = open_records(data_);
    if (copy_) return evaluate_copy(*records, options_);
    const OpenedModel opened = opener_->open(model_);
    model_facts_ = {{"parameters", parameter_count(opened.model->config())},
                    {"file_bytes", weight_bytes(model_)},
                    {"compute", opened.compute}};
    if (!opened.chat_template)
      throw Error({.where = model_,
                   .found = "no chat template",
                   .expected = "chat_template.jinja",
                   .advice = "Pairs are asked in the model's own prompt format."});
    options_.cancelled = interrupt_requested;
    std::unique_ptr<Progress> bar;
    EvaluatePhase shown = EvaluatePhase::likelihood;
    options_.progress = [&](EvaluatePhase phase, std::int64_t done, std::int64_t total) {
      if (!bar || phase != shown) {
        const char* label = phase == EvaluatePhase::likelihood   ? "likelihood"
                            : phase == EvaluatePhase::generation ? "answers"
                                                                 : "latency";
        bar.reset();
        bar = std::make_unique<Progress>(label, static_cast<std::uint64_t>(total), "pairs");
        shown = phase;
      }
      bar->update(static_cast<std::uint64_t>(done));
    };
    return evaluate_model(*opened.model, *opened.tokenizer, *opened.chat_template, *records, options_);
  }

  static void drop_metric(Json& figures, const std::string& prefix) {
    std::vector<std::string> drop;
    for (const auto& [key, value] : figures.items())
      if (key.rfind(prefix, 0) == 0) drop.push_back(key);
    for (const std::string& key : drop) figures.erase(key);
  }

  static std::string summary(const Evaluation& e) {
    std::vector<std::string> figures;
    if (e.has_answers)
      figures.push_back(fmt::format("BLEU-4 {:.2f} [{:.2f}, {:.2f}], ROUGE-L {:.4f}", e.bleu4,
                                    e.bleu4_interval.low, e.bleu4_interval.high, e.rouge_l));
    if (e.has_likelihood)
      figures.push_back(
          fmt::format("{:.4f} nats per character, {:.4f} per token", e.nats_per_char, e.nats_per_token));
    if (e.tokens_per_second > 0) figures.push_back(fmt::format("{:.0f} tokens/s", e.tokens_per_second));
    std::string text = fmt::format("{} pairs: {}", e.pairs.size(), fmt::join(figures, ", "));
    if (e.skipped.count > 0)
      text += fmt::format("; {} skipped, first {}", e.skipped.count, fmt::join(e.skipped.first, "; "));
    return text;
  }

  std::string model_, data_, hypotheses_, references_, json_, outputs_;
  std::vector<std::string> metrics_ = {"bleu", "rouge"};
  bool copy_ = false;
  Json model_facts_;
  EvaluateOptions options_;
  std::unique_ptr<ModelOpener> opener_;
};

}  // namespace

std::unique_ptr<Verb> make_evaluate(std::unique_ptr<ModelOpener> opener) {
  return std::make_unique<Evaluate>(std::move(opener));
}

}  // namespace retort
