#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "data/batch_source.h"

namespace retort {
namespace {

class Prefetcher : public BatchSource {
 public:
  Prefetcher(std::unique_ptr<BatchSource> inner, int depth)
      : inner_(std::move(inner)),
        depth_(static_cast<std::size_t>(std::max(depth, 1))),
        state_(inner_->state()) {
    start();
  }
  ~Prefetcher() override { stop(); }

  std::optional<Batch> next() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_.empty(); });
    Item& item = ready_.front();
    // The last item, an end or an error, stays: whoever asks again gets the same answer.
    if (item.error) std::rethrow_exception(item.error);
    state_ = item.state;
    if (!item.batch) return std::nullopt;
    std::optional<Batch> batch = std::move(item.batch);
    ready_.pop_front();
    changed_.notify_all();
    return batch;
  }

  Json state() const override { return state_; }

  // What was fetched ahead was drawn with the ratios of before: it is put back.
  void reweigh(std::span<const double> factors) override {
    stop();
    ready_.clear();
    inner_->restore(state_);
    inner_->reweigh(factors);
    state_ = inner_->state();
    start();
  }

  void restore(const Json& state) override {
    stop();
    ready_.clear();
    // Even after a refused state the thread runs, from the place that was handed out last.
    try {
      inner_->restore(state);
      state_ = state;
    } catch (...) {
      inner_->restore(state_);
      start();
      throw;
    }
    start();
  }

 private:
  struct Item {
    std::optional<Batch> batch;  // none: the end
    Json state;                  // of inner_, once this batch is taken
    std::exception_ptr error;
  };

  void start() {
    stopping_ = false;
    thread_ = std::thread([this] { run(); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void run() {
    for (bool last = false; !last;) {
      Item item;
      try {
        item.batch = inner_->next();
        item.state = inner_->state();
      } catch (...) {
        item.error = std::current_exception();
      }
      last = item.error != nullptr || !item.batch;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || ready_.size() < depth_; });
      if (stopping_) return;
      ready_.push_back(std::move(item));
      changed_.notify_all();
    }
  }

  std::unique_ptr<BatchSource> inner_;  // touched by the thread alone while it runs
  const std::size_t depth_;
  Json state_;  // of what was handed out; the consumer's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> ready_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<BatchSource> prefetch(std::unique_ptr<BatchSource> inner, int depth) {
  return std::make_unique<Prefetcher>(std::move(inner), depth);
}

}  // namespace retort
