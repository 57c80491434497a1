// AdamW (Loshchilov & Hutter 2019) over fp32 master weights. A model in bf16 or fp16 keeps its working copy
// for the matrix products; gradients of micro-batches are added up in fp32, and each step rounds the masters
// into the working copy.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/causal_lm.h"

namespace retort {

// A learning rate of their own for parameters that match (model/parameter_pattern.h): the run's, times
// `factor`.
struct RateRule {
  std::string pattern;
  double factor = 1;
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  double clip = 1.0;                 // of the global gradient norm; 0: none
  std::vector<RateRule> rates = {};  // the first that matches counts
};

class AdamW {
 public:
  // Matrices (two dimensions or more) decay; norms and biases do not. The tensors are updated in place. Error
  // for a rule that matches nothing.
  AdamW(std::vector<Parameter> parameters, const AdamWOptions& options);

  // Moves what backward() left in .grad into the fp32 sums and clears it.
  void accumulate();
  // One update with gradient = sum / divisor; clears the sums. A gradient that is not finite changes nothing
  // and counts as skipped. No device synchronisation. Returns the gradient norm before clipping (0-dim, on
  // the device).
  at::Tensor step(double learning_rate, const at::Tensor& divisor);
  void set_clip(double clip) { options_.clip = clip; }
  // From now on the others stay as they are: values, moments and their count of steps. At first all are
  // active.
  void set_active(const std::function<bool(const std::string& name)>& is_active);
  // 1 if the last step was skipped (0-dim fp32, on the device).
  const at::Tensor& skipped() const { return found_inf_; }

  // Everything that a checkpoint must hold, under "master.NAME", "exp_avg.NAME", "exp_avg_sq.NAME" and
  // "steps".
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  void restore(const std::function<at::Tensor(const std::string& name)>& read);

 private:
  struct Group {  // parameters with one weight decay and rate
    double weight_decay, rate_factor;
    std::vector<std::size_t> members;
  };
  // Those of the group's members that are active.
  std::vector<at::Tensor> select(const std::vector<at::Tensor>& from, const Group& group) const;
  void publish();  // masters into working copies

  AdamWOptions options_;
  std::vector<Parameter> parameters_;
  std::vector<at::Tensor> working_, master_, gradient_, exp_avg_, exp_avg_sq_, steps_;
  std::vector<Group> groups_;
  std::vector<bool> active_;
  at::Tensor found_inf_;
  bool empty_ = true;  // no gradient was accumulated since the last step
};

}  // namespace retort
