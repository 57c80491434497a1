// What of a model is trained: all of it, or an adapter.
#pragma once

#include "base/options.h"
#include "model/adapters/adapter.h"

namespace retort {

struct AdapterOptions {
  std::string method = "full";
  std::vector<std::string> targets, freeze;
  std::int64_t rank = 16, virtual_tokens = 20;
  double alpha = 32, dropout = 0;
  bool rslora = false, dora = false;
  std::string base_encoding = "none";

  void visit(OptionList& list);
  void check(bool has_base) const;
  bool on() const { return method != "full"; }
  std::string result_folder() const { return on() ? "adapter" : "model"; }
  // Which layers of the base stay encoded while this adapter is trained.
  FrozenBase frozen_base(const ModelConfig& model) const;
  // Leaves gradients on for what is to be trained alone.
  void apply(CausalLM& model, std::uint64_t seed) const;
  void save(const CausalLM& model, const std::string& base, const std::filesystem::path& folder) const;

 private:
  AdapterConfig config(const ModelConfig& model) const;
};

}  // namespace retort
