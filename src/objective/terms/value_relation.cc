// KL between relations of values, softmax(v vᵀ / √d) (MiniLM, Wang et al. 2020). The heads' values lie one
// after another and are cut into `relation_heads` equal parts (MiniLMv2, Wang et al. 2021), so that models of
// other widths and head counts can be compared. Rows see earlier positions alone, as in causal attention.
#include <numeric>

#include "base/error.h"
#include "objective/alignment/attention_maps.h"
#include "objective/alignment/layer_term.h"
#include "objective/terms/terms.h"

namespace retort {
namespace {

struct ValueRelationOptions {
  Json layers = {{"last", 1}};
  std::int64_t relation_heads = 0;
  PositionOptions positions;
  void visit(OptionList& list) {
    list.add("layers", layers, "uniform; last: 3; 6-9 or [4, 7, 10] of the teacher; [[student, teacher], …]");
    list.add("relation_heads", relation_heads,
             "parts that the values are cut into; 0: as many as both models' value heads can be");
    positions.visit(list);
  }
};

class ValueRelation : public Term {
 public:
  ValueRelation(const ValueRelationOptions& options, const std::string& where, const TermContext& context)
      : weights_(options.positions, where, context),
        pairs_(
            read_layer_map(options.layers, layer_counts(context, where), /*lowest=*/0, where + ": layers")) {
    for (const LayerPair& pair : pairs_) {
      const std::int64_t student = value_heads(*context.student, pair.student),
                         teacher = value_heads(*context.teacher, pair.teacher);
      const std::int64_t heads =
          options.relation_heads == 0 ? std::gcd(student, teacher) : options.relation_heads;
      if (heads < 1 || student * context.student->head_dim % heads != 0 ||
          teacher * context.teacher->head_dim % heads != 0)
        throw Error({.where = where + ": relation_heads",
                     .found = std::to_string(options.relation_heads),
                     .expected = "a divisor of " + std::to_string(student * context.student->head_dim) +
                                 " and " + std::to_string(teacher * context.teacher->head_dim) +
                                 ", the widths of the values",
                     .advice = ""});
      heads_.push_back(at::arange(heads, at::TensorOptions(context.device).dtype(at::kLong)));
      most_heads_ = std::max(most_heads_, heads);
    }
  }

  std::string name() const override { return "value_relation"; }
  Taps student_taps() const override {
    Taps taps;
    for (const LayerPair& pair : pairs_) taps.qkv.push_back(pair.student);
    return taps;
  }
  Taps teacher_taps() const override {
    Taps taps;
    for (const LayerPair& pair : pairs_) taps.qkv.push_back(pair.teacher);
    return taps;
  }

  LossSum compute(const StepView& view) override {
    const Positions positions = weights_(view.batch);
    const auto blocks =
        map_blocks(view.batch, positions.of_row, map_elements(view.batch.tokens.device(), most_heads_));
    at::Tensor sum;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const auto [student, teacher] = pairs_[i];
      const at::Tensor one = map_distance(
          MapDistance::kl,
          side(view.student_output.qkv_taps.at(student), view.student.config(), student, heads_[i]),
          side(view.teacher_output->qkv_taps.at(teacher), view.teacher->config(), teacher, heads_[i]), {},
          blocks);
      sum = sum.defined() ? sum + one : one;
    }
    return {sum / static_cast<double>(pairs_.size()), view.batch.weight_sum};
  }

 private:
  static std::int64_t value_heads(const ModelConfig& config, int layer) {
    return config.layers[static_cast<std::size_t>(layer)].num_key_value_heads;
  }

  // Values in the place of queries and of keys.
  static MapSide side(const at::Tensor& qkv, const ModelConfig& config, int layer, const at::Tensor& heads) {
    const std::int64_t width = value_heads(config, layer) * config.head_dim;
    return {.rows = {qkv.narrow(1, qkv.size(1) - width, width)},
            .head_dim = width / heads.size(0),
            .query_heads = {heads},
            .key_heads = {heads},
            .window = 0};
  }

  PositionWeights weights_;
  std::vector<LayerPair> pairs_;
  std::vector<at::Tensor> heads_;  // int64 [relation heads], per pair
  std::int64_t most_heads_ = 1;
};

}  // namespace

std::unique_ptr<Term> make_value_relation(const Json& options, const std::string& where,
                                          const TermContext& context) {
  ValueRelationOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<ValueRelation>(parsed, where, context);
}

}  // namespace retort
