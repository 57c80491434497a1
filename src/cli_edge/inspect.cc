// inspect: what a model folder or a weight file holds.
#include <fmt/format.h>

#include <cstdio>

#include "architecture/gguf_model.h"
#include "architecture/model_folder.h"
#include "base/error.h"
#include "cli_edge/program.h"
#include "cli_edge/verbs.h"
#include "formats/safetensors.h"
#include "formats/trace_store.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

class Inspect : public Verb {
 public:
  void visit(OptionList& list) override {
    list.add("path", path_,
             "model folder, .gguf or .safetensors file, folder of traces (may stand without its flag)")
        .path = PathRole::input;
    list.add("context", context_, "tokens of context that the FLOPs are counted at");
    list.add("tensors", tensors_, "list every tensor, and every value of a GGUF file's metadata");
    list.add("json", json_, "file for the figures ('-': standard output)").path = PathRole::output;
  }

  std::vector<std::string> take_arguments(std::vector<std::string> arguments) override {
    if (!arguments.empty() && arguments.front()[0] != '-') {
      path_ = arguments.front();
      arguments.erase(arguments.begin());
    }
    return arguments;
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    if (path_.empty())
      throw Error({.where = "path",
                   .found = "nothing",
                   .expected = "a model folder, a .gguf or a .safetensors file",
                   .advice = ""});
    Json figures = {{"path", path_}};
    std::unique_ptr<TensorSource> weights;
    if (looks_like_gguf(path_)) {
      const auto file = std::make_shared<const GgufFile>(path_);
      describe_gguf(file, figures);
      describe_weights(*file, figures);
    } else if (TraceStore::is_store(path_)) {
      figures.update(TraceStore(path_).describe());
    } else if (fs::exists(fs::path(path_) / "config.json")) {
      const ModelFolder folder(path_);
      describe_config(folder.config(), figures);
      if (folder.has_weights()) folder.check_weights(), weights = open_safetensors(path_);
    } else {
      weights = open_safetensors(path_);
    }
    if (weights) describe_weights(*weights, figures);
    if (json_ == "-")
      write_result(json_, figures);
    else
      print(figures), write_result(json_, figures);
    return figures;
  }

 private:
  void describe_config(const ModelConfig& config, Json& figures) const {
    figures["model_type"] = config.model_type;
    figures["hidden_size"] = config.hidden_size;
    figures["num_hidden_layers"] = config.num_hidden_layers();
    figures["vocab_size"] = config.vocab_size;
    figures["max_position_embeddings"] = config.max_position_embeddings;
    figures["parameters"] = parameter_count(config);
    figures["flops_per_token"] = flops_per_token(config, context_);
    Json layers = Json::array();
    for (const LayerConfig& layer : config.layers)
      layers.push_back({{"num_attention_heads", layer.num_attention_heads},
                        {"num_key_value_heads", layer.num_key_value_heads},
                        {"intermediate_size", layer.intermediate_size},
                        {"sliding_window", layer.sliding_window}});
    figures["layers"] = layers;
  }

  // A file whose model Retort cannot run is still described; "problem" says why it cannot.
  void describe_gguf(const std::shared_ptr<const GgufFile>& file, Json& figures) const {
    try {
      const auto model = gguf_weights(file);
      describe_config(model->config(), figures);
      model->check();
    } catch (const Error& error) {
      figures["problem"] = error.what();
    }
    if (tensors_) figures["metadata"] = file->metadata();
  }

  void describe_weights(const TensorSource& weights, Json& figures) const {
    std::uint64_t bytes = 0;
    std::int64_t weights_count = 0;
    Json list = Json::array();
    std::map<std::string, std::int64_t> types;
    for (const TensorView& tensor : weights.tensors()) {
      bytes += tensor.bytes.size();
      const std::string type(tensor.encoding != nullptr ? tensor.encoding->name : dtype_name(tensor.dtype));
      ++types[type];
      weights_count += tensor.element_count();
      if (tensors_)
        list.push_back({{"name", tensor.name},
                        {"dtype", type},
                        {"shape", tensor.shape},
                        {"bytes", tensor.bytes.size()}});
    }
    figures["tensor_count"] = weights.tensors().size();
    figures["bytes"] = bytes;
    if (weights_count > 0)
      figures["bits_per_weight"] = 8.0 * static_cast<double>(bytes) / static_cast<double>(weights_count);
    figures["dtypes"] = types;
    if (tensors_) figures["tensors"] = list;
  }

  // One line of a value that may be a whole template.
  static std::string shortened(const std::string& text) {
    constexpr std::size_t kShown = 100;
    std::string line = Json(text.substr(0, kShown)).dump(-1, ' ', false, Json::error_handler_t::replace);
    return text.size() > kShown ? line + " …" : line;
  }

  static void print(const Json& figures) {
    for (const auto& [key, value] : figures.items()) {
      if (key == "tensors") {
        for (const Json& tensor : value)
          std::printf("  %-60s %-5s %s\n", tensor["name"].get<std::string>().c_str(),
                      tensor["dtype"].get<std::string>().c_str(), tensor["shape"].dump().c_str());
      } else if (key == "metadata") {
        for (const auto& [name, text] : value.items())
          std::printf("  %-44s %s\n", name.c_str(), shortened(text.get<std::string>()).c_str());
      } else if (key == "layers") {
        for (std::size_t i = 0; i < value.size(); ++i)
          std::printf("  layer %-3zu %s\n", i, value[i].dump().c_str());
      } else {
        std::printf("%-26s %s\n", key.c_str(),
                    value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
      }
    }
  }

  std::string path_, json_;
  std::int64_t context_ = 1024;
  bool tensors_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_inspect() { return std::make_unique<Inspect>(); }

}  // namespace retort
