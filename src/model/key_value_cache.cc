#include "model/key_value_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "model/kernels/launch.h"

namespace retort {
namespace {

// Key or value heads of rows [q | k | v]: [n, kv_heads, head_dim].
at::Tensor part(const at::Tensor& qkv, const HeadLayout& heads, bool value) {
  return qkv.view({qkv.size(0), heads.q_heads + 2 * heads.kv_heads, heads.head_dim})
      .narrow(1, heads.q_heads + (value ? heads.kv_heads : 0), heads.kv_heads);
}

}  // namespace

KeyValueCache::KeyValueCache(const ModelConfig& config, std::int64_t slots, const at::TensorOptions& options)
    : slots_(slots), limit_(config.max_position_embeddings) {
  for (const LayerConfig& layer : config.layers) {
    keys_.push_back(at::empty({slots, layer.num_key_value_heads, 0, config.head_dim}, options));
    values_.push_back(keys_.back());
  }
}

void KeyValueCache::reserve(std::int64_t length) {
  if (length <= capacity_) return;
  const std::int64_t capacity = std::max(length, std::min(limit_, std::max<std::int64_t>(64, 2 * capacity_)));
  const auto grow = [&](at::Tensor& old) {
    // Zeros: on devices without our kernels masked places are read, and must be finite.
    const at::Tensor wide = at::zeros({slots_, old.size(1), capacity, old.size(3)}, old.options());
    if (capacity_ > 0) wide.narrow(0, 0, size()).narrow(2, 0, capacity_).copy_(old.narrow(0, 0, size()));
    old = wide;
  };
  for (at::Tensor& keys : keys_) grow(keys);
  for (at::Tensor& values : values_) grow(values);
  capacity_ = capacity;
}

void KeyValueCache::add(const std::vector<std::int64_t>& lengths) {
  reserve(*std::max_element(lengths.begin(), lengths.end()));
  lengths_.insert(lengths_.end(), lengths.begin(), lengths.end());
}

void KeyValueCache::extend() {
  for (std::int64_t& length : lengths_) ++length;
  const std::int64_t longest = *std::max_element(lengths_.begin(), lengths_.end());
  reserve(longest);
}

std::vector<std::int64_t> KeyValueCache::remove(const std::vector<std::int64_t>& slots) {
  std::vector<std::int64_t> held(lengths_.size());
  std::iota(held.begin(), held.end(), std::int64_t{0});
  // From the back, so that the slot that moves is one that stays.
  for (auto slot = slots.rbegin(); slot != slots.rend(); ++slot) {
    held[static_cast<std::size_t>(*slot)] = held.back();
    held.pop_back();
  }
  std::vector<std::int64_t> to, from;
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (held[i] == static_cast<std::int64_t>(i)) continue;
    to.push_back(static_cast<std::int64_t>(i));
    from.push_back(held[i]);
    lengths_[i] = lengths_[static_cast<std::size_t>(held[i])];
    longest = std::max(longest, lengths_[i]);
  }
  lengths_.resize(held.size());
  if (to.empty()) return held;
  const at::Device device = keys_.front().device();
  const at::Tensor target = at::tensor(to, at::kLong).to(device),
                   source = at::tensor(from, at::kLong).to(device);
  for (std::vector<at::Tensor>* all : {&keys_, &values_})
    for (const at::Tensor& tensor : *all) {
      const at::Tensor used = tensor.narrow(2, 0, longest);
      at::Tensor(used).index_copy_(0, target, used.index_select(0, source));
    }
  return held;
}

// One indexed copy a layer: a copy for each sequence would keep a GPU waiting for launches.
void PrefillAttention::find_places() {
  const at::Device device = cache_.keys_.front().device();
  if (device.is_cpu()) return;
  const std::vector<std::int64_t>& starts = packed_.packing().starts;
  std::vector<std::int64_t> slots, places;
  for (std::size_t s = 0; s + 1 < starts.size(); ++s)
    for (std::int64_t i = starts[s]; i < starts[s + 1]; ++i) {
      slots.push_back(first_slot_ + static_cast<std::int64_t>(s));
      places.push_back(i - starts[s]);
    }
  slots_ = at::tensor(slots, at::kLong).to(device);
  places_ = at::tensor(places, at::kLong).to(device);
}

at::Tensor PrefillAttention::attend(const at::Tensor& tokens, const AttentionLayer& layer) const {
  const at::Tensor qkv = rows_ ? rows_->extend(tokens, layer) : tokens;
  if (rotation_.on()) rotate_in_place(qkv, layer.heads, rotation_);
  const std::vector<std::int64_t>& starts = packed_.packing().starts;
  for (const bool value : {false, true}) {
    const at::Tensor rows = part(qkv, layer.heads, value);
    const at::Tensor& store = (value ? cache_.values_ : cache_.keys_)[layer.index];
    if (slots_.defined()) {
      at::Tensor(store).index_put_({slots_, at::indexing::Slice(), places_}, rows);
      continue;
    }
    for (std::size_t s = 0; s + 1 < starts.size(); ++s) {
      const std::int64_t n = starts[s + 1] - starts[s];
      store[first_slot_ + static_cast<std::int64_t>(s)].narrow(1, 0, n).copy_(
          rows.narrow(0, starts[s], n).transpose(0, 1));
    }
  }
  const at::Tensor output = packed_.attend(qkv, layer);
  return rows_ ? rows_->drop(output) : output;
}

DecodeAttention::DecodeAttention(KeyValueCache& cache, Rotation rotation)
    : cache_(cache), rotation_(std::move(rotation)) {
  const at::Device device = cache.keys_[0].device();
  rows_ = at::arange(cache.size(), at::TensorOptions(at::kLong).device(device));
  places_ = at::tensor(cache.lengths(), at::kLong).sub_(1).to(device);
}

at::Tensor DecodeAttention::attend(const at::Tensor& qkv, const AttentionLayer& layer) const {
  using at::indexing::Slice;
  if (rotation_.on()) rotate_in_place(qkv, layer.heads, rotation_);
  const HeadLayout& heads = layer.heads;
  const std::int64_t n = cache_.size();
  const at::Tensor &keys = cache_.keys_[layer.index], &values = cache_.values_[layer.index];
  const double scale = 1 / std::sqrt(static_cast<double>(heads.head_dim));
  if (has_cpu_kernels(qkv)) {
    const at::Tensor output = at::empty({n, heads.q_heads * heads.head_dim}, qkv.options());
    with_element_type(qkv, [&]<class T>(T) {
      const DecodeArgs<T> args{qkv.data_ptr<T>(),   heads.q_heads,
                               heads.kv_heads,      heads.head_dim,
                               keys.data_ptr<T>(),  values.data_ptr<T>(),
                               cache_.capacity_,    cache_.lengths_.data(),
                               layer.window,        static_cast<float>(scale),
                               output.data_ptr<T>()};
      parallel_rows(n * heads.kv_heads, 1, cache_.capacity_ + 2 * heads.head_dim + 64,
                    [&](std::int64_t begin, std::int64_t end, float* scratch) {
                      cpu_kernels<T>().decode(args, begin, end, scratch);
                    });
    });
    return output;
  }
  at::Tensor(keys).index_put_({rows_, Slice(), places_}, part(qkv, heads, false));
  at::Tensor(values).index_put_({rows_, Slice(), places_}, part(qkv, heads, true));
  const std::int64_t longest = *std::max_element(cache_.lengths_.begin(), cache_.lengths_.end());
  const at::Tensor place = at::arange(longest, rows_.options()).unsqueeze(0), now = places_.unsqueeze(1);
  at::Tensor mask = place <= now;
  if (layer.window > 0) mask = mask.logical_and(place > now - layer.window);
  // Written out: scaled_dot_product_attention may plan anew for every length that it has not seen, 0.1 s
  // each.
  const std::int64_t group = heads.q_heads / heads.kv_heads;
  const auto history = [&](const at::Tensor& all) { return all.narrow(0, 0, n).narrow(2, 0, longest); };
  const at::Tensor query =
      qkv.narrow(1, 0, heads.q_heads * heads.head_dim).view({n, heads.kv_heads, group, heads.head_dim});
  const at::Tensor scores = at::matmul(query, history(keys).transpose(2, 3)).to(at::kFloat) * scale;
  const at::Tensor hidden = mask.logical_not().view({n, 1, 1, longest});
  const at::Tensor shares =
      at::softmax(scores.masked_fill(hidden, -std::numeric_limits<float>::infinity()), -1);
  return at::matmul(shares.to(qkv.scalar_type()), history(values)).view({n, -1});
}

}  // namespace retort
