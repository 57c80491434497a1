#include "runtime/batcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "base/error.h"
#include "runtime/kernels/vector_ops.h"
#include "runtime/log_softmax.h"

namespace retort {

struct Batcher::Job {
  Ticket ticket;
  Request request;
  std::vector<TokenId> tokens;  // prompt and answer
  SequenceId sequence = -1;
  std::int64_t read = 0;  // tokens whose keys are in the cache
  std::optional<FinishReason> finished;
  TokenLogprob chosen = {};
  std::exception_ptr error;  // of choosing, which runs in a thread of the engine
  std::vector<TokenLogprob> top;
  std::vector<float> unmodified;  // logits before sampling changes them

  std::int64_t answered() const { return static_cast<std::int64_t>(tokens.size() - request.prompt.size()); }
  std::int64_t unread() const { return static_cast<std::int64_t>(tokens.size()) - read; }
};

Batcher::Batcher(Engine& engine, std::int64_t max_running) : engine_(engine), max_running_(max_running) {}

Batcher::~Batcher() {
  for (const auto& job : running_) engine_.cache().remove(job->sequence);
}

// Positions that a request may come to hold: the last token of an answer is never read back.
std::int64_t Batcher::longest(const Request& request) const {
  return std::min<std::int64_t>(engine_.virtual_tokens(request.adapter) +
                                    static_cast<std::int64_t>(request.prompt.size()) +
                                    std::max<std::int64_t>(request.options.max_tokens, 1) - 1,
                                engine_.config().max_position_embeddings);
}

Batcher::Ticket Batcher::submit(Request request) {
  engine_.check_tokens(request.prompt, request.adapter, "prompt");
  request.options.check("generation");
  const std::int64_t blocks = engine_.cache().blocks_for(longest(request));
  if (blocks > engine_.cache().total_blocks())
    throw Error({.where = "key/value cache",
                 .found = fmt::format("room for {} tokens",
                                      engine_.cache().total_blocks() * engine_.cache().block_tokens()),
                 .expected = fmt::format("{}: a prompt of {} and an answer of at most {}", longest(request),
                                         request.prompt.size(), request.options.max_tokens),
                 .advice = "Raise --cache-tokens, or lower --max-tokens"});
  auto job = std::make_unique<Job>();
  job->ticket = next_ticket_++;
  job->tokens = request.prompt;
  job->request = std::move(request);
  waiting_.push_back(std::move(job));
  return waiting_.back()->ticket;
}

void Batcher::cancel(Ticket ticket) {
  for (auto* jobs : {&waiting_, &running_})
    for (auto job = jobs->begin(); job != jobs->end(); ++job)
      if ((*job)->ticket == ticket) {
        (*job)->finished = FinishReason::cancelled;
        if (jobs == &running_) return finish(job, FinishReason::cancelled);
        const std::unique_ptr<Job> gone = std::move(*job);
        jobs->erase(job);
        if (gone->request.on_finish) gone->request.on_finish(FinishReason::cancelled);
        return;
      }
}

std::int64_t Batcher::blocks_to_finish(const Job& job) const {
  const std::int64_t all = longest(job.request);
  return job.sequence < 0
             ? engine_.cache().blocks_for(all)
             : engine_.cache().blocks_needed(job.sequence, all - engine_.cache().length(job.sequence));
}

// A request starts when the cache can hold it to its longest possible end beside those that run: none is ever
// thrown out half way.
void Batcher::admit() {
  std::int64_t free = engine_.cache().available_blocks();
  for (const auto& job : running_) free -= blocks_to_finish(*job);
  while (!waiting_.empty() && static_cast<std::int64_t>(running_.size()) < max_running_) {
    Job& job = *waiting_.front();
    // Remembered blocks that it takes over stop being available too: the whole length counts.
    if (blocks_to_finish(job) > free) return;
    free -= blocks_to_finish(job);
    job.sequence = engine_.open(job.request.adapter);
    if (engine_.options().reuse_prefix) job.read = engine_.cache().reuse_prefix(job.sequence, job.tokens);
    reused_tokens_ += job.read;
    running_.splice(running_.end(), waiting_, waiting_.begin());
  }
}

bool Batcher::step() {
  admit();
  pieces_.clear();
  outputs_.clear();
  std::int64_t room = engine_.options().max_batch_tokens;
  const auto add = [&](Job& job, std::int64_t count) {
    const bool last = count == job.unread();
    const auto prompt = static_cast<std::int64_t>(job.request.prompt.size());
    pieces_.push_back(
        {.sequence = job.sequence,
         .tokens = std::span(job.tokens)
                       .subspan(static_cast<std::size_t>(job.read), static_cast<std::size_t>(count)),
         .outputs = last ? Outputs::last : Outputs::none,
         .prompt_tokens = job.read < prompt ? prompt : 0});
    if (last) outputs_.push_back(&job);
    job.read += count;
    room -= count;
  };
  // Answers first, so that long prompts do not hold them up; prompts fill what is left.
  for (const auto& job : running_)
    if (job->unread() == 1 && room > 0) add(*job, 1);
  for (const auto& job : running_)
    if (job->unread() > 1 && room > 0) add(*job, std::min(room, job->unread()));
  if (pieces_.empty()) {
    if (waiting_.empty()) return false;
    throw Error({.where = "key/value cache",
                 .found = fmt::format("{} of {} blocks free", engine_.cache().available_blocks(),
                                      engine_.cache().total_blocks()),
                 .expected = fmt::format("{} for the next request", blocks_to_finish(*waiting_.front())),
                 .advice = "Raise --cache-tokens"});
  }
  take_outputs(engine_.step(pieces_));
  for (auto job = running_.begin(); job != running_.end();) {
    const auto next = std::next(job);
    if ((*job)->finished) finish(job, *(*job)->finished);
    job = next;
  }
  return !running_.empty() || !waiting_.empty();
}

void Batcher::take_outputs(std::int64_t rows) {
  const std::int64_t chunk = engine_.max_logit_rows();
  for (std::int64_t begin = 0; begin < rows; begin += chunk) {
    const std::int64_t count = std::min(chunk, rows - begin);
    const std::span<float> logits = engine_.logits(begin, count);
    const auto width = static_cast<std::size_t>(engine_.config().vocab_size);
    engine_.parallel(count, [&](std::int64_t i) {
      Job& job = *outputs_[static_cast<std::size_t>(begin + i)];
      try {
        choose(job, logits.subspan(static_cast<std::size_t>(i) * width, width));
      } catch (...) {
        job.error = std::current_exception();
      }
    });
  }
  for (Job* job : outputs_) {
    if (job->error) std::rethrow_exception(job->error);
    const TokenId token = job->chosen.token;
    if (is_end(*job, token)) {
      job->finished = FinishReason::end_token;
      continue;
    }
    job->tokens.push_back(token);
    if (!job->request.on_token(job->chosen, job->top))
      job->finished = FinishReason::stopped;
    else if (job->answered() >= job->request.options.max_tokens)
      job->finished = FinishReason::length;
    else if (engine_.virtual_tokens(job->request.adapter) + static_cast<std::int64_t>(job->tokens.size()) >=
             engine_.config().max_position_embeddings)
      job->finished = FinishReason::context;
  }
}

void Batcher::choose(Job& job, std::span<float> logits) {
  const RowMaximum best = row_maximum(logits);
  const float lse = best.index < 0 ? 0 : log_sum_exp(logits);
  job.top = top_logprobs(logits, lse, job.request.top_logprobs);
  if (job.request.options.takes_likeliest() && best.index >= 0) {
    job.chosen = {best.index, best.value - lse};
    return;
  }
  job.unmodified.assign(logits.begin(), logits.end());
  const TokenId token = sample_token(logits,
                                     {.history = job.tokens,
                                      .prompt_tokens = job.request.prompt.size(),
                                      .sequence = job.request.draw,
                                      .position = job.tokens.size()},
                                     job.request.options);
  job.chosen = {token, job.unmodified[static_cast<std::size_t>(token)] - lse};
}

void Batcher::finish(std::list<std::unique_ptr<Job>>::iterator job, FinishReason reason) {
  const std::unique_ptr<Job> gone = std::move(*job);
  running_.erase(job);
  engine_.cache().remove(gone->sequence);
  if (gone->request.on_finish) gone->request.on_finish(reason);
}

bool Batcher::is_end(const Job& job, TokenId token) const {
  const auto& own = engine_.config().eos_token_ids;
  const auto& more = job.request.options.end_tokens;
  return std::find(own.begin(), own.end(), token) != own.end() ||
         std::find(more.begin(), more.end(), token) != more.end();
}

}  // namespace retort
