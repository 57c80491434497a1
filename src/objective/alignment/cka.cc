#include "objective/alignment/cka.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace retort {
namespace {

// Gram matrix of rows less their (weighted) mean, [n, n].
at::Tensor centered_gram(const at::Tensor& x, const at::Tensor& weights) {
  if (!weights.defined()) {
    const at::Tensor centered = x - x.mean(0, /*keepdim=*/true);
    return centered.mm(centered.t());
  }
  const at::Tensor share = (weights / weights.sum()).to(x.scalar_type()).unsqueeze(1);
  const at::Tensor centered = (x - (x * share).sum(0, /*keepdim=*/true)) * share.sqrt();
  return centered.mm(centered.t());
}

// Rows of unit length, one per layer: [layers, n²] in fp32. Their products are the layers' CKA.
at::Tensor layer_grams(const CausalLM& model, const std::vector<int>& layers, const CkaSample& sample,
                       std::int64_t& positions) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<at::Tensor>> rows(layers.size());
  positions = 0;
  for (const Batch& batch : sample.batches) {
    if (positions >= sample.positions) break;
    const DeviceBatch here = upload(batch, model.device());
    const at::Tensor index = here.target_index.slice(0, 0, sample.positions - positions);
    const ModelOutput output = model.forward(here, {.hidden = layers, .attention = {}});
    for (std::size_t i = 0; i < layers.size(); ++i)
      rows[i].push_back(output.hidden_taps.at(layers[i]).index_select(0, index));
    positions += index.size(0);
  }
  if (positions < 2)
    throw Error({.where = "data",
                 .found = std::to_string(positions) + " positions to compare hidden states at",
                 .expected = "at least 2",
                 .advice = ""});
  std::vector<at::Tensor> grams;
  for (const auto& parts : rows) {
    const at::Tensor gram = centered_gram(at::cat(parts).to(at::kDouble), {}).flatten();
    grams.push_back((gram / gram.norm().clamp_min(1e-300)).to(at::kCPU, at::kFloat));
  }
  return at::stack(grams);
}

std::vector<int> all_layers(const CausalLM& model) {
  std::vector<int> layers(static_cast<std::size_t>(model.config().num_hidden_layers()) + 1);
  std::iota(layers.begin(), layers.end(), -1);
  return layers;
}

}  // namespace

// CKA is the cosine of the two Gram matrices: 1 - it is ½ |k - l|² of unit matrices, exactly 0 where they are
// equal.
at::Tensor cka_distance(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weights) {
  const auto wide = [](const at::Tensor& t) { return t.scalar_type() == at::kDouble ? t : t.to(at::kFloat); };
  const at::Tensor k = centered_gram(wide(x), weights), l = centered_gram(wide(y), weights);
  const at::Tensor size_k = k.norm(), size_l = l.norm();
  const at::Tensor distance =
      (k / size_k.clamp_min(1e-30) - l / size_l.clamp_min(1e-30)).square().sum() * 0.5;
  return at::where((size_k > 0).logical_and(size_l > 0), distance, at::zeros_like(distance));
}

CkaTable compare_layers(const CausalLM& student, const CausalLM& teacher, const CkaSample& sample) {
  CkaTable table;
  const at::Tensor s = layer_grams(student, all_layers(student), sample, table.positions),
                   t = layer_grams(teacher, all_layers(teacher), sample, table.positions);
  const at::Tensor wide = t.to(at::kDouble);
  table.values = at::empty({s.size(0), t.size(0)}, at::kDouble);
  for (std::int64_t i = 0; i < s.size(0); ++i) table.values[i].copy_(wide.mv(s[i].to(at::kDouble)));
  return table;
}

std::vector<double> compare_pairs(const CausalLM& student, const CausalLM& teacher,
                                  const std::vector<LayerPair>& pairs, const CkaSample& sample) {
  std::vector<int> of_student, of_teacher;
  for (const LayerPair& pair : pairs) {
    of_student.push_back(pair.student);
    of_teacher.push_back(pair.teacher);
  }
  std::int64_t positions = 0;
  const at::Tensor s = layer_grams(student, of_student, sample, positions),
                   t = layer_grams(teacher, of_teacher, sample, positions);
  std::vector<double> values;
  for (std::int64_t i = 0; i < s.size(0); ++i)
    values.push_back(s[i].to(at::kDouble).dot(t[i].to(at::kDouble)).item<double>());
  return values;
}

std::vector<Batch> sample_batches(const ExampleStore& store, std::int64_t batch_tokens,
                                  std::int64_t targets) {
  const auto source =
      pack_examples(store, {.batch_tokens = batch_tokens, .shuffle = true, .epochs = 1, .seed = 0});
  std::vector<Batch> batches;
  for (std::int64_t found = 0; found < targets;) {
    std::optional<Batch> batch = source->next();
    if (!batch) break;
    found += batch->target_count();
    batches.push_back(std::move(*batch));
  }
  return batches;
}

}  // namespace retort
