// The adapters of one step: which rows each of them changes, and the adding.
#pragma once

#include <vector>

#include "base/thread_pool.h"
#include "runtime/adapter.h"

namespace retort {

struct StepRows;

class AdapterPass {
 public:
  // Memory for steps of so many rows with adapters of at most so many ranks in a group.
  void reserve(std::int64_t max_rows, std::int64_t ranks);

  void begin(const StepRows& step);
  // From now on the rows are the step's output rows, one after the other.
  void keep_outputs(const StepRows& step);

  // Whether any row has an adapter, and one beside this group of this layer.
  bool any() const { return count_ > 0; }
  bool changes(std::size_t layer, LinearGroup group) const;
  // Adds to the outputs of a group, which all of its matrices have written. x: their input, in fp32 among
  // other forms.
  void add(std::size_t layer, LinearGroup group, const Activations& x, float* out, std::int64_t stride,
           ThreadPool& pool);

 private:
  struct Rows {
    const EngineAdapter* adapter = nullptr;
    std::vector<std::int64_t> rows;
  };
  std::vector<std::int64_t>& rows_of(const EngineAdapter* adapter);
  void run(void (*kernel)(const LowRankJob&), ThreadPool& pool);

  std::vector<Rows> all_;  // the first count_ are in use; the others keep their memory
  std::size_t count_ = 0;
  AlignedBuffer inner_;  // [rows][ranks_]
  std::int64_t ranks_ = 0;
  std::vector<LowRankJob> jobs_;
};

}  // namespace retort
