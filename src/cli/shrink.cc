// retort shrink: a smaller student out of a larger model.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "architecture/family.h"
#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/compute.h"
#include "cli/registry.h"
#include "cli_edge/program.h"
#include "compress/shrink/budget.h"
#include "compress/shrink/layers.h"
#include "report/table.h"

namespace retort {
namespace {

constexpr std::int64_t kTableContext = 512;  // tokens before the one whose FLOPs are told

class Shrink : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "folder of the model to cut");
    model.required = true;
    model.path = PathRole::input;
    list.add("layers", layers_, "layers to keep, counted from 0, e.g. 0,2,4,6");
    list.add("num_layers", num_layers_, "or: how many to keep");
    list.add("choose_layers", choose_layers_,
             "the num_layers to keep: evenly spread (the first and the last among them), those that change "
             "the hidden states most (influence), or one after another is taken away that costs least "
             "likelihood (loss); auto: loss with calibration, spread without")
        .choices = {"auto", "spread", "influence", "loss"};
    list.add("heads", sizes_.heads, "query heads of each layer to keep");
    list.add("kv_heads", sizes_.key_value_heads,
             "key/value heads of each layer to keep; by default whole groups go where `heads` allows it, "
             "else as many query heads of every group");
    list.add("ffn", sizes_.ffn, "FFN width to keep");
    list.add("hidden", sizes_.hidden, "hidden width to keep");
    list.add(
        "parameters", parameters_,
        "instead of other sizes than hidden: at most so many, e.g. 12M; layers, heads and FFN width then "
        "keep one same share");
    list.add("branch_scale", branch_scale_,
             "factor on the outputs of attention and FFN, for when layers go: √(before / after) keeps their "
             "variance");
    list.add("calibration", calibration_,
             "pairs, dialogues or text by which heads, channels and layers are ranked; without it, weights "
             "rank them")
        .path = PathRole::input;
    list.add("calibration_records", records_, "read at most so many records of it");
    list.add("max_length", max_length_, "tokens of a calibration record; longer ones are left out or cut");
    Option& out = list.add("out", out_, "folder to write");
    out.required = true;
    out.path = PathRole::output;
    list.add("json", json_, "file for the figures ('-': standard output)").path = PathRole::output;
    compute_.visit(list);
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    check_options();
    compute_.apply();
    const ModelFolder folder(model_);
    const ModelConfig& config = folder.config();
    folder.check_weights();
    if (!parameters_.empty()) {
      const Budget budget = fit_budget(config, parse_count(parameters_), sizes_.hidden);
      num_layers_ = budget.num_layers;
      sizes_ = budget.sizes;
    }
    std::optional<Calibration> calibration;
    std::optional<CausalLM> model;
    std::optional<double> nats_before, nats_after;
    if (!calibration_.empty()) {
      calibration = read_calibration(folder, calibration_, records_, max_length_);
      model.emplace(folder, compute_.torch_device(), compute_.dtype());
      nats_before = nats_per_token(*model, *calibration);
    }
    const std::vector<std::int64_t> layers = choose_layers(config, model, calibration);
    Cut cut = keep_layers(config, layers);
    cut.branch_scale = branch_scale_;
    if (sizes_ != ShrinkSizes()) {
      if (!calibration) log_info("Without calibration texts, norms of weights rank heads and channels.");
      if (calibration) keep_blocks(*model, layers);
      cut_to_sizes(config, sizes_,
                   calibration ? score_by_activations(*model, *calibration) : weight_scores(folder, cut),
                   cut);
    }
    write_cut(folder, cut, out_);
    const ModelFolder smaller(out_);
    if (calibration)
      nats_after = nats_per_token(CausalLM(smaller, compute_.torch_device(), compute_.dtype()), *calibration);
    warn_of_transformers(smaller.config());
    const Json before = describe(folder, nats_before), after = describe(smaller, nats_after);
    if (json_ != "-") std::printf("%s", render_table(table(before, after)).c_str());
    const Json figures = {{"layers", layers},
                          {"parameters_before", before.at("parameters")},
                          {"parameters", after.at("parameters")},
                          {"before", before},
                          {"after", after}};
    write_result(json_, figures);
    return figures;
  }

 private:
  void check_options() const {
    const auto refuse = [](const char* found, const char* expected) {
      throw Error({.where = "shrink", .found = found, .expected = expected, .advice = ""});
    };
    ShrinkSizes sizes = sizes_;
    if (!parameters_.empty()) sizes.hidden = 0;  // which a budget leaves as it is
    const bool sized = !layers_.empty() || num_layers_ != 0 || sizes != ShrinkSizes();
    if (!layers_.empty() && num_layers_ != 0) refuse("both layers and num_layers", "one of them");
    if (!parameters_.empty() && sized)
      refuse("both parameters and sizes", "one of them (hidden may stand beside parameters)");
    if (!sized && parameters_.empty())
      refuse("nothing to cut", "layers, num_layers, heads, kv_heads, ffn, hidden or parameters");
    if (!(branch_scale_ > 0) || !std::isfinite(branch_scale_))
      throw Error({.where = "branch_scale",
                   .found = fmt::format("{}", branch_scale_),
                   .expected = "a number above 0",
                   .advice = ""});
    if ((choose_layers_ == "influence" || choose_layers_ == "loss") && calibration_.empty())
      refuse(("choose_layers " + choose_layers_ + " without calibration").c_str(), "texts to choose by");
  }

  std::vector<std::int64_t> choose_layers(const ModelConfig& config, std::optional<CausalLM>& model,
                                          const std::optional<Calibration>& calibration) const {
    if (!layers_.empty()) return layers_;
    const std::int64_t total = config.num_hidden_layers(), count = num_layers_ == 0 ? total : num_layers_;
    if (choose_layers_ == "spread" || !calibration || count == total) return spread_layers(total, count);
    if (choose_layers_ == "influence")
      return influential_layers(score_by_activations(*model, *calibration), count);
    std::unique_ptr<Progress> bar;
    return search_layers(*model, *calibration, count, [&](std::int64_t done, std::int64_t all) {
      if (!bar) bar = std::make_unique<Progress>("layers", static_cast<std::uint64_t>(all), "cuts");
      bar->update(static_cast<std::uint64_t>(done));
    });
  }

  static UnitScores weight_scores(const ModelFolder& folder, const Cut& cut) {
    return score_by_weights(
        cut_config(folder.config(), cut),
        cut_parameters(folder.config(), cut, [&](const ParameterSpec& spec) { return folder.load(spec); }));
  }

  static void warn_of_transformers(const ModelConfig& config) {
    const LayerConfig& layer = config.layers.front();
    if (config.hf_config.contains("retort_layers"))
      log_warning("transformers cannot load this folder: it knows no layers that differ.");
    else if (!find_family(config.model_type, "config.json").has_head_dim &&
             layer.num_attention_heads * config.head_dim != config.hidden_size)
      log_warning(
          "transformers cannot load this folder: its {} has no head_dim, and {} heads of {} are not the "
          "hidden width {}.",
          config.model_type, layer.num_attention_heads, config.head_dim, config.hidden_size);
  }

  static Json describe(const ModelFolder& folder, std::optional<double> nats) {
    const ModelConfig& config = folder.config();
    const LayerConfig& layer = config.layers.front();
    std::uint64_t bytes = 0;
    for (const TensorView& tensor : folder.weights().tensors()) bytes += tensor.bytes.size();
    Json row = {{"layers", config.num_hidden_layers()},
                {"heads", layer.num_attention_heads},
                {"kv_heads", layer.num_key_value_heads},
                {"head_dim", config.head_dim},
                {"ffn", layer.intermediate_size},
                {"hidden", config.hidden_size},
                {"parameters", parameter_count(config)},
                {"bytes", bytes},
                {"flops_per_token",
                 flops_per_token(config, std::min(kTableContext, config.max_position_embeddings))}};
    if (nats) row["nats_per_token"] = *nats;
    return row;
  }

  static Json table(const Json& before, const Json& after) {
    Json columns = Json::array();
    const auto column = [&](const char* key, const char* title, const char* unit, int digits) {
      if (before.contains(key))
        columns.push_back(
            {{"key", key}, {"title", title}, {"unit", unit}, {"better", "none"}, {"digits", digits}});
    };
    column("layers", "layers", "", 0);
    column("heads", "heads", "", 0);
    column("kv_heads", "kv heads", "", 0);
    column("head_dim", "head dim", "", 0);
    column("ffn", "FFN", "", 0);
    column("hidden", "hidden", "", 0);
    column("parameters", "parameters", "M", 2);
    column("bytes", "weights", "MB", 1);
    column("flops_per_token", "FLOPs per token", "M", 1);
    column("nats_per_token", "nats per token", "", 4);
    const auto row = [](const char* name, Json values) {
      for (const char* key : {"parameters", "bytes", "flops_per_token"})
        values[key] = values.at(key).get<double>() / 1e6;
      return Json{{"name", name}, {"values", std::move(values)}};
    };
    return {{"columns", columns}, {"rows", Json::array({row("before", before), row("after", after)})}};
  }

  std::string model_, out_, json_, calibration_, choose_layers_ = "auto", parameters_;
  std::vector<std::int64_t> layers_;
  std::int64_t num_layers_ = 0, records_ = 256, max_length_ = 512;
  double branch_scale_ = 1;
  ShrinkSizes sizes_;
  ComputeOptions compute_;
};

}  // namespace

std::unique_ptr<Verb> make_shrink() { return std::make_unique<Shrink>(); }

}  // namespace retort
