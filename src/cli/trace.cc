// retort trace: a teacher's distributions recorded once, so that many students learn from them without it.
#include <fmt/format.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/compute.h"
#include "cli/registry.h"
#include "cli_edge/program.h"
#include "data/dataset.h"
#include "data/trace_key.h"
#include "training/record_traces.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

class Trace : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& teacher = list.add("teacher", teacher_, "folder of the teacher");
    teacher.required = true;
    teacher.path = PathRole::input;
    list.add("data", data_, "files whose answers are to be learned: as for `distill`").required = true;
    list.add("limit", limit_, "read at most so many records of the data (0: all)");
    list.add("max_length", max_length_, "tokens of an example, as for `distill`");
    list.add("top_k", top_k_, "most probable tokens kept of each position");
    list.add("samples", samples_, "draws from the rest, which keep the recorded divergence unbiased");
    list.add("temperature", temperature_, "of the recorded distributions; distillation uses the same");
    list.add("seed", seed_, "of the draws");
    list.add("batch_tokens", batch_tokens_, "positions computed at a time");
    Option& out = list.add("out", out_, "folder of traces; what is there already is not recorded again");
    out.required = true;
    out.path = PathRole::output;
    list.add("json", json_, "file for the figures ('-': standard output)").path = PathRole::output;
    compute_.visit(list);
  }

  Json run() override {
    compute_.apply();
    const ModelFolder folder(teacher_);
    const auto tokenizer = open_tokenizer(teacher_);
    const auto chat_template = open_chat_template(teacher_);
    const TraceManifest manifest{.teacher = hash_path(teacher_),
                                 .tokenizer = tokenizer->fingerprint(),
                                 .vocab_size = std::min(folder.config().vocab_size, tokenizer->vocab_size()),
                                 .top_k = top_k_,
                                 .samples = samples_,
                                 .temperature = temperature_,
                                 .seed = seed_};
    TraceWriter writer(out_, manifest);
    const TraceStore known(out_);
    // All records: whatever `distill` sets aside for validation is left unread there.
    DatasetOptions options;
    options.data = data_;
    options.limit = limit_;
    options.max_length = max_length_;
    options.validation_share = 0;
    const auto& ends = folder.config().eos_token_ids;
    const Dataset dataset = load_dataset(options, *tokenizer, chat_template.get(),
                                         ends.empty() ? std::nullopt : std::optional<TokenId>(ends.front()));
    std::int64_t there = 0, there_targets = 0;
    for (std::int64_t i = 0; i < dataset.train.size(); ++i)
      if (const auto targets = known.targets(trace_key(dataset.train.get(i))))
        ++there, there_targets += *targets;
    log_info("{} examples with {} target tokens; {} are recorded already.", dataset.train.size(),
             dataset.train.total_targets(), there);
    if (there < dataset.train.size()) {
      writer.mark(false);
      CausalLM teacher(folder, compute_.torch_device(), compute_.dtype());
      teacher.set_requires_grad(false);
      Progress bar("recording", static_cast<std::uint64_t>(dataset.train.total_targets()), "targets",
                   static_cast<std::uint64_t>(there_targets));
      record_traces(teacher, dataset.train, &known, manifest, writer, {.batch_tokens = batch_tokens_},
                    [&](std::int64_t, std::int64_t targets) {
                      bar.update(static_cast<std::uint64_t>(there_targets + targets));
                    });
    }
    const bool stopped = interrupt_requested();
    if (!stopped) writer.mark(true);
    const TraceStore store(out_);
    const Json figures = store.describe();
    log_info("{} examples, {} target tokens, {:.1f} bytes each: {}{}", store.examples(),
             store.target_tokens(), figures.at("bytes_per_target_token").get<double>(), out_,
             stopped ? ". Stopped: the same command goes on from here." : "");
    if (!json_.empty()) write_result(json_, figures);
    return stopped ? Json() : figures;
  }

 private:
  std::string teacher_, out_, json_;
  std::vector<std::string> data_;
  std::int64_t limit_ = 0, max_length_ = DatasetOptions().max_length;
  std::int64_t top_k_ = 16, samples_ = 8, seed_ = 0, batch_tokens_ = 4096;
  double temperature_ = 1;
  ComputeOptions compute_;
};

}  // namespace

std::unique_ptr<Verb> make_trace() { return std::make_unique<Trace>(); }

}  // namespace retort
