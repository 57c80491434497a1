#include "runtime/adapter_pass.h"

#include <algorithm>

#include "runtime/forward.h"

namespace retort {

void AdapterPass::reserve(std::int64_t max_rows, std::int64_t ranks) {
  ranks_ = std::max(ranks_, ranks);
  inner_.reserve(static_cast<std::size_t>(max_rows * ranks_) * sizeof(float));
}

std::vector<std::int64_t>& AdapterPass::rows_of(const EngineAdapter* adapter) {
  for (std::size_t i = 0; i < count_; ++i)
    if (all_[i].adapter == adapter) return all_[i].rows;
  if (count_ == all_.size()) all_.emplace_back();
  all_[count_].adapter = adapter;
  all_[count_].rows.clear();
  return all_[count_++].rows;
}

void AdapterPass::begin(const StepRows& step) {
  count_ = 0;
  for (std::size_t s = 0; s < step.sequences.size(); ++s) {
    if (step.adapters[s] == nullptr) continue;
    std::vector<std::int64_t>& rows = rows_of(step.adapters[s]);
    for (std::int64_t i = 0; i < step.sequences[s].queries; ++i)
      rows.push_back(step.sequences[s].first_query + i);
  }
}

void AdapterPass::keep_outputs(const StepRows& step) {
  for (std::size_t i = 0; i < count_; ++i) all_[i].rows.clear();
  std::int64_t row = 0;
  for (std::size_t s = 0; s < step.sequences.size(); row += step.outputs[s++])
    if (step.adapters[s] != nullptr)
      for (std::int64_t i = 0; i < step.outputs[s]; ++i) rows_of(step.adapters[s]).push_back(row + i);
}

bool AdapterPass::changes(std::size_t layer, LinearGroup group) const {
  for (std::size_t i = 0; i < count_; ++i)
    if (!all_[i].adapter->group(layer, group).empty()) return true;
  return false;
}

void AdapterPass::run(void (*kernel)(const LowRankJob&), ThreadPool& pool) {
  pool.parallel_for(static_cast<std::int64_t>(jobs_.size()), 1,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      for (std::int64_t i = begin; i < end; ++i) kernel(jobs_[static_cast<std::size_t>(i)]);
                    });
  jobs_.clear();
}

void AdapterPass::add(std::size_t layer, LinearGroup group, const Activations& x, float* out,
                      std::int64_t stride, ThreadPool& pool) {
  if (!changes(layer, group)) return;
  const Activations::Rows input = x.form(ActivationForm::f32);
  const auto each = [&](void (LowRankGroup::*append)(const LowRankGroup::Rows&, std::vector<LowRankJob>&)
                            const) {
    for (std::size_t i = 0; i < count_; ++i)
      (all_[i].adapter->group(layer, group).*append)(
          {.rows = all_[i].rows,
           .x = reinterpret_cast<const float*>(input.data),
           .x_stride = input.stride / static_cast<std::int64_t>(sizeof(float)),
           .inner = reinterpret_cast<float*>(inner_.data()),
           .inner_stride = ranks_,
           .out = out,
           .out_stride = stride},
          jobs_);
  };
  each(&LowRankGroup::append_in);
  run(kernel_set().low_rank_in, pool);
  each(&LowRankGroup::append_out);
  run(kernel_set().low_rank_out, pool);
}

}  // namespace retort
