#include "runtime/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/machine.h"
#include "base/options.h"
#include "runtime/forward.h"

namespace retort {
namespace {

constexpr std::int64_t kBlockTokens = 32;
constexpr std::int64_t kLogitsAtOnce = std::int64_t{1} << 22;  // 16 MiB of fp32
constexpr std::int64_t kSequencesForeseen = 64;
// Tiles take all weights to bf16, however many rows there are: of a shorter prompt that takes longer than it
// saves. The whole prompt counts, so that its parts give the same bits wherever it is cut.
constexpr std::int64_t kFewestTileTokens = 32;

// The cache's share of the machine's memory when the user names no size. It is reserved, not used: a page
// costs when it is first written.
constexpr double kCacheShare = 0.25;
constexpr double kBookkeepingBytes = 4;  // of a token's share in what BlockPool knows of its block

CacheType cache_type(const std::string& name) {
  return name == "f32" ? CacheType::f32 : name == "q8" ? CacheType::q8 : CacheType::f16;
}

EngineOptions resolved(EngineOptions options, const ModelWeights& weights) {
  options.check();
  if (options.cache_dtype == "auto") {
    // The first matrix of the first layer speaks for the file.
    const std::vector<ParameterSpec> specs = parameter_specs(weights.config());
    const auto matrix = std::find_if(specs.begin(), specs.end(), [](const ParameterSpec& spec) {
      return spec.name.ends_with("self_attn.q_proj.weight");
    });
    options.cache_dtype = weights.get(*matrix).encoding->name == "f32" ? "f32" : "f16";
  }
  const ModelConfig& config = weights.config();
  const CachePlan plan(config, cache_type(options.cache_dtype), kBlockTokens);
  const auto memory = static_cast<double>(machine().memory_bytes);
  const double token_bytes = plan.position_bytes() + kBookkeepingBytes;
  if (options.cache_tokens == 0)
    options.cache_tokens =
        std::min(std::max(static_cast<std::int64_t>(kCacheShare * memory / token_bytes), kBlockTokens),
                 kSequencesForeseen * config.max_position_embeddings);
  else if (const double wanted = static_cast<double>(options.cache_tokens) * token_bytes; wanted > memory)
    throw Error({.where = "cache_tokens",
                 .found = fmt::format("{} tokens, which take {:.1f} GB", options.cache_tokens, 1e-9 * wanted),
                 .expected = fmt::format("at most the machine's memory, {:.1f} GB: {} tokens", 1e-9 * memory,
                                         static_cast<std::int64_t>(memory / token_bytes)),
                 .advice = "Lower --cache-tokens"});
  return options;
}

}  // namespace

struct Engine::Impl {
  Impl(std::shared_ptr<const ModelWeights> source, const EngineOptions& requested)
      : weights(std::move(source)),
        config(weights->config()),
        options(resolved(requested, *weights)),
        pool(static_cast<int>(options.threads)),
        model(*weights, pool),
        plan(config, cache_type(options.cache_dtype), kBlockTokens),
        cache({.tokens = options.cache_tokens,
               .block_tokens = kBlockTokens,
               .block_bytes = static_cast<std::size_t>(plan.block_bytes)}),
        forward(config, model, plan, cache.block(0), options.max_batch_tokens, pool),
        logits(static_cast<std::size_t>(max_logit_rows() * config.vocab_size) * sizeof(float)) {
    options.threads = pool.threads();
  }

  // Enough for a batch of answers to share one pass over the head, and bounded for large vocabularies.
  std::int64_t max_logit_rows() const {
    return std::clamp<std::int64_t>(kLogitsAtOnce / config.vocab_size, 16, options.max_batch_tokens + 16);
  }
  void check(std::span<const Piece> pieces) const;

  // An adapter's sequences are known by the beginning of their cache blocks.
  struct Loaded {
    PrefixId beginning;
    std::unique_ptr<const EngineAdapter> adapter;
    SequenceId prefix = -1;  // a sequence that holds the prefix's keys and values, for forks; -1: none
  };
  const Loaded& loaded(const std::string& name) const;
  const EngineAdapter* adapter_of(SequenceId sequence) const;

  std::shared_ptr<const ModelWeights> weights;
  const ModelConfig& config;
  EngineOptions options;
  ThreadPool pool;
  EngineModel model;
  CachePlan plan;
  PagedCache cache;
  Forward forward;
  StepRows rows;
  AlignedBuffer logits;
  std::map<std::string, Loaded> adapters;
};

Engine::Engine(std::shared_ptr<const ModelWeights> weights, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(std::move(weights), options)) {}
Engine::~Engine() = default;

const ModelConfig& Engine::config() const { return impl_->config; }
const EngineOptions& Engine::options() const { return impl_->options; }
PagedCache& Engine::cache() { return impl_->cache; }
std::int64_t Engine::max_logit_rows() const { return impl_->max_logit_rows(); }

const Engine::Impl::Loaded& Engine::Impl::loaded(const std::string& name) const {
  const auto found = adapters.find(name);
  if (found != adapters.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [other, unused] : adapters) names.push_back(other);
  throw Error({.where = "adapter",
               .found = "'" + name + "', which is not loaded",
               .expected = names.empty() ? "none: no adapter is loaded" : "a loaded one",
               .advice = names.empty() ? "" : suggest(name, names)});
}

const EngineAdapter* Engine::Impl::adapter_of(SequenceId sequence) const {
  const PrefixId beginning = cache.beginning(sequence);
  if (beginning == 0) return nullptr;
  for (const auto& [name, entry] : adapters)
    if (entry.beginning == beginning) return entry.adapter.get();
  return nullptr;
}

void Engine::add_adapter(const std::string& name, std::span<const WeightedAdapter> stack) {
  if (name.empty() || impl_->adapters.contains(name))
    throw Error({.where = "adapter",
                 .found = name.empty() ? "no name" : "'" + name + "' twice",
                 .expected = "a name of its own"});
  const bool half = impl_->model.layers.front().q.weight.format() != PanelFormat::f32;
  PagedCache& cache = impl_->cache;
  Impl::Loaded entry{.beginning = cache.new_beginning(),
                     .adapter = std::make_unique<EngineAdapter>(stack, config(), half)};
  const EngineAdapter& adapter = *entry.adapter;
  impl_->forward.prepare(adapter);
  if (adapter.virtual_tokens > 0) {
    // No token of the vocabulary: these positions can be found by no text.
    const std::vector<TokenId> placeholders(static_cast<std::size_t>(adapter.virtual_tokens), -1);
    entry.prefix = cache.add(entry.beginning);
    try {
      cache.extend(entry.prefix, placeholders);
    } catch (...) {
      cache.remove(entry.prefix);
      throw;
    }
    impl_->forward.write_prefix(adapter, cache.blocks(entry.prefix));
    cache.commit(entry.prefix);
  }
  impl_->adapters.emplace(name, std::move(entry));
}

void Engine::remove_adapter(const std::string& name) {
  const Impl::Loaded& entry = impl_->loaded(name);
  const std::int64_t own = entry.prefix >= 0 ? 1 : 0;
  if (const std::int64_t users = impl_->cache.sequences(entry.beginning) - own; users > 0)
    throw Error({.where = "adapter '" + name + "'",
                 .found = fmt::format("{} sequences that use it", users),
                 .expected = "none",
                 .advice = "Let them end, or end them, before it is unloaded."});
  if (entry.prefix >= 0) impl_->cache.remove(entry.prefix);
  impl_->adapters.erase(name);
}

std::int64_t Engine::virtual_tokens(const std::string& adapter) const {
  return adapter.empty() ? 0 : impl_->loaded(adapter).adapter->virtual_tokens;
}

SequenceId Engine::open(const std::string& adapter) {
  if (adapter.empty()) return impl_->cache.add();
  const Impl::Loaded& entry = impl_->loaded(adapter);
  return entry.prefix >= 0 ? impl_->cache.fork(entry.prefix) : impl_->cache.add(entry.beginning);
}

void Engine::check_tokens(std::span<const TokenId> tokens, const std::string& adapter,
                          const std::string& where) const {
  const std::int64_t room = config().max_position_embeddings - virtual_tokens(adapter);
  if (tokens.empty()) throw Error({.where = where, .found = "no tokens", .expected = "at least one"});
  if (static_cast<std::int64_t>(tokens.size()) > room)
    throw Error({.where = where,
                 .found = fmt::format("{} tokens", tokens.size()),
                 .expected = fmt::format("at most the context of {}", room),
                 .advice = "Shorten the text"});
  for (const TokenId token : tokens)
    if (token < 0 || token >= config().vocab_size)
      throw Error({.where = where,
                   .found = fmt::format("token {}", token),
                   .expected = fmt::format("0 … {}", config().vocab_size - 1),
                   .advice = "The tokenizer is not this model's"});
}

void Engine::Impl::check(std::span<const Piece> pieces) const {
  std::int64_t total = 0, blocks = 0;
  for (const Piece& piece : pieces) {
    const auto count = static_cast<std::int64_t>(piece.tokens.size());
    const std::int64_t end = cache.length(piece.sequence) + count;
    if (count == 0) throw Error({.where = "a step", .found = "a piece without tokens"}, ErrorKind::failure);
    if (end > config.max_position_embeddings)
      throw Error({.where = "a sequence",
                   .found = fmt::format("{} tokens", end),
                   .expected = fmt::format("at most the context of {}", config.max_position_embeddings),
                   .advice = "Shorten the text"});
    for (const TokenId token : piece.tokens)
      if (token < 0 || token >= config.vocab_size)
        throw Error({.where = "a sequence",
                     .found = fmt::format("token {}", token),
                     .expected = fmt::format("0 … {}", config.vocab_size - 1)});
    total += count;
    blocks += cache.blocks_needed(piece.sequence, count);
  }
  if (total > options.max_batch_tokens)
    throw Error({.where = "a step",
                 .found = fmt::format("{} tokens", total),
                 .expected = fmt::format("at most {}", options.max_batch_tokens)},
                ErrorKind::failure);
  if (blocks > cache.available_blocks())
    throw Error({.where = "key/value cache",
                 .found = fmt::format("{} of {} blocks of {} tokens free", cache.available_blocks(),
                                      cache.total_blocks(), cache.block_tokens()),
                 .expected = fmt::format("{}", blocks),
                 .advice = "Raise --cache-tokens, or run fewer or shorter sequences together"});
}

std::int64_t Engine::step(std::span<const Piece> pieces) {
  impl_->check(pieces);
  PagedCache& cache = impl_->cache;
  StepRows& rows = impl_->rows;
  rows.tokens.clear();
  rows.positions.clear();
  rows.sequences.clear();
  rows.outputs.clear();
  rows.adapters.clear();
  for (const Piece& piece : pieces) {
    const auto count = static_cast<std::int64_t>(piece.tokens.size());
    const std::int64_t past = cache.length(piece.sequence);
    const std::int64_t prompt = std::max(piece.prompt_tokens, count > 1 ? count : 0);
    rows.sequences.push_back({.blocks = {},
                              .past = past,
                              .first_query = static_cast<std::int64_t>(rows.tokens.size()),
                              .queries = count,
                              .prompt = prompt > 0,
                              .tiles = prompt >= kFewestTileTokens});
    rows.adapters.push_back(impl_->adapter_of(piece.sequence));
    rows.outputs.push_back(piece.outputs == Outputs::all ? count : piece.outputs == Outputs::last ? 1 : 0);
    rows.tokens.insert(rows.tokens.end(), piece.tokens.begin(), piece.tokens.end());
    for (std::int64_t i = 0; i < count; ++i) rows.positions.push_back(past + i);
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    cache.extend(pieces[i].sequence, pieces[i].tokens);
    rows.sequences[i].blocks = cache.blocks(pieces[i].sequence);
  }
  const std::int64_t outputs = impl_->forward.run(rows);
  if (impl_->options.reuse_prefix)  // what nobody will look for is free for others as soon as it is let go
    for (const Piece& piece : pieces) cache.commit(piece.sequence);
  return outputs;
}

std::span<float> Engine::logits(std::int64_t begin, std::int64_t count) {
  auto* out = reinterpret_cast<float*>(impl_->logits.data());
  impl_->forward.logits(begin, count, out);
  return {out, static_cast<std::size_t>(count * config().vocab_size)};
}

void Engine::observe_inputs(InputObserver observer) { impl_->forward.observe(std::move(observer)); }

void Engine::parallel(std::int64_t count, const std::function<void(std::int64_t)>& work) {
  impl_->pool.parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) work(i);
  });
}

double Engine::bytes_per_token(std::int64_t context) const {
  return impl_->model.matrix_bytes + impl_->plan.position_bytes() * static_cast<double>(context);
}

Json Engine::describe() const {
  return {{"device", "cpu"},
          {"precision", impl_->options.cache_dtype + " cache"},
          {"threads", impl_->options.threads},
          {"isa", kernel_set().name}};
}

}  // namespace retort
