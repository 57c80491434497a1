// export: a model in another file form, its weights unchanged or in another element type.
#include <fmt/format.h>

#include "architecture/gguf_adapter.h"
#include "architecture/mixture.h"
#include "base/error.h"
#include "base/log.h"
#include "cli_edge/verbs.h"
#include "data/export_model.h"

namespace retort {
namespace {

class Export : public Verb {
 public:
  void visit(OptionList& list) override {
    Option& model = list.add("model", model_, "model folder or .gguf file");
    model.required = true;
    model.path = PathRole::input;
    list.add("adapter", adapter_,
             "adapter folder of the model: writes it alone, as a GGUF adapter that llama.cpp reads too")
        .path = PathRole::input;
    list.add("format", format_, "file form to write").choices = {"gguf", "hf"};
    Option& out = list.add("out", out_, "file (gguf) or folder (hf) to write");
    out.required = true;
    out.path = PathRole::output;
    list.add("dtype", dtype_, "element type; auto: what holds the weights without loss").choices = {
        "auto", "f32", "bf16", "f16"};
    list.add("max_shard_bytes", max_shard_bytes_, "of gguf: cut into files of about this size (0: one file)");
  }

  bool heeds_interrupts() const override { return false; }

  Json run() override {
    if (!adapter_.empty()) return export_adapter();
    DType dtype = DType::f32;
    if (dtype_ == "auto")
      dtype = lossless_dtype(*open_model_weights(model_));
    else
      dtype = *dtype_of(find_encoding(dtype_, "dtype"));
    const std::string name(encoding_of(dtype)->name);
    if (format_ == "hf") {
      export_folder(model_, out_, dtype);
    } else {
      const Mixture& mixture = find_mixture(name, "dtype");
      const ModelConfig config = open_model_weights(model_)->config();
      SaveGgufOptions options;
      options.encoding = [&](const GgufParameter& stored) -> const Encoding& {
        return choose_encoding(mixture, config, stored);
      };
      options.file.max_shard_bytes = static_cast<std::uint64_t>(max_shard_bytes_);
      if (const std::string caveat = export_gguf(model_, out_, mixture.file_type, options); !caveat.empty())
        log_message(LogLevel::warning, out_ + ": " + caveat);
    }
    log_info("{} → {} ({})", model_, out_, name);
    return {{"out", out_}, {"dtype", name}};
  }

 private:
  Json export_adapter() const {
    if (format_ != "gguf")
      throw Error({.where = "format",
                   .found = "'" + format_ + "' for an adapter",
                   .expected = "gguf",
                   .advice = "retort merge makes adapters part of a model in Hugging Face's form."});
    const ModelConfig config = open_model_weights(model_)->config();
    write_gguf_adapter(out_, open_adapter_weights(adapter_, config), config);
    log_info("{} → {} (adapter)", adapter_, out_);
    return {{"out", out_}, {"dtype", "f32"}};
  }

  std::string model_, adapter_, out_, format_ = "gguf", dtype_ = "auto";
  std::int64_t max_shard_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_export() { return std::make_unique<Export>(); }

}  // namespace retort
