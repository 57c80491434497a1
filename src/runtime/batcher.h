// Continuous batching: requests of any length run together, new ones join while others are under way, and
// each step of the engine carries one token of every running answer beside pieces of the prompts that are
// still to be read. What a request gets does not depend on its neighbours. It may depend on what came before
// them, in the last digits: with EngineOptions::reuse_prefix a prompt that goes on from an earlier answer
// finds blocks that were written one token at a time, not as a prompt's.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "architecture/language_model.h"
#include "runtime/engine.h"

namespace retort {

enum class FinishReason { end_token, length, context, stopped, cancelled };

struct Request {
  std::vector<TokenId> prompt;
  std::string adapter = {};  // name of a loaded one; "": the base
  GenerateOptions options;
  std::uint64_t draw = 0;  // which stream of random numbers: (options.seed, draw)
  int top_logprobs = 0;    // likeliest tokens told beside each one
  // Each new token (not the end token) with its log-probability under the unmodified distribution. False ends
  // the answer.
  std::function<bool(const TokenLogprob& token, std::span<const TokenLogprob> top)> on_token;
  std::function<void(FinishReason reason)> on_finish = {};  // may be empty
};

class Batcher {
 public:
  using Ticket = std::uint64_t;

  explicit Batcher(Engine& engine, std::int64_t max_running = 64);
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Throws Error when the prompt is empty, has unknown tokens, or cannot fit into context or cache even
  // alone, and for an adapter that is not loaded.
  Ticket submit(Request request);
  // Frees its blocks before the next step; on_finish is called.
  void cancel(Ticket ticket);
  // One step of the engine for all that run. False when there is nothing to do.
  bool step();

  std::size_t running() const { return running_.size(); }
  std::size_t waiting() const { return waiting_.size(); }
  // Prompt tokens that were found in the cache, of all requests so far.
  std::int64_t reused_tokens() const { return reused_tokens_; }

 private:
  struct Job;
  void admit();
  std::int64_t longest(const Request& request) const;
  std::int64_t blocks_to_finish(const Job& job) const;
  void take_outputs(std::int64_t rows);
  void choose(Job& job, std::span<float> logits);
  void finish(std::list<std::unique_ptr<Job>>::iterator job, FinishReason reason);
  bool is_end(const Job& job, TokenId token) const;

  Engine& engine_;
  std::int64_t max_running_;
  Ticket next_ticket_ = 1;
  std::int64_t reused_tokens_ = 0;
  std::list<std::unique_ptr<Job>> waiting_, running_;
  std::vector<Piece> pieces_;
  std::vector<Job*> outputs_;  // whose rows the step's outputs are
};

}  // namespace retort
