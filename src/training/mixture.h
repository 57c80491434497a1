// In which ratios a run takes examples from its data files, over time.
#pragma once

#include <functional>
#include <memory>

#include "data/batch_source.h"
#include "training/value_schedule.h"

namespace retort {

struct MixtureOptions {
  Json weights;      // a list with a number or a schedule for each file; null: the files' sizes
  Json temperature;  // a number or a schedule; null: none
  double adapt = 0;  // how much the ratios follow validation loss
  void visit(OptionList& list);
  bool on() const { return !weights.is_null() || !temperature.is_null() || adapt != 0; }
};

// p_i ∝ w_i · n_i^(1/T): n_i = a file's training examples, T the temperature (Devlin 2018, multilingual BERT;
// 1 = as many as there are, ∞ = as many of each). Without weights w_i = 1, without a temperature n_i^(1/T) =
// 1 if there are weights and n_i if not.
class Mixture {
 public:
  // Throws Error naming the key: as many weights as files, none negative, not all zero; T above 0.
  Mixture(const MixtureOptions& options, std::vector<std::int64_t> sizes);
  std::vector<double> ratios(const StepPlace& place) const;  // they sum to 1

 private:
  std::vector<ValueSchedule> weights_;
  std::optional<ValueSchedule> temperature_;
  std::vector<std::int64_t> sizes_;
};

// Sources whose validation loss falls behind are taken more often: after each validation the factor of source
// i becomes (L_i / L_i,first)^adapt, L_i in nats per target token. The trainer keeps its state as of any
// control.
class AdaptiveMixture : public StepControl {
 public:
  // `readers` outlive this: all that draw from the files.
  AdaptiveMixture(double adapt, std::vector<BatchSource*> readers)
      : adapt_(adapt), readers_(std::move(readers)) {}
  // One loss a source, in the order of the files; a source without validation text has 0 and keeps factor 1.
  void see_validation(const std::vector<double>& losses);
  const std::vector<double>& factors() const { return factors_; }
  std::vector<Metric> metrics() const override;
  Json state() const override { return {{"first", first_}, {"factors", factors_}}; }
  void restore(const Json& state) override;

 private:
  double adapt_;
  std::vector<BatchSource*> readers_;
  std::vector<double> first_, factors_;
};

}  // namespace retort
