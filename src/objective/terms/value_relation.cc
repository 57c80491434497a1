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
      : weights_(options.positions, where, context) {
    for (const LayerPair& pair :
         read_layer_map(options.layers, layer_counts(context, where), /*lowest=*/0, where + ": layers")) {
      const std::int64_t student = value_width(*context.student, pair.student),
                         teacher = value_width(*context.teacher, pair.teacher);
      const std::int64_t heads = options.relation_heads == 0 ? std::gcd(student / context.student->head_dim,
                                                                        teacher / context.teacher->head_dim)
                                                             : options.relation_heads;
      if (heads < 1 || student % heads != 0 || teacher % heads != 0)
        throw Error({.where = where + ": relation_heads",
                     .found = std::to_string(options.relation_heads),
                     .expected = "a divisor of " + std::to_string(student) + " and " +
                                 std::to_string(teacher) + ", the widths of the values",
                     .advice = ""});
      Group& group = group_for(heads, student, teacher, context.device);
      group.pairs.push_back(pair);
      most_maps_ = std::max(most_maps_, heads * static_cast<std::int64_t>(group.pairs.size()));
      ++pairs_;
    }
  }

  std::string name() const override { return "value_relation"; }
  Taps student_taps() const override {
    Taps taps;
    for (const Group& group : groups_)
      for (const LayerPair& pair : group.pairs) taps.qkv.push_back(pair.student);
    return taps;
  }
  Taps teacher_taps() const override {
    Taps taps;
    for (const Group& group : groups_)
      for (const LayerPair& pair : group.pairs) taps.qkv.push_back(pair.teacher);
    return taps;
  }

  LossSum compute(const StepView& view) override {
    const Positions positions = weights_(view.batch);
    const auto blocks =
        map_blocks(view.batch, positions.of_row, map_elements(view.batch.tokens.device(), most_maps_));
    at::Tensor sum;
    for (const Group& group : groups_) {
      MapSide student = group.side(group.student_width), teacher = group.side(group.teacher_width);
      for (const LayerPair& pair : group.pairs) {
        student.rows.push_back(values(view.student_output.qkv_taps.at(pair.student), group.student_width));
        teacher.rows.push_back(values(view.teacher_output->qkv_taps.at(pair.teacher), group.teacher_width));
      }
      const at::Tensor one = map_distance(MapDistance::kl, student, teacher, {}, blocks) *
                             static_cast<double>(group.pairs.size());
      sum = sum.defined() ? sum + one : one;
    }
    return {sum / static_cast<double>(pairs_), view.batch.weight_sum};
  }

 private:
  // Pairs of layers whose relations are made together.
  struct Group {
    std::vector<LayerPair> pairs;
    std::int64_t student_width = 0, teacher_width = 0;  // of all values of a layer
    at::Tensor heads;                                   // int64 [relation heads]: 0, 1, …

    // Values stand in the place of queries and of keys; without rows.
    MapSide side(std::int64_t width) const {
      const std::vector<at::Tensor> all(pairs.size(), heads);
      return {
          .rows = {}, .head_dim = width / heads.size(0), .query_heads = all, .key_heads = all, .window = 0};
    }
  };

  Group& group_for(std::int64_t heads, std::int64_t student_width, std::int64_t teacher_width,
                   at::Device device) {
    for (Group& group : groups_)
      if (group.heads.size(0) == heads && group.student_width == student_width &&
          group.teacher_width == teacher_width)
        return group;
    return groups_.emplace_back(
        Group{.pairs = {},
              .student_width = student_width,
              .teacher_width = teacher_width,
              .heads = at::arange(heads, at::TensorOptions(device).dtype(at::kLong))});
  }

  static std::int64_t value_width(const ModelConfig& config, int layer) {
    return config.layers[static_cast<std::size_t>(layer)].num_key_value_heads * config.head_dim;
  }

  static at::Tensor values(const at::Tensor& qkv, std::int64_t width) {
    return qkv.narrow(1, qkv.size(1) - width, width).contiguous();
  }

  PositionWeights weights_;
  std::vector<Group> groups_;
  std::size_t pairs_ = 0;
  std::int64_t most_maps_ = 1;
};

}  // namespace

std::unique_ptr<Term> make_value_relation(const Json& options, const std::string& where,
                                          const TermContext& context) {
  ValueRelationOptions parsed;
  read_term_options(parsed, options, where);
  return std::make_unique<ValueRelation>(parsed, where, context);
}

}  // namespace retort
