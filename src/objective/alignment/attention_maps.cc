#include "objective/alignment/attention_maps.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "objective/fused/known_gradients.h"

namespace retort {
namespace {

// Of fp32 scores in one block; on a GPU fewer blocks are fewer launches.
constexpr std::int64_t kMapElementsCpu = 1 << 18, kMapElementsGpu = 12 << 20;
// The score of what a query does not see, and its log-probability: e^x is 0, and differences stay numbers.
constexpr double kUnseen = -1e30;

// The queries of one sequence.
struct QueryList {
  std::int64_t start = 0;                                  // of the sequence, in the batch
  std::vector<std::int64_t> places;                        // in the sequence, ascending
  std::int64_t keys() const { return places.back() + 1; }  // later ones are seen by none
};

MapBlock make_block(const std::vector<QueryList>& lists, const std::vector<float>& row_weights,
                    at::Device device) {
  std::size_t queries = 0;
  std::int64_t keys = 0;
  for (const QueryList& list : lists) {
    queries = std::max(queries, list.places.size());
    keys = std::max(keys, list.keys());
  }
  const auto sequences = static_cast<std::int64_t>(lists.size()), width = static_cast<std::int64_t>(queries);
  const std::int64_t row_width = width + keys;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(sequences * row_width)),
      places(lists.size() * queries);
  std::vector<float> weights(places.size());
  for (std::size_t s = 0; s < lists.size(); ++s) {
    const QueryList& list = lists[s];
    const auto own = rows.begin() + static_cast<std::int64_t>(s) * row_width;
    for (std::size_t r = 0; r < list.places.size(); ++r) {
      const std::int64_t row = list.start + list.places[r];
      own[static_cast<std::ptrdiff_t>(r)] = row;
      places[s * queries + r] = list.places[r];
      weights[s * queries + r] = row_weights[static_cast<std::size_t>(row)];
    }
    std::iota(own + width, own + width + list.keys(), list.start);
  }
  return {send(rows, {sequences, row_width}, device), send(places, {sequences, width}, device),
          send(weights, {sequences, width}, device)};
}

// true where query i must not see key j, [S, R, L]; padded keys come after every query.
at::Tensor unseen(const MapBlock& block, std::int64_t window) {
  const at::Tensor keys = at::arange(block.keys(), block.places.options());
  const at::Tensor places = block.places.unsqueeze(2);
  const at::Tensor mask = keys > places;
  return window > 0 ? mask.logical_or(keys <= places - window) : mask;
}

// Queries and keys of a block, of the heads of all layers of a side: H = P · layers.
struct Gathered {
  at::Tensor values;               // [H, S, R + L, d]; on the CPU fp32, else as the rows are: see product()
  std::vector<at::Tensor> places;  // per layer int64 [P · S · (R + L)], among the heads of all rows
  std::int64_t queries_each = 0;   // R

  // Of such values, the queries [H · S, R, d] and the keys [H · S, L, d].
  at::Tensor queries(const at::Tensor& of) const { return of.flatten(0, 1).narrow(1, 0, queries_each); }
  at::Tensor keys(const at::Tensor& of) const {
    return of.flatten(0, 1).narrow(1, queries_each, of.size(2) - queries_each);
  }
};

// Places of a layer's heads in the block's rows of `width` heads.
at::Tensor head_places(const MapBlock& block, const at::Tensor& query_heads, const at::Tensor& key_heads,
                       std::int64_t width) {
  const auto along = [](const at::Tensor& heads, std::int64_t rows) {
    return heads.view({-1, 1, 1}).expand({heads.size(0), 1, rows});
  };
  const at::Tensor heads = at::cat({along(query_heads, block.queries()), along(key_heads, block.keys())}, 2);
  return heads.add(block.rows, width).flatten();
}

Gathered gather(const MapSide& side, const MapBlock& block) {
  const std::int64_t count = side.query_heads.front().size(0), d = side.head_dim;
  const auto layers = static_cast<std::int64_t>(side.rows.size());
  const at::Tensor values = at::empty({count * layers, block.sequences(), block.rows.size(1), d},
                                      side.rows.front().options().requires_grad(false));
  Gathered out;
  out.queries_each = block.queries();
  for (std::size_t l = 0; l < side.rows.size(); ++l) {
    const at::Tensor& rows = side.rows[l];
    const bool again = l > 0 && side.query_heads[l].is_same(side.query_heads[l - 1]) &&
                       side.key_heads[l].is_same(side.key_heads[l - 1]) &&
                       rows.size(1) == side.rows[l - 1].size(1);
    out.places.push_back(again
                             ? out.places.back()
                             : head_places(block, side.query_heads[l], side.key_heads[l], rows.size(1) / d));
    at::Tensor part = values.narrow(0, static_cast<std::int64_t>(l) * count, count).view({-1, d});
    at::index_select_out(part, rows.detach().reshape({-1, d}), 0, out.places.back());
  }
  out.values = values.is_cuda() ? values : values.to(at::kFloat);
  return out;
}

// The other way: adds x [H, S, R + L, d] to the layers' gradients [N, W] where the heads came from.
void scatter(const at::Tensor& x, const Gathered& from, std::vector<at::Tensor>& gradients) {
  const std::int64_t d = x.size(3), count = x.size(0) / static_cast<std::int64_t>(gradients.size());
  for (std::size_t l = 0; l < gradients.size(); ++l)
    gradients[l].view({-1, d}).index_add_(
        0, from.places[l], x.narrow(0, static_cast<std::int64_t>(l) * count, count).view({-1, d}));
}

double scale_of(const MapSide& side) { return 1 / std::sqrt(static_cast<double>(side.head_dim)); }

// out [B, m, n] (fp32) = scale · x [B, m, k] · y [B, k, n], both of one dtype: a GPU's tensor cores add exact
// products of low precision.
void product(at::Tensor out, const at::Tensor& x, const at::Tensor& y, double scale) {
  if (x.scalar_type() == at::kFloat) {
    at::bmm_out(out, x, y);
    out.mul_(scale);
  } else {
    at::baddbmm_out(out, out, x, y, at::kFloat, /*beta=*/0, scale);
  }
}

// Log-probabilities [H, S, R, L], kUnseen where `mask`.
at::Tensor log_maps(const Gathered& side, double scale, const at::Tensor& mask) {
  const at::Tensor queries = side.queries(side.values), keys = side.keys(side.values);
  const at::Tensor scores =
      at::empty({queries.size(0), queries.size(1), keys.size(1)}, queries.options().dtype(at::kFloat));
  product(scores, queries, keys.transpose(1, 2), scale);
  return scores.view({-1, mask.size(0), mask.size(1), mask.size(2)})
      .masked_fill_(mask, kUnseen)
      .log_softmax(-1);
}

// The distances of a block's maps, and where their sum, weighted by row, goes down. `hidden`: what only one
// side may see; it counts in neither map. Undefined: nothing.
struct BlockDistance {
  at::Tensor rows;    // [P_T, S, R]
  at::Tensor scores;  // ∂sum / ∂ the student's scores, [P_S, S, R, L]; or undefined
  at::Tensor mixing;  // ∂sum / ∂ mixing
};

void hide(at::Tensor& map, const at::Tensor& hidden) {
  if (hidden.defined()) map.masked_fill_(hidden, 0);
}

// Of heads that are compared one with one. Uses both logarithms up: few maps are held at a time.
BlockDistance paired_distance(MapDistance kind, at::Tensor log_student, at::Tensor log_teacher,
                              const at::Tensor& hidden, const at::Tensor& weights, bool with_gradient) {
  BlockDistance out;
  const at::Tensor row_weights = weights.unsqueeze(2);
  at::Tensor map_t = log_teacher.exp();
  if (kind == MapDistance::kl) {
    hide(map_t, hidden);
    log_teacher.sub_(log_student);
    hide(log_teacher, hidden);
    out.rows = log_teacher.mul_(map_t).sum(-1);
    if (!with_gradient) return out;
    // a_S Σ a_T - a_T, where Σ a_T is 1 if nothing is hidden.
    out.scores = log_student.exp_();
    if (hidden.defined()) out.scores.mul_(map_t.sum(-1, /*keepdim=*/true));
    out.scores.sub_(map_t).mul_(row_weights);
  } else {
    const at::Tensor map_s = log_student.exp_();
    at::Tensor difference = map_s - map_t;
    hide(difference, hidden);
    out.rows = difference.square().sum(-1);
    if (with_gradient)
      out.scores = at::_softmax_backward_data(difference.mul_(2).mul_(row_weights), map_s, -1, at::kFloat);
  }
  return out;
}

// Of the teacher's heads and means of the student's.
BlockDistance mixed_distance(MapDistance kind, const at::Tensor& log_student, const at::Tensor& log_teacher,
                             const at::Tensor& mixing, const at::Tensor& hidden, const at::Tensor& weights,
                             bool with_gradient) {
  const at::Tensor own = log_student.exp(), mix = mixing.softmax(1);
  const at::Tensor map_s = mix.mm(own.flatten(1)).view(log_teacher.sizes()).clamp_min_(1e-30);
  at::Tensor map_t = log_teacher.exp(), values, slope;  // slope: ∂values / ∂map_s
  if (kind == MapDistance::kl) {
    hide(map_t, hidden);
    values = (log_teacher - map_s.log()).mul_(map_t);
    slope = map_t.neg().div_(map_s);
  } else {
    at::Tensor difference = map_s - map_t;
    hide(difference, hidden);
    values = difference.square();
    slope = difference.mul_(2);
  }
  BlockDistance out;
  out.rows = values.sum(-1);
  if (!with_gradient) return out;
  const at::Tensor by_map = slope.mul_(weights.unsqueeze(2)).flatten(1);  // [P_T, S · R · L]
  out.mixing = at::_softmax_backward_data(by_map.mm(own.flatten(1).t()), mix, 1, at::kFloat);
  out.scores = at::_softmax_backward_data(mix.t().mm(by_map).view(own.sizes()), own, -1, at::kFloat);
  return out;
}

// A flat tensor's parts in the shapes of some.
std::vector<at::Tensor> parts_like(const std::vector<at::Tensor>& shapes, const at::Tensor& flat) {
  std::vector<at::Tensor> parts;
  std::int64_t begin = 0;
  for (const at::Tensor& like : shapes) {
    parts.push_back(flat.narrow(0, begin, like.numel()).view(like.sizes()));
    begin += like.numel();
  }
  return parts;
}

}  // namespace

std::int64_t map_elements(at::Device device, std::int64_t heads) {
  return std::max<std::int64_t>(1, (device.is_cpu() ? kMapElementsCpu : kMapElementsGpu) / heads);
}

std::vector<MapBlock> map_blocks(const DeviceBatch& batch, const std::vector<float>& row_weights,
                                 std::int64_t elements) {
  std::vector<QueryList> lists;
  for (std::size_t s = 0; s + 1 < batch.starts.size(); ++s) {
    QueryList list{batch.starts[s], {}};
    for (std::int64_t row = batch.starts[s]; row < batch.starts[s + 1]; ++row)
      if (row_weights[static_cast<std::size_t>(row)] > 0) list.places.push_back(row - batch.starts[s]);
    if (!list.places.empty()) lists.push_back(std::move(list));
  }
  std::stable_sort(lists.begin(), lists.end(),
                   [](const QueryList& a, const QueryList& b) { return a.keys() < b.keys(); });
  const at::Device device = batch.tokens.device();
  std::vector<MapBlock> blocks;
  std::vector<QueryList> group;
  std::int64_t queries = 0;  // the most of any sequence in the group
  const auto close = [&] {
    if (!group.empty()) blocks.push_back(make_block(group, row_weights, device));
    group.clear();
    queries = 0;
  };
  for (QueryList& list : lists) {
    const auto own = static_cast<std::int64_t>(list.places.size());
    const auto members = static_cast<std::int64_t>(group.size()) + 1;
    if (members * std::max(queries, own) * list.keys() > elements) close();
    const std::int64_t most = std::max<std::int64_t>(1, elements / list.keys());
    if (own > most) {
      for (std::int64_t begin = 0; begin < own; begin += most) {
        const auto first = list.places.begin() + begin;
        group.push_back({list.start, {first, first + std::min(most, own - begin)}});
        close();
      }
    } else {
      queries = std::max(queries, own);
      group.push_back(std::move(list));
    }
  }
  close();
  return blocks;
}

at::Tensor map_distance(MapDistance kind, const MapSide& student, const MapSide& teacher,
                        const at::Tensor& mixing, const std::vector<MapBlock>& blocks) {
  // Some layers may be frozen, and what is below them.
  const bool learns = std::any_of(student.rows.begin(), student.rows.end(),
                                  [](const at::Tensor& rows) { return rows.requires_grad(); });
  const bool recording =
      at::GradMode::is_enabled() && (learns || (mixing.defined() && mixing.requires_grad()));
  const at::NoGradGuard no_grad;
  const at::TensorOptions fp32 = student.rows.front().options().dtype(at::kFloat);
  at::Tensor totals;  // [P_T of all layers]
  at::Tensor mixing_gradient, all_gradients;
  std::vector<at::Tensor> gradients;  // of the student's rows: parts of all_gradients
  if (recording) {
    std::int64_t elements = 0;
    for (const at::Tensor& rows : student.rows) elements += rows.numel();
    all_gradients = at::zeros({elements}, fp32);
    gradients = parts_like(student.rows, all_gradients);
    if (mixing.defined()) mixing_gradient = at::zeros_like(mixing);
  }
  for (const MapBlock& block : blocks) {
    const at::Tensor mask = unseen(block, student.window);
    at::Tensor teacher_mask = mask, hidden;
    if (teacher.window != student.window) {
      // Where the teacher looks and the student cannot, no gradient could tell it to.
      teacher_mask = unseen(block, teacher.window);
      hidden = mask.logical_or(teacher_mask);
    }
    const Gathered own = gather(student, block);
    at::Tensor log_teacher = log_maps(gather(teacher, block), scale_of(teacher), teacher_mask);
    at::Tensor log_student = log_maps(own, scale_of(student), mask);
    const std::int64_t maps = log_teacher.size(0);
    const at::Tensor weights = block.weights / static_cast<double>(maps);  // [S, R]
    BlockDistance distance =
        mixing.defined() ? mixed_distance(kind, log_student, log_teacher, mixing, hidden, weights, recording)
                         : paired_distance(kind, std::move(log_student), std::move(log_teacher), hidden,
                                           weights, recording);
    if (!totals.defined()) totals = at::zeros({maps}, fp32);
    totals.addmv_(distance.rows.view({maps, -1}), weights.flatten());
    if (!recording) continue;
    const at::Tensor scores = distance.scores.flatten(0, 1).to(own.values.scalar_type());
    distance.scores.reset();
    const at::Tensor gradient = at::empty(own.values.sizes(), fp32);
    product(own.queries(gradient), scores, own.keys(own.values), scale_of(student));
    product(own.keys(gradient), scores.transpose(1, 2), own.queries(own.values), scale_of(student));
    scatter(gradient, own, gradients);
    if (mixing.defined()) mixing_gradient += distance.mixing;
  }
  const at::Tensor total = totals.defined() ? totals.sum() : at::zeros({}, fp32);
  if (!recording) return total;
  const at::AutoGradMode enable(true);
  std::vector<at::Tensor> inputs = student.rows;
  gradients = parts_like(inputs, all_gradients.to(inputs.front().scalar_type()));
  if (mixing.defined()) {
    inputs.push_back(mixing);
    gradients.push_back(mixing_gradient);
  }
  return with_known_gradients(total, inputs, std::move(gradients));
}

at::Tensor map_entropies(const MapSide& side, const std::vector<MapBlock>& blocks) {
  const at::NoGradGuard no_grad;
  const std::int64_t heads = side.query_heads.front().size(0) * static_cast<std::int64_t>(side.rows.size());
  at::Tensor sum = at::zeros({heads}, at::kDouble);
  double weight = 0;
  for (const MapBlock& block : blocks) {
    const at::Tensor mask = unseen(block, side.window);
    const at::Tensor log_map = log_maps(gather(side, block), scale_of(side), mask);
    const at::Tensor entropy = log_map.exp().mul_(log_map).sum(-1).neg_();  // [P, S, R]
    sum += entropy.mul_(block.weights).sum(at::IntArrayRef{1, 2}).to(at::kCPU, at::kDouble);
    weight += block.weights.sum().item<double>();
  }
  return sum / std::max(weight, 1e-30);
}

}  // namespace retort
