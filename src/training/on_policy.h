// On-policy distillation (GKD, Agarwal et al. 2024): some batches hold the student's own answers to the
// data's prompts, so that it learns from its teacher where its own words lead it.
#pragma once

#include <memory>

#include "architecture/generate_options.h"
#include "data/batch_source.h"
#include "model/causal_lm.h"

namespace retort {

struct OnPolicyOptions {
  double share = 0.5;  // of the batches (GKD's λ)
  GenerateOptions sampling{.max_tokens = 128, .temperature = 1};
  void visit(OptionList& list);
  // Throws Error naming the key.
  void check(const std::string& where) const;
};

// Batches of `prompts`, a share of them rewritten: each answer replaced by what `student` says at that
// moment, up to its end token, Batch::by_student set. Answers beyond batch_tokens positions are left out.
// Which batches, and every draw, are a function of (seed, number of the batch). Both outlive the source.
std::unique_ptr<BatchSource> write_on_policy(std::unique_ptr<BatchSource> prompts, const CausalLM& student,
                                             const OnPolicyOptions& options, std::int64_t batch_tokens,
                                             std::uint64_t seed);

}  // namespace retort
