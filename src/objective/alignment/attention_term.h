// Terms on the attention maps of pairs of layers: a mean over the pairs and over the teacher's chosen heads.
#pragma once

#include <map>

#include "objective/alignment/attention_maps.h"
#include "objective/alignment/layer_map.h"
#include "objective/alignment/positions.h"

namespace retort {

struct AttentionTermOptions {
  Json layers = {{"last", 1}};
  double heads = 1;
  std::string head_entropy = "lowest", head_map = "pair";
  PositionOptions positions;
  void visit(OptionList& list);
};

// Some heads of some layers, all with the same window.
struct AttentionHeads {
  std::vector<int> layers;
  std::vector<at::Tensor> queries, keys;  // per layer, as MapSide wants them
  void add(const ModelConfig& config, int layer, const std::vector<std::int64_t>& heads, at::Device device);
  // Out of what Taps::qkv gave.
  MapSide side(const std::map<int, at::Tensor>& qkv, const ModelConfig& config) const;
};

class AttentionTerm : public Term {
 public:
  AttentionTerm(MapDistance kind, const AttentionTermOptions& options, const std::string& where,
                const TermContext& context);
  Taps student_taps() const override;
  Taps teacher_taps() const override;
  std::vector<Parameter> parameters() override;
  LossSum compute(const StepView& view) override;

 private:
  // Pairs of layers whose maps are made together: all with as many heads and the same windows.
  struct Group {
    AttentionHeads student, teacher;
    at::Tensor mixing;  // fp32 [teacher's chosen heads, student's heads] of the only pair, or undefined
  };
  Group& group_for(const LayerPair& pair, std::int64_t heads, const TermContext& context);

  MapDistance kind_;
  PositionWeights weights_;
  std::vector<Group> groups_;
  std::size_t pairs_ = 0;
  std::string label_of_parameters_;
  std::int64_t most_maps_ = 1;
};

}  // namespace retort
