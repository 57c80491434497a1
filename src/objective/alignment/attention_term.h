// Terms on the attention maps of pairs of layers: a mean over the pairs and over the teacher's chosen heads.
#pragma once

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

class AttentionTerm : public Term {
 public:
  AttentionTerm(MapDistance kind, const AttentionTermOptions& options, const std::string& where,
                const TermContext& context);
  Taps student_taps() const override;
  Taps teacher_taps() const override;
  std::vector<Parameter> parameters() override;
  LossSum compute(const StepView& view) override;

 private:
  struct Pair {
    LayerPair layers;
    at::Tensor student_heads, teacher_heads;  // int64
    at::Tensor mixing;                        // fp32 [teacher's chosen heads, student's heads], or undefined
  };
  MapDistance kind_;
  PositionWeights weights_;
  std::vector<Pair> pairs_;
  std::string label_of_parameters_;
  std::int64_t most_heads_ = 1;
};

// Queries and keys of some heads of a layer, out of what Taps::qkv gave.
MapSide attention_side(const at::Tensor& qkv, const ModelConfig& config, int layer, const at::Tensor& heads);

}  // namespace retort
