#include "objective/alignment/attention_maps.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "objective/fused/known_gradients.h"

namespace retort {
namespace {

constexpr std::int64_t kMapElementsCpu = 1 << 18, kMapElementsGpu = 6 << 20;  // of fp32 scores in one block

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
  std::vector<std::int64_t> query_rows(lists.size() * queries),
      places = query_rows, key_rows(lists.size() * static_cast<std::size_t>(keys));
  std::vector<float> weights(query_rows.size());
  for (std::size_t s = 0; s < lists.size(); ++s) {
    const QueryList& list = lists[s];
    for (std::size_t r = 0; r < list.places.size(); ++r) {
      const std::size_t at = s * queries + r;
      query_rows[at] = list.start + list.places[r];
      places[at] = list.places[r];
      weights[at] = row_weights[static_cast<std::size_t>(query_rows[at])];
    }
    std::iota(key_rows.begin() + static_cast<std::ptrdiff_t>(s) * keys,
              key_rows.begin() + static_cast<std::ptrdiff_t>(s) * keys + list.keys(), list.start);
  }
  return {send(query_rows, {sequences, width}, device), send(key_rows, {sequences, keys}, device),
          send(places, {sequences, width}, device), send(weights, {sequences, width}, device)};
}

// true where query i must not see key j, [S, R, L]; padded keys come after every query.
at::Tensor unseen(const MapBlock& block, std::int64_t window) {
  const at::Tensor keys = at::arange(block.key_rows.size(1), block.places.options());
  const at::Tensor places = block.places.unsqueeze(2);
  const at::Tensor mask = keys > places;
  return window > 0 ? mask.logical_or(keys <= places - window) : mask;
}

// Heads of some rows of all layers of a side, [P · layers, S, n, d], and where they came from.
struct Gathered {
  at::Tensor values;               // on the CPU fp32, else as the rows are: see fp32_product()
  std::vector<at::Tensor> places;  // per layer int64 [P · S · n], among the heads of all rows
};

// rows [S, n].
Gathered gather(const MapSide& side, const std::vector<at::Tensor>& heads, const at::Tensor& rows) {
  const std::int64_t count = heads.front().size(0), d = side.head_dim;
  const at::Tensor values =
      at::empty({count * static_cast<std::int64_t>(heads.size()), rows.size(0), rows.size(1), d},
                side.rows.front().options().requires_grad(false));
  Gathered out;
  for (std::size_t l = 0; l < heads.size(); ++l) {
    const at::Tensor source = side.rows[l].detach().reshape({-1, d});
    const std::int64_t width = side.rows[l].size(1) / d;
    const bool again =
        l > 0 && heads[l].is_same(heads[l - 1]) && side.rows[l].size(1) == side.rows[l - 1].size(1);
    out.places.push_back(again ? out.places.back() : (rows * width + heads[l].view({-1, 1, 1})).flatten());
    at::Tensor part = values.narrow(0, static_cast<std::int64_t>(l) * count, count).view({-1, d});
    at::index_select_out(part, source, 0, out.places.back());
  }
  out.values = values.is_cuda() ? values : values.to(at::kFloat);
  return out;
}

// The other way: adds x [P · layers, S, n, d] to the layers' gradients [N, W] where the heads came from.
void scatter(const at::Tensor& x, const Gathered& from, std::vector<at::Tensor>& gradients) {
  const std::int64_t d = x.size(3), count = x.size(0) / static_cast<std::int64_t>(gradients.size());
  for (std::size_t l = 0; l < gradients.size(); ++l)
    gradients[l].view({-1, d}).index_add_(
        0, from.places[l], x.narrow(0, static_cast<std::int64_t>(l) * count, count).reshape({-1, d}));
}

double scale_of(const MapSide& side) { return 1 / std::sqrt(static_cast<double>(side.head_dim)); }

at::Tensor batched(const at::Tensor& x) { return x.flatten(0, 1); }

// x [B, m, k] · y [B, k, n] of one dtype, in fp32: a GPU's tensor cores add exact products of low precision.
at::Tensor fp32_product(const at::Tensor& x, const at::Tensor& y) {
  return x.scalar_type() == at::kFloat ? at::bmm(x, y) : at::bmm(x, y, at::kFloat);
}

// Log-probabilities [P · layers, S, R, L], -inf where unseen.
at::Tensor log_maps(const Gathered& queries, const Gathered& keys, const MapSide& side,
                    const at::Tensor& mask) {
  const at::Tensor &q = queries.values, &k = keys.values;
  return fp32_product(batched(q), batched(k).transpose(1, 2))
      .view({q.size(0), q.size(1), q.size(2), k.size(2)})
      .mul_(scale_of(side))
      .masked_fill_(mask, -std::numeric_limits<float>::infinity())
      .log_softmax(-1);
}

// A block's Σ weight · mean over heads of the distance, and where it goes down.
struct BlockDistance {
  at::Tensor sum;      // 0-dim
  at::Tensor log_map;  // ∂sum / ∂ log_student, [P_S, S, R, L]; undefined when not wanted, as is
  at::Tensor mixing;   // ∂sum / ∂ mixing
};

// Of heads that are compared one with one. `hidden`: what counts in neither map. log_teacher is used up.
BlockDistance paired_distance(MapDistance kind, const at::Tensor& log_student, at::Tensor log_teacher,
                              const at::Tensor& hidden, const at::Tensor& weights, bool with_gradient) {
  BlockDistance out;
  const at::Tensor map_t = log_teacher.exp();
  at::Tensor slope;  // ∂distance / ∂ log of the student's map
  if (kind == MapDistance::kl) {
    log_teacher.sub_(log_student).masked_fill_(hidden, 0);
    out.sum = log_teacher.mul_(map_t).sum(-1).mul_(weights).sum();
    if (with_gradient) slope = map_t.neg().masked_fill_(hidden, 0);
  } else {
    const at::Tensor map_s = log_student.exp(), difference = (map_s - map_t).masked_fill_(hidden, 0);
    out.sum = difference.square().sum(-1).mul_(weights).sum();
    if (with_gradient) slope = (difference * map_s).mul_(2);
  }
  if (with_gradient) out.log_map = slope.mul_(weights.unsqueeze(2));
  return out;
}

// Of the teacher's heads and means of the student's.
BlockDistance mixed_distance(MapDistance kind, const at::Tensor& log_student, const at::Tensor& log_teacher,
                             const at::Tensor& mixing, const at::Tensor& hidden, const at::Tensor& weights,
                             bool with_gradient) {
  const at::Tensor own = log_student.exp(), mix = mixing.softmax(1);
  const at::Tensor map_s = mix.mm(own.flatten(1)).view(log_teacher.sizes()).clamp_min_(1e-30);
  BlockDistance out = paired_distance(kind, map_s.log(), log_teacher, hidden, weights, with_gradient);
  if (!with_gradient) return out;
  const at::Tensor by_map = out.log_map.div_(map_s).flatten(1);  // ∂sum / ∂map_s, [P_T, S · R · L]
  out.mixing = at::_softmax_backward_data(by_map.mm(own.flatten(1).t()), mix, 1, at::kFloat);
  out.log_map = mix.t().mm(by_map).view(own.sizes()).mul_(own);
  return out;
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
  const bool recording = at::GradMode::is_enabled() && (student.rows.front().requires_grad() ||
                                                        (mixing.defined() && mixing.requires_grad()));
  const at::NoGradGuard no_grad;
  const at::TensorOptions fp32 = student.rows.front().options().dtype(at::kFloat);
  at::Tensor total = at::zeros({}, fp32.dtype(at::kDouble)), mixing_gradient;
  std::vector<at::Tensor> gradients;
  if (recording) {
    for (const at::Tensor& rows : student.rows) gradients.push_back(at::zeros(rows.sizes(), fp32));
    if (mixing.defined()) mixing_gradient = at::zeros_like(mixing);
  }
  for (const MapBlock& block : blocks) {
    const at::Tensor mask = unseen(block, student.window);
    // Where the teacher looks and the student cannot, no gradient could tell it to.
    at::Tensor teacher_mask = mask, hidden = mask;
    if (teacher.window != student.window) {
      teacher_mask = unseen(block, teacher.window);
      hidden = mask.logical_or(teacher_mask);
    }
    const at::Tensor log_teacher =
        log_maps(gather(teacher, teacher.query_heads, block.query_rows),
                 gather(teacher, teacher.key_heads, block.key_rows), teacher, teacher_mask);
    const Gathered queries = gather(student, student.query_heads, block.query_rows),
                   keys = gather(student, student.key_heads, block.key_rows);
    const at::Tensor log_student = log_maps(queries, keys, student, mask);
    const at::Tensor weights = block.weights / static_cast<double>(log_teacher.size(0));  // [S, R]
    const BlockDistance distance =
        mixing.defined() ? mixed_distance(kind, log_student, log_teacher, mixing, hidden, weights, recording)
                         : paired_distance(kind, log_student, log_teacher, hidden, weights, recording);
    total += distance.sum;
    if (!recording) continue;
    const at::Tensor scores =
        batched(at::_log_softmax_backward_data(distance.log_map, log_student, -1, at::kFloat)
                    .mul_(scale_of(student)))
            .to(keys.values.scalar_type());
    scatter(fp32_product(scores, batched(keys.values)).view(queries.values.sizes()), queries, gradients);
    scatter(fp32_product(scores.transpose(1, 2), batched(queries.values)).view(keys.values.sizes()), keys,
            gradients);
    if (mixing.defined()) mixing_gradient += distance.mixing;
  }
  total = total.to(at::kFloat);
  if (!recording) return total;
  const at::AutoGradMode enable(true);
  std::vector<at::Tensor> inputs = student.rows;
  for (at::Tensor& gradient : gradients) gradient = gradient.to(inputs.front().scalar_type());
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
    const at::Tensor log_map = log_maps(gather(side, side.query_heads, block.query_rows),
                                        gather(side, side.key_heads, block.key_rows), side, mask);
    const at::Tensor entropy = log_map.exp().mul_(log_map.masked_fill(mask, 0)).sum(-1).neg_();  // [P, S, R]
    sum += entropy.mul_(block.weights).sum(at::IntArrayRef{1, 2}).to(at::kCPU, at::kDouble);
    weight += block.weights.sum().item<double>();
  }
  return sum / std::max(weight, 1e-30);
}

}  // namespace retort
