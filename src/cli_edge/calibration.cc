#include "cli_edge/calibration.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/example.h"
#include "data/model_file.h"
#include "data/record_source.h"
#include "runtime/input_statistics.h"

namespace retort {
namespace {

struct GroupNames {
  const char* shown;
  std::vector<const char*> projections;
};
const GroupNames& names_of(std::size_t group) {
  static const std::array<GroupNames, kLinearGroups> names = {
      {{"q, k, v", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
       {"o", {"self_attn.o_proj"}},
       {"gate, up", {"mlp.gate_proj", "mlp.up_proj"}},
       {"down", {"mlp.down_proj"}}}};
  return names[group];
}

std::vector<Sequence> read_texts(const CalibrationOptions& options, const ModelFile& file) {
  if (!file.tokenizer)
    throw Error({.where = options.model, .found = "no tokenizer", .expected = "one, to read texts with"});
  std::vector<Sequence> texts;
  const auto records = open_records(options.data);
  const auto context = static_cast<std::size_t>(file.weights->config().max_position_embeddings);
  while (static_cast<std::int64_t>(texts.size()) < options.records) {
    const std::optional<Record> record = records->next();
    if (!record) break;
    std::string text = record->text;
    for (const Message& message : record->messages) text += message.content + "\n";
    std::vector<TokenId> tokens =
        !record->messages.empty() && file.chat_template
            ? encode_dialogue(*file.tokenizer, *file.chat_template, record->messages).tokens
            : file.tokenizer->encode(text, {.add_special_tokens = true});
    tokens.resize(std::min(tokens.size(), context));
    if (!tokens.empty()) texts.push_back({std::move(tokens), ""});
  }
  if (texts.empty())
    throw Error({.where = options.data,
                 .found = "no text",
                 .expected = "at least one, to see the inputs of",
                 .advice = "Give pairs, dialogues or texts of the kind that the model will read."});
  return texts;
}

}  // namespace

Calibration calibrate(const CalibrationOptions& options) {
  ModelFile file = open_model_file(options.model);
  const std::vector<Sequence> texts = read_texts(options, file);
  Engine engine(std::shared_ptr<const ModelWeights>(std::move(file.weights)), {.threads = options.threads});
  const auto statistics = input_statistics(engine, texts, options.limit);
  Calibration result;
  for (std::size_t layer = 0; layer < statistics.size(); ++layer)
    for (std::size_t group = 0; group < kLinearGroups; ++group) {
      const InputStatistics& seen = statistics[layer][group];
      const double limit = options.limit > 0 ? options.limit : seen.largest;
      result.inputs[fmt::format("layer {} {}", layer, names_of(group).shown)] = {
          {"largest", seen.largest},
          {"limit", limit},
          {"clamped", static_cast<double>(seen.clamped) / static_cast<double>(seen.values)},
          {"relative_error", seen.relative_error()}};
      if (options.limit == 0)
        for (const char* projection : names_of(group).projections)
          result.limits[fmt::format("model.layers.{}.{}.weight", layer, projection)] = limit;
    }
  return result;
}

}  // namespace retort
