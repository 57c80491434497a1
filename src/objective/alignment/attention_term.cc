#include "objective/alignment/attention_term.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "objective/alignment/layer_term.h"

namespace retort {
namespace {

const LayerConfig& layer_of(const ModelConfig& config, int layer) {
  return config.layers[static_cast<std::size_t>(layer)];
}

at::Tensor to_tensor(const std::vector<std::int64_t>& values, at::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

// Mean entropies of all heads of some of the teacher's layers, on the sample.
std::map<int, std::vector<double>> measure_entropies(const TermContext& context,
                                                     const std::vector<LayerPair>& pairs,
                                                     const PositionWeights& weights,
                                                     const std::string& where) {
  if (context.teacher_model == nullptr || !context.sample)
    throw Error({.where = where + ": heads",
                 .found = "no teacher to choose heads of",
                 .expected = "a model and a sample of data",
                 .advice = ""},
                ErrorKind::failure);
  const at::NoGradGuard no_grad;
  const CausalLM& teacher = *context.teacher_model;
  Taps taps;
  for (const LayerPair& pair : pairs) taps.qkv.push_back(pair.teacher);
  std::map<int, at::Tensor> sums;
  for (const Batch& batch : context.sample()) {
    const DeviceBatch here = upload(batch, teacher.device());
    const Positions positions = weights(here);
    const ModelOutput output = teacher.forward(here, taps);
    for (const LayerPair& pair : pairs) {
      const std::int64_t heads = layer_of(teacher.config(), pair.teacher).num_attention_heads;
      AttentionHeads all;
      all.add(teacher.config(), pair.teacher, first_numbers(heads), teacher.device());
      const MapSide side = all.side(output.qkv_taps, teacher.config());
      const at::Tensor entropies =
          map_entropies(side, map_blocks(here, positions.of_row, map_elements(teacher.device(), heads)));
      auto [place, is_new] = sums.emplace(pair.teacher, entropies);
      if (!is_new) place->second = place->second + entropies;
    }
  }
  std::map<int, std::vector<double>> result;
  for (const auto& [layer, sum] : sums)
    result[layer] = {sum.data_ptr<double>(), sum.data_ptr<double>() + sum.numel()};
  return result;
}

// By layers: stages whose terms share a label and a pair go on with one mixing.
std::string mixing_name(const std::string& label, int student_layer, int teacher_layer) {
  return fmt::format("{}.head_mixing.{}:{}", label, student_layer, teacher_layer);
}

// The share of heads with the lowest (or highest) entropies, in order.
std::vector<std::int64_t> choose_heads(const std::vector<double>& entropies,
                                       const AttentionTermOptions& options) {
  std::vector<std::int64_t> order = first_numbers(static_cast<std::int64_t>(entropies.size()));
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double x = entropies[static_cast<std::size_t>(a)], y = entropies[static_cast<std::size_t>(b)];
    return options.head_entropy == "lowest" ? x < y : x > y;
  });
  const double wanted = options.heads * static_cast<double>(order.size());
  order.resize(static_cast<std::size_t>(std::max(1.0, std::round(wanted))));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

void AttentionTermOptions::visit(OptionList& list) {
  list.add("layers", layers, "uniform; last: 3; 6-9 or [4, 7, 10] of the teacher; [[student, teacher], …]");
  list.add("heads", heads, "share of the teacher's heads in each layer that count, chosen by entropy");
  list.add("head_entropy", head_entropy, "which those are").choices = {"lowest", "highest"};
  list.add("head_map", head_map,
           "pair: each with the student's head at the same place; project: with a learned mean of the "
           "student's heads")
      .choices = {"pair", "project"};
  positions.visit(list);
}

void AttentionHeads::add(const ModelConfig& config, int layer, const std::vector<std::int64_t>& heads,
                         at::Device device) {
  const LayerConfig& own = layer_of(config, layer);
  const std::int64_t q = own.num_attention_heads, kv = own.num_key_value_heads;
  std::vector<std::int64_t> key_heads;
  // Keys stand behind all queries.
  for (const std::int64_t head : heads) key_heads.push_back(q + head / (q / kv));
  const auto append = [&](std::vector<at::Tensor>& all, const std::vector<std::int64_t>& values) {
    const at::Tensor fresh = to_tensor(values, device);
    const bool again = !all.empty() && at::equal(all.back(), fresh);
    all.push_back(again ? all.back() : fresh);
  };
  layers.push_back(layer);
  append(queries, heads);
  append(keys, key_heads);
}

MapSide AttentionHeads::side(const std::map<int, at::Tensor>& qkv, const ModelConfig& config) const {
  MapSide side;
  side.head_dim = config.head_dim;
  side.window = layer_of(config, layers.front()).sliding_window;
  for (const int layer : layers) side.rows.push_back(qkv.at(layer));
  side.query_heads = queries;
  side.key_heads = keys;
  return side;
}

AttentionTerm::Group& AttentionTerm::group_for(const LayerPair& pair, std::int64_t heads,
                                               const TermContext& context) {
  const auto alike = [&](const Group& group) {
    return !group.mixing.defined() && group.teacher.queries.front().size(0) == heads &&
           layer_of(*context.student, group.student.layers.front()).sliding_window ==
               layer_of(*context.student, pair.student).sliding_window &&
           layer_of(*context.teacher, group.teacher.layers.front()).sliding_window ==
               layer_of(*context.teacher, pair.teacher).sliding_window;
  };
  const auto found = std::find_if(groups_.begin(), groups_.end(), alike);
  return found != groups_.end() ? *found : groups_.emplace_back();
}

AttentionTerm::AttentionTerm(MapDistance kind, const AttentionTermOptions& options, const std::string& where,
                             const TermContext& context)
    : kind_(kind), weights_(options.positions, where, context), label_of_parameters_(context.label) {
  if (!(options.heads > 0 && options.heads <= 1))
    throw Error({.where = where + ": heads",
                 .found = Json(options.heads).dump(),
                 .expected = "a share above 0, at most 1",
                 .advice = ""});
  const std::vector<LayerPair> layers =
      read_layer_map(options.layers, layer_counts(context, where), /*lowest=*/0, where + ": layers");
  std::map<int, std::vector<double>> entropies;
  if (options.heads < 1) entropies = measure_entropies(context, layers, weights_, where);
  for (const LayerPair& pair : layers) {
    const std::int64_t of_student = layer_of(*context.student, pair.student).num_attention_heads,
                       of_teacher = layer_of(*context.teacher, pair.teacher).num_attention_heads;
    std::vector<std::int64_t> teacher_heads = first_numbers(of_teacher);
    if (options.heads < 1) {
      teacher_heads = choose_heads(entropies.at(pair.teacher), options);
      log_info("{}: heads {} of the teacher's layer {} have the {} entropies", context.label,
               Json(teacher_heads).dump(), pair.teacher, options.head_entropy);
    }
    std::vector<std::int64_t> student_heads;
    at::Tensor mixing;
    if (options.head_map == "project") {
      student_heads = first_numbers(of_student);
      mixing = at::zeros({static_cast<std::int64_t>(teacher_heads.size()), of_student});
      // Begins near the pairing: the paired head has as much weight as all others together, or more.
      for (std::size_t i = 0; i < teacher_heads.size(); ++i)
        mixing[static_cast<std::int64_t>(i)][teacher_heads[i] * of_student / of_teacher] =
            std::log(static_cast<double>(of_student));
      mixing = shared_parameter(context, mixing_name(context.label, pair.student, pair.teacher),
                                mixing.to(context.device).requires_grad_(), where);
    } else {
      for (const std::int64_t head : teacher_heads) student_heads.push_back(head * of_student / of_teacher);
    }
    const auto heads = static_cast<std::int64_t>(teacher_heads.size());
    Group& group = mixing.defined() ? groups_.emplace_back() : group_for(pair, heads, context);
    group.student.add(*context.student, pair.student, student_heads, context.device);
    group.teacher.add(*context.teacher, pair.teacher, teacher_heads, context.device);
    group.mixing = mixing;
    const auto maps = static_cast<std::int64_t>(std::max(student_heads.size(), teacher_heads.size()));
    most_maps_ = std::max(most_maps_, maps * static_cast<std::int64_t>(group.student.layers.size()));
    ++pairs_;
  }
}

Taps AttentionTerm::student_taps() const {
  Taps taps;
  for (const Group& group : groups_)
    taps.qkv.insert(taps.qkv.end(), group.student.layers.begin(), group.student.layers.end());
  return taps;
}

Taps AttentionTerm::teacher_taps() const {
  Taps taps;
  for (const Group& group : groups_)
    taps.qkv.insert(taps.qkv.end(), group.teacher.layers.begin(), group.teacher.layers.end());
  return taps;
}

// Each pair that mixes is a group of its own.
std::vector<Parameter> AttentionTerm::parameters() {
  std::vector<Parameter> all;
  for (const Group& group : groups_)
    if (group.mixing.defined())
      all.push_back(
          {mixing_name(label_of_parameters_, group.student.layers.front(), group.teacher.layers.front()),
           group.mixing});
  return all;
}

LossSum AttentionTerm::compute(const StepView& view) {
  const Positions positions = weights_(view.batch);
  const auto blocks =
      map_blocks(view.batch, positions.of_row, map_elements(view.batch.tokens.device(), most_maps_));
  at::Tensor sum;
  for (const Group& group : groups_) {
    const at::Tensor mean = map_distance(
        kind_, group.student.side(view.student_output.qkv_taps, view.student.config()),
        group.teacher.side(view.teacher_output->qkv_taps, view.teacher->config()), group.mixing, blocks);
    const at::Tensor one = mean * static_cast<double>(group.student.layers.size());
    sum = sum.defined() ? sum + one : one;
  }
  return {sum / static_cast<double>(pairs_), view.batch.weight_sum};
}

}  // namespace retort
