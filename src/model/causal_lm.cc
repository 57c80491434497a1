#include "model/causal_lm.h"

#include <algorithm>

#include "base/error.h"
#include "model/initialize.h"
#include "model/transformer.h"

namespace retort {

void Taps::merge(const Taps& other) {
  const auto join = [](std::vector<int>& mine, const std::vector<int>& theirs) {
    mine.insert(mine.end(), theirs.begin(), theirs.end());
    std::sort(mine.begin(), mine.end());
    mine.erase(std::unique(mine.begin(), mine.end()), mine.end());
  };
  join(hidden, other.hidden);
  join(attention, other.attention);
  join(qkv, other.qkv);
}

CausalLM::CausalLM(ModelConfig config, at::Device device, at::ScalarType dtype, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(std::move(config), device, dtype)) {
  initialize_parameters(impl_->parameters, impl_->config, seed);
  set_requires_grad(true);
}

CausalLM::CausalLM(const ModelFolder& folder, at::Device device, at::ScalarType dtype, const FrozenBase& base)
    : impl_(std::make_unique<Impl>(folder.config(), device, dtype, base)) {
  folder.check_weights();
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : impl_->parameters) {
    const at::Tensor values = at::empty(tensor.sizes(), at::kFloat);
    folder.load({name, tensor.sizes().vec()}, values.data_ptr<float>());
    if (tensor.is_meta()) {
      const auto [linear, row] = impl_->find_linear(name);
      linear->encode(row, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}, name);
    } else {
      tensor.copy_(values);
    }
  }
  set_requires_grad(true);
}

CausalLM::~CausalLM() = default;
CausalLM::CausalLM(CausalLM&&) noexcept = default;

const ModelConfig& CausalLM::config() const { return impl_->config; }
at::Device CausalLM::device() const { return impl_->options.device(); }
at::ScalarType CausalLM::dtype() const { return impl_->embed_tokens.scalar_type(); }
const at::Tensor& CausalLM::head_weight() const { return impl_->head; }
const std::vector<Parameter>& CausalLM::parameters() const { return impl_->parameters; }

const std::vector<at::Tensor>& CausalLM::prefix() const { return impl_->prefix; }
std::int64_t CausalLM::prefix_length() const { return impl_->prefix_length(); }
CausalLM::Impl& CausalLM::parts() { return *impl_; }

void CausalLM::set_requires_grad(bool on) {
  for (const Parameter& parameter : impl_->parameters) parameter.tensor.set_requires_grad(on);
}

at::Tensor CausalLM::logits(const at::Tensor& hidden) const {
  return at::linear(hidden, impl_->head).to(at::kFloat);
}

at::Tensor CausalLM::final_norm(const at::Tensor& hidden) const {
  return add_norm(hidden, {}, impl_->norm).normed;
}

Rotation CausalLM::rotation(const at::Tensor& positions) const {
  return impl_->frequencies.defined() ? rotation_at(impl_->frequencies, positions) : Rotation{};
}

at::Tensor CausalLM::forward_with(const AttentionPath& path, const at::Tensor& tokens,
                                  const at::Tensor& positions) const {
  const at::NoGradGuard no_grad;
  Stream stream{impl_->embed_rows(tokens, positions), {}};
  at::Tensor sum;
  for (const Block& block : impl_->blocks) stream = block(stream, path, {}, sum);
  return add_norm(stream.residual, stream.branch, impl_->norm).normed;
}

ModelOutput CausalLM::forward(const DeviceBatch& batch, const Taps& taps,
                              const ForwardOptions& options) const {
  impl_->check_batch(batch);
  const int layers = static_cast<int>(impl_->blocks.size());
  for (const int layer : taps.hidden)
    if (layer < -1 || layer >= layers)
      throw Error({.where = "hidden@" + std::to_string(layer),
                   .found = "no such layer",
                   .expected = "-1 … " + std::to_string(layers - 1)});
  for (const auto& [what, list] : {std::pair{"attention@", &taps.attention}, std::pair{"qkv@", &taps.qkv}})
    for (const int layer : *list)
      if (layer < 0 || layer >= layers)
        throw Error({.where = what + std::to_string(layer),
                     .found = "no such layer",
                     .expected = "0 … " + std::to_string(layers - 1)});
  const auto wanted = [](const std::vector<int>& list, int layer) {
    return std::find(list.begin(), list.end(), layer) != list.end();
  };

  ModelOutput output;
  // `sum` is the stream as it leaves block `layer`: known once the next norm has added the last branch.
  const auto keep = [&](int layer, const at::Tensor& sum) {
    if (wanted(taps.hidden, layer)) output.hidden_taps[layer] = sum;
  };
  const Dropout dropout{options.training ? options.dropout : 0, options.dropout_key, 0, options.training};
  const bool prefixed = !impl_->prefix.empty();
  if (prefixed && !(taps.attention.empty() && taps.qkv.empty()))
    throw Error({.where = "attention taps",
                 .found = "a model with a prefix",
                 .expected = "one whose attention sees tokens alone",
                 .advice = "Use another adapter, or terms on hidden states."});
  const at::Tensor positions = prefixed ? batch.positions + impl_->prefix_length() : batch.positions;
  const Rotation turn = rotation(positions);
  const std::shared_ptr<const AttentionPath> packed =
      prefixed ? std::static_pointer_cast<const AttentionPath>(
                     std::make_shared<PrefixedAttention>(PrefixRows(impl_->prefix, batch.packing(), turn)))
               : std::make_shared<PackedAttention>(batch.packing(), turn);
  Stream stream{apply_dropout(impl_->embed_rows(batch.tokens, positions), dropout), {}};
  const bool drop_rows =
      options.targets_only && batch.target_index.size(0) > 0 && !wanted(taps.hidden, layers - 1);
  for (int i = 0; i < layers; ++i) {
    const at::Tensor rows = drop_rows && i == layers - 1 ? batch.target_index : at::Tensor();
    at::Tensor sum;
    if (wanted(taps.qkv, i)) {
      const PackedAttention fused(batch.packing(), {});
      const OpenAttention open(batch.packing(), {});
      const bool maps = wanted(taps.attention, i);
      const KeepingAttention path(maps ? static_cast<const AttentionPath&>(open) : fused, turn);
      stream = impl_->blocks[i](stream, path, dropout, sum, rows);
      output.qkv_taps[i] = path.take_rows();
      if (maps) output.attention_taps[i] = open.take_maps();
    } else if (wanted(taps.attention, i)) {
      const OpenAttention open(batch.packing(), turn);
      stream = impl_->blocks[i](stream, open, dropout, sum, rows);
      output.attention_taps[i] = open.take_maps();
    } else if (options.checkpoint_activations) {
      stream = run_checkpointed(impl_->blocks[i], stream, packed, dropout, sum, rows);
    } else {
      stream = impl_->blocks[i](stream, *packed, dropout, sum, rows);
    }
    keep(i - 1, sum);
  }
  const Residual last = add_norm(stream.residual, stream.branch, impl_->norm, dropout.branch(2 * layers));
  keep(layers - 1, last.sum);
  output.targets_only = options.targets_only;
  output.hidden =
      options.targets_only && !drop_rows ? last.normed.index_select(0, batch.target_index) : last.normed;
  return output;
}

void save_causal_lm(const CausalLM& model, const std::filesystem::path& folder,
                    const SaveModelOptions& options) {
  const auto read = [&](const ParameterSpec& spec) {
    for (const auto& [name, tensor] : model.parameters())
      if (name == spec.name) {
        const at::Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
        return std::vector<float>(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
      }
    throw Error({.where = spec.name, .found = "no such parameter in the model"}, ErrorKind::failure);
  };
  save_model_folder(folder, model.config(), read, options);
}

}  // namespace retort
