#include "objective/alignment/attention_maps.h"

#include <algorithm>
#include <cmath>

#include "objective/fused/known_gradients.h"

namespace retort {
namespace {

constexpr std::int64_t kMapElementsCpu = 1 << 18, kMapElementsGpu = 1 << 23;  // of fp32 scores in one block

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
  const at::Tensor query_rows = at::zeros({sequences, width}, at::kLong), places = at::zeros_like(query_rows),
                   key_rows = at::zeros({sequences, keys}, at::kLong),
                   weights = at::zeros({sequences, width});
  for (std::int64_t s = 0; s < sequences; ++s) {
    const QueryList& list = lists[static_cast<std::size_t>(s)];
    for (std::size_t r = 0; r < list.places.size(); ++r) {
      const std::int64_t at = s * width + static_cast<std::int64_t>(r), row = list.start + list.places[r];
      query_rows.data_ptr<std::int64_t>()[at] = row;
      places.data_ptr<std::int64_t>()[at] = list.places[r];
      weights.data_ptr<float>()[at] = row_weights[static_cast<std::size_t>(row)];
    }
    for (std::int64_t j = 0; j < list.keys(); ++j)
      key_rows.data_ptr<std::int64_t>()[s * keys + j] = list.start + j;
  }
  return {query_rows.to(device), key_rows.to(device), places.to(device), weights.to(device)};
}

// true where query i must not see key j, [S, 1, R, L]; padded keys come after every query.
at::Tensor unseen(const MapBlock& block, std::int64_t window) {
  const at::Tensor keys = at::arange(block.key_rows.size(1), block.places.options());
  const at::Tensor places = block.places.unsqueeze(2);
  at::Tensor mask = keys > places;
  if (window > 0) mask = mask.logical_or(keys <= places - window);
  return mask.unsqueeze(1);
}

// A block's rows of one side, fp32 [S · R, A, d] and [S · L, K, d].
struct BlockRows {
  at::Tensor queries, keys;
};

// The channels of all queries, or of all keys, of [N, W].
at::Tensor query_part(const at::Tensor& rows, const MapSide& side) {
  return rows.narrow(1, side.first_query, side.queries * side.head_dim);
}
at::Tensor key_part(const at::Tensor& rows, const MapSide& side) {
  return rows.narrow(1, side.first_key, side.keys * side.head_dim);
}

BlockRows rows_of(const MapSide& side, const MapBlock& block) {
  const auto pick = [&](const at::Tensor& part, const at::Tensor& index) {
    return part.index_select(0, index.flatten()).to(at::kFloat).view({index.numel(), -1, side.head_dim});
  };
  return {pick(query_part(side.rows, side), block.query_rows),
          pick(key_part(side.rows, side), block.key_rows)};
}

// Log-probabilities [S, P, R, L], -inf where unseen.
at::Tensor log_maps(const BlockRows& rows, const MapSide& side, const MapBlock& block,
                    const at::Tensor& mask) {
  const auto split = [&](const at::Tensor& x, const at::Tensor& heads) {
    return x.view({block.places.size(0), -1, x.size(1), x.size(2)}).index_select(2, heads);
  };
  const at::Tensor q = split(rows.queries, side.query_heads).permute({0, 2, 1, 3}),
                   k = split(rows.keys, side.key_heads).permute({0, 2, 3, 1});
  const double scale = 1 / std::sqrt(static_cast<double>(side.head_dim));
  return (at::matmul(q, k) * scale)
      .masked_fill(mask, -std::numeric_limits<float>::infinity())
      .log_softmax(-1);
}

// 0-dim: Σ weight · mean over heads of the distance.
at::Tensor block_distance(MapDistance kind, const at::Tensor& log_student, const at::Tensor& log_teacher,
                          const at::Tensor& mixing, const at::Tensor& mask, const MapBlock& block) {
  at::Tensor log_s = log_student, map_s;
  if (mixing.defined()) {
    const at::Tensor flat = log_student.exp().flatten(2);  // [S, P_S, R · L]
    map_s = at::matmul(mixing.softmax(1), flat).view(log_teacher.sizes());
    log_s = map_s.clamp_min(1e-30).log();
  }
  const at::Tensor map_t = log_teacher.exp();
  at::Tensor values;
  if (kind == MapDistance::kl)
    values = (log_teacher - log_s).masked_fill(mask, 0).mul(map_t).sum(-1);
  else
    values = ((map_s.defined() ? map_s : log_s.exp()) - map_t).square().sum(-1);
  return values.mean(1).mul(block.weights).sum();
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
  const bool recording = at::GradMode::is_enabled() &&
                         (student.rows.requires_grad() || (mixing.defined() && mixing.requires_grad()));
  const at::NoGradGuard no_grad;
  const at::TensorOptions fp32 = student.rows.options().dtype(at::kFloat);
  at::Tensor total = at::zeros({}, fp32.dtype(at::kDouble)), gradient, mixing_gradient;
  if (recording) {
    gradient = at::zeros(student.rows.sizes(), fp32);
    if (mixing.defined()) mixing_gradient = at::zeros_like(mixing);
  }
  for (const MapBlock& block : blocks) {
    const at::Tensor mask = unseen(block, student.window);
    const at::Tensor log_teacher =
        log_maps(rows_of(teacher, block), teacher, block,
                 teacher.window == student.window ? mask : unseen(block, teacher.window));
    const auto leaf = [&](const at::Tensor& x) { return x.detach().requires_grad_(recording); };
    BlockRows rows = rows_of(student, block);
    rows = {leaf(rows.queries), leaf(rows.keys)};
    const at::AutoGradMode enable(recording);
    const at::Tensor mix = mixing.defined() ? leaf(mixing) : mixing;
    // Where the teacher looks and the student cannot, no gradient could tell it to.
    const at::Tensor hidden =
        teacher.window == student.window ? mask : mask.logical_or(unseen(block, teacher.window));
    const at::Tensor sum =
        block_distance(kind, log_maps(rows, student, block, mask), log_teacher, mix, hidden, block);
    total += sum.detach();
    if (!recording) continue;
    std::vector<at::Tensor> leaves = {rows.queries, rows.keys};
    if (mix.defined()) leaves.push_back(mix);
    const auto gradients = torch::autograd::grad({sum}, leaves);
    const at::NoGradGuard outside;
    query_part(gradient, student).index_add_(0, block.query_rows.flatten(), gradients[0].flatten(1));
    key_part(gradient, student).index_add_(0, block.key_rows.flatten(), gradients[1].flatten(1));
    if (mix.defined()) mixing_gradient += gradients[2];
  }
  total = total.to(at::kFloat);
  if (!recording) return total;
  const at::AutoGradMode enable(true);
  std::vector<at::Tensor> inputs = {student.rows}, gradients = {gradient.to(student.rows.scalar_type())};
  if (mixing.defined()) {
    inputs.push_back(mixing);
    gradients.push_back(mixing_gradient);
  }
  return with_known_gradients(total, inputs, std::move(gradients));
}

at::Tensor map_entropies(const MapSide& side, const std::vector<MapBlock>& blocks) {
  const at::NoGradGuard no_grad;
  at::Tensor sum = at::zeros({side.query_heads.size(0)}, at::kDouble);
  double weight = 0;
  for (const MapBlock& block : blocks) {
    const at::Tensor mask = unseen(block, side.window);
    const at::Tensor log_map = log_maps(rows_of(side, block), side, block, mask);
    const at::Tensor entropy = log_map.exp().mul_(log_map.masked_fill(mask, 0)).sum(-1).neg_();  // [S, P, R]
    sum += entropy.mul_(block.weights.unsqueeze(1)).sum(at::IntArrayRef{0, 2}).to(at::kCPU, at::kDouble);
    weight += block.weights.sum().item<double>();
  }
  return sum / std::max(weight, 1e-30);
}

}  // namespace retort
