#include "training/adamw.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adamw.h>

#include <algorithm>

#include "base/error.h"
#include "model/parameter_pattern.h"

namespace retort {

namespace {

// For each parameter, the factor of its learning rate.
std::vector<double> rate_factors(const std::vector<Parameter>& parameters,
                                 const std::vector<RateRule>& rules) {
  std::vector<double> factors(parameters.size(), 1);
  std::vector<bool> ruled(parameters.size(), false);
  for (const RateRule& rule : rules) {
    bool found = false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!name_matches(parameters[i].name, rule.pattern)) continue;
      found = true;
      if (!ruled[i]) factors[i] = rule.factor;
      ruled[i] = true;
    }
    if (!found)
      throw Error({.where = "rates",
                   .found = "'" + rule.pattern + "', which matches no parameter that is trained",
                   .expected = "part of a name such as lora_B or model.layers.0.mlp",
                   .advice = ""});
  }
  return factors;
}

}  // namespace

AdamW::AdamW(std::vector<Parameter> parameters, const AdamWOptions& options)
    : options_(options), parameters_(std::move(parameters)) {
  const at::NoGradGuard no_grad;
  const std::vector<double> factors = rate_factors(parameters_, options.rates);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& working = parameters_[i].tensor;
    working_.push_back(working.detach());  // shares storage; _foreach_copy_ may then write it without a graph
    // An fp32 model is its own master.
    master_.push_back(working.scalar_type() == at::kFloat ? working_.back()
                                                          : working.detach().to(at::kFloat));
    gradient_.push_back(at::zeros_like(master_.back()));
    exp_avg_.push_back(at::zeros_like(master_.back()));
    exp_avg_sq_.push_back(at::zeros_like(master_.back()));
    steps_.push_back(at::zeros({}, master_.back().options()));
    const double decay = working.dim() >= 2 ? options.weight_decay : 0;
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) {
      return g.weight_decay == decay && g.rate_factor == factors[i];
    });
    if (group == groups_.end()) {
      groups_.push_back({decay, factors[i], {}});
      group = groups_.end() - 1;
    }
    group->members.push_back(i);
  }
  active_.assign(parameters_.size(), true);
  found_inf_ = at::zeros({}, master_.front().options());
}

void AdamW::set_active(const std::function<bool(const std::string& name)>& is_active) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) active_[i] = is_active(parameters_[i].name);
}

void AdamW::accumulate() {
  const at::NoGradGuard no_grad;
  // Memory traffic is what an optimizer costs: the first micro-batch is copied into the sums, later ones are
  // added.
  std::vector<at::Tensor> copy_to, copied, add_to, added, zero;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& gradient = parameters_[i].tensor.mutable_grad();
    if (!gradient.defined()) {  // unused in this micro-batch
      if (empty_) zero.push_back(gradient_[i]);
      continue;
    }
    (empty_ ? copy_to : add_to).push_back(gradient_[i]);
    (empty_ ? copied : added).push_back(gradient);
    gradient.reset();
  }
  empty_ = false;
  if (!zero.empty()) at::_foreach_zero_(zero);
  if (!copy_to.empty()) at::_foreach_copy_(copy_to, copied);
  for (std::size_t i = 0; i < add_to.size(); ++i) add_to[i].add_(added[i]);
}

std::vector<at::Tensor> AdamW::select(const std::vector<at::Tensor>& from, const Group& group) const {
  std::vector<at::Tensor> chosen;
  for (const std::size_t i : group.members)
    if (active_[i]) chosen.push_back(from[i]);
  return chosen;
}

at::Tensor AdamW::step(double learning_rate, const at::Tensor& divisor) {
  const at::NoGradGuard no_grad;
  if (empty_) at::_foreach_zero_(gradient_);
  const at::Tensor norm = at::stack(at::_foreach_norm(gradient_, 2)).norm() / divisor;
  found_inf_ = at::isfinite(norm).logical_not().to(at::kFloat);
  // What the kernel divides gradients by: the divisor, and what clipping takes off.
  at::Tensor scale = divisor.to(at::kFloat);
  if (options_.clip > 0) scale = scale / (options_.clip / (norm + 1e-6)).clamp_max(1.0);
  scale = scale.to(at::kFloat);
  for (const Group& group : groups_) {
    auto parameters = select(master_, group), gradients = select(gradient_, group);
    if (parameters.empty()) continue;
    auto averages = select(exp_avg_, group), squares = select(exp_avg_sq_, group);
    const auto steps = select(steps_, group);
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(parameters, gradients, averages, squares, {}, steps, learning_rate * group.rate_factor,
                      options_.beta1, options_.beta2, group.weight_decay, options_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false,
                      /*grad_scale=*/scale, found_inf_);
    at::_foreach_sub_(steps, std::vector<at::Tensor>(steps.size(), found_inf_));
  }
  empty_ = true;
  publish();
  return norm;
}

void AdamW::publish() {
  std::vector<at::Tensor> to, from;
  for (std::size_t i = 0; i < master_.size(); ++i)
    if (!working_[i].is_same(master_[i])) to.push_back(working_[i]), from.push_back(master_[i]);
  if (!to.empty()) at::_foreach_copy_(to, from);
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::state() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    tensors.emplace_back("master." + parameters_[i].name, master_[i]);
    tensors.emplace_back("exp_avg." + parameters_[i].name, exp_avg_[i]);
    tensors.emplace_back("exp_avg_sq." + parameters_[i].name, exp_avg_sq_[i]);
  }
  tensors.emplace_back("steps", at::stack(steps_));
  return tensors;
}

void AdamW::restore(const std::function<at::Tensor(const std::string& name)>& read) {
  const at::NoGradGuard no_grad;
  const auto load = [&](const at::Tensor& into, const std::string& name) {
    const at::Tensor stored = read(name);
    if (stored.sizes() != into.sizes())  // copy_ would broadcast
      throw Error({.where = "optimizer state: " + name,
                   .found = c10::str("shape ", stored.sizes()),
                   .expected = c10::str(into.sizes()),
                   .advice = "It belongs to another model."});
    into.copy_(stored);
  };
  const at::Tensor steps = at::stack(steps_);
  load(steps, "steps");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    load(master_[i], "master." + parameters_[i].name);
    load(exp_avg_[i], "exp_avg." + parameters_[i].name);
    load(exp_avg_sq_[i], "exp_avg_sq." + parameters_[i].name);
    steps_[i].copy_(steps[static_cast<std::int64_t>(i)]);
  }
  empty_ = true;
  publish();
}

}  // namespace retort
