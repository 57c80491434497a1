#include "model/generate.h"

#include <algorithm>
#include <numeric>

#include "model/key_value_cache.h"

namespace retort {
namespace {

struct Live {
  std::size_t prompt;
  std::vector<TokenId> tokens;  // prompt and answer
  std::int64_t answered = 0;
};

class Generator {
 public:
  Generator(const CausalLM& model, std::span<const Sequence> prompts, const GenerateOptions& options,
            const TokenCallback& callback, const GenerateLimits& limits)
      : model_(model),
        prompts_(prompts),
        options_(options),
        callback_(callback),
        limits_(limits),
        cache_(model.config(),
               std::min<std::int64_t>(limits.slots, static_cast<std::int64_t>(prompts.size())),
               at::TensorOptions(model.dtype()).device(model.device())),
        ends_(model.config().eos_token_ids) {
    ends_.insert(ends_.end(), options.end_tokens.begin(), options.end_tokens.end());
    for (std::size_t i = 0; i < prompts.size(); ++i)
      if (static_cast<std::int64_t>(prompts[i].tokens.size()) < model.context()) waiting_.push_back(i);
    // Longest first, taken from the back: neighbours in length share a pass.
    std::stable_sort(waiting_.begin(), waiting_.end(), [&](std::size_t a, std::size_t b) {
      return prompts[a].tokens.size() > prompts[b].tokens.size();
    });
  }

  void run() {
    while (!waiting_.empty() || !live_.empty()) {
      if (options_.cancelled && options_.cancelled()) return;
      // Admitting in bulk keeps prompt passes large; half empty is still a dense step.
      if (!waiting_.empty() && static_cast<std::int64_t>(live_.size()) <= cache_.slots() / 2)
        admit();
      else
        step();
    }
  }

 private:
  void admit() {
    const auto first = static_cast<std::int64_t>(live_.size());
    Batch batch;
    std::vector<std::int64_t> lengths, last;
    while (!waiting_.empty() && static_cast<std::int64_t>(live_.size()) < cache_.slots()) {
      const std::vector<TokenId>& tokens = prompts_[waiting_.back()].tokens;
      if (batch.size() > 0 &&
          batch.size() + static_cast<std::int64_t>(tokens.size()) > limits_.max_batch_tokens)
        break;
      batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
      batch.positions.resize(batch.tokens.size());
      std::iota(batch.positions.end() - static_cast<std::ptrdiff_t>(tokens.size()), batch.positions.end(), 0);
      batch.sequence_starts.push_back(static_cast<std::int32_t>(batch.tokens.size()));
      lengths.push_back(model_.prefix_length() + static_cast<std::int64_t>(tokens.size()));
      last.push_back(batch.size() - 1);
      live_.push_back({waiting_.back(), tokens});
      waiting_.pop_back();
    }
    cache_.add(lengths);
    const DeviceBatch device_batch = upload(batch, model_.device());
    const bool prefixed = model_.prefix_length() > 0;
    const at::Tensor positions =
        prefixed ? device_batch.positions + model_.prefix_length() : device_batch.positions;
    const Packing packing = device_batch.packing();
    const Rotation rotation = model_.rotation(positions);
    const PrefillAttention path =
        prefixed ? PrefillAttention(cache_, first, PrefixRows(model_.prefix(), packing, rotation))
                 : PrefillAttention(cache_, first, packing, rotation);
    const at::Tensor hidden = model_.forward_with(path, device_batch.tokens, positions);
    take(model_.logits(hidden.index_select(0, at::tensor(last, at::kLong).to(model_.device()))), first);
  }

  void step() {
    std::vector<std::int64_t> tokens;
    for (const Live& live : live_) tokens.push_back(live.tokens.back());
    const at::Tensor positions = at::tensor(cache_.lengths(), at::kLong).to(model_.device());
    cache_.extend();
    const DecodeAttention path(cache_, model_.rotation(positions));
    const at::Tensor hidden =
        model_.forward_with(path, at::tensor(tokens, at::kLong).to(model_.device()), positions);
    take(model_.logits(hidden), 0);
  }

  // Chooses the next token of slots [first, …) out of logits [count, V] and hands it on.
  void take(const at::Tensor& logits, std::int64_t first) {
    const std::int64_t count = logits.size(0);
    at::Tensor chosen;
    if (options_.takes_likeliest()) {
      chosen = logits.argmax(1);
    } else if (!logits.is_cpu() && options_.draws_from_all()) {
      chosen = draw(logits, first);
    } else {
      const at::Tensor values =
          logits.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
      chosen = at::empty({count}, at::kLong);
      at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const Live& live = live_[first + i];
          const std::span<float> row(values.data_ptr<float>() + i * values.size(1), values.size(1));
          chosen.data_ptr<std::int64_t>()[i] =
              sample_token(row,
                           {.history = live.tokens,
                            .prompt_tokens = live.tokens.size() - static_cast<std::size_t>(live.answered),
                            .sequence = live.prompt,
                            .position = live.tokens.size()},
                           options_);
        }
      });
      chosen = chosen.to(logits.device());
    }
    const at::Tensor logprobs =
        (logits.gather(1, chosen.unsqueeze(1)).squeeze(1) - logits.logsumexp(1)).to(at::kCPU);
    const at::Tensor tokens = chosen.to(at::kCPU);
    std::vector<std::int64_t> ended;
    for (std::int64_t i = 0; i < count; ++i)
      if (!accept(live_[first + i], static_cast<TokenId>(tokens.data_ptr<std::int64_t>()[i]),
                  logprobs.data_ptr<float>()[i]))
        ended.push_back(first + i);
    if (ended.empty()) return;
    const std::vector<std::int64_t> held = cache_.remove(ended);
    for (std::size_t slot = 0; slot < held.size(); ++slot)
      if (held[slot] != static_cast<std::int64_t>(slot))
        live_[slot] = std::move(live_[static_cast<std::size_t>(held[slot])]);
    live_.resize(held.size());
  }

  // sample_token() without its filters, on the device: the host draws, nothing waits.
  at::Tensor draw(const at::Tensor& logits, std::int64_t first) const {
    std::vector<double> uniform;
    for (std::int64_t i = 0; i < logits.size(0); ++i) {
      const Live& live = live_[static_cast<std::size_t>(first + i)];
      uniform.push_back(uniform_draw(options_, live.prompt, live.tokens.size()));
    }
    const at::Tensor mass = (logits.to(at::kDouble) / options_.temperature).softmax(1).cumsum(1);
    const at::Tensor wanted =
        at::tensor(uniform, at::kDouble).to(logits.device()).unsqueeze(1) * mass.slice(1, -1);
    return at::searchsorted(mass, wanted, /*out_int32=*/false, /*right=*/true)
        .squeeze(1)
        .clamp_max(logits.size(1) - 1);
  }

  // False when the sequence ends here.
  bool accept(Live& live, TokenId token, float logprob) const {
    if (std::find(ends_.begin(), ends_.end(), token) != ends_.end()) return false;
    live.tokens.push_back(token);
    if (!callback_(live.prompt, token, logprob)) return false;
    return ++live.answered < options_.max_tokens &&
           static_cast<std::int64_t>(live.tokens.size()) < model_.context();
  }

  const CausalLM& model_;
  std::span<const Sequence> prompts_;
  const GenerateOptions& options_;
  const TokenCallback& callback_;
  GenerateLimits limits_;
  KeyValueCache cache_;
  std::vector<TokenId> ends_;
  std::vector<std::size_t> waiting_;
  std::vector<Live> live_;  // by slot
};

}  // namespace

void generate_with_cache(const CausalLM& model, std::span<const Sequence> prompts,
                         const GenerateOptions& options, const TokenCallback& callback,
                         const GenerateLimits& limits) {
  if (prompts.empty() || options.max_tokens <= 0) return;
  const at::NoGradGuard no_grad;
  Generator(model, prompts, options, callback, limits).run();
}

}  // namespace retort
