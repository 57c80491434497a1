// Terms on the hidden states of pairs of layers: a mean over the pairs.
#pragma once

#include "objective/alignment/layer_map.h"
#include "objective/alignment/positions.h"

namespace retort {

struct LayerTermOptions {
  Json layers = "uniform";
  bool embeddings = false;
  PositionOptions positions;
  void visit(OptionList& list);
};

// The context's models, or an Error (a failure of the caller): a term on layers cannot be made without them.
LayerCounts layer_counts(const TermContext& context, const std::string& where);

class LayerTerm : public Term {
 public:
  LayerTerm(const LayerTermOptions& options, const std::string& where, const TermContext& context);
  Taps student_taps() const override;
  Taps teacher_taps() const override;
  LossSum compute(const StepView& view) override;

 protected:
  const std::vector<LayerPair>& pairs() const { return pairs_; }
  // Σ over positions of weight times loss, for pair number `pair`: rows [n, H_S] and [n, H_T] of `positions`,
  // in the models' dtype.
  virtual at::Tensor pair_sum(std::size_t pair, const at::Tensor& student, const at::Tensor& teacher,
                              const Positions& positions) const = 0;

 private:
  std::vector<LayerPair> pairs_;
  PositionWeights weights_;
};

struct HiddenTermOptions {
  LayerTermOptions layers;
  std::string projection = "auto";
  double cka_threshold = 0.7;
  void visit(OptionList& list);
};

// With a learned projection of the student's states where widths differ, or where the layers are too unlike
// to be compared as they are (their CKA on a sample is below the threshold).
class HiddenTerm : public LayerTerm {
 public:
  HiddenTerm(const HiddenTermOptions& options, const std::string& where, const TermContext& context);
  std::vector<Parameter> parameters() override;

 protected:
  // fp32 [n, H_T] each -> [n]
  virtual at::Tensor distance(const at::Tensor& student, const at::Tensor& teacher) const = 0;
  at::Tensor pair_sum(std::size_t pair, const at::Tensor& student, const at::Tensor& teacher,
                      const Positions& positions) const override;

 private:
  std::vector<at::Tensor> projections_;  // per pair fp32 [H_T, H_S], or undefined
  std::string label_of_parameters_;
};

}  // namespace retort
