// What a render may cost, and where it is: everything that runs reports here.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "data/jinja/value.h"

namespace retort::jinja {

// So that a hostile template ends in an Error.
struct Limits {
  std::int64_t steps = 4'000'000;  // a step is a node evaluated, an item looked at or 16 bytes made
  std::int64_t output_bytes = 16 << 20;
  int depth = 400;  // of expressions, blocks and macros in each other
};

class Runtime {
 public:
  Runtime(const Limits& limits, std::string where) : limits_(limits), where_(std::move(where)) {}

  void at_line(int line) { line_ = line; }
  int line() const { return line_; }
  void spend(std::int64_t steps);  // throws Error when the limit is passed
  void spend_bytes(std::size_t bytes) { spend(static_cast<std::int64_t>(bytes / 16)); }
  void check_output(std::size_t bytes) const;

  // Throws an Error that names the template and the line.
  [[noreturn]] void fail(std::string found, std::string expected = "", std::string advice = "") const;

  Namespace* make_namespace();  // lives as long as this

  // Counts how deep things lie in each other while it lives.
  class Level {
   public:
    explicit Level(Runtime& runtime);
    ~Level() { --runtime_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Runtime& runtime_;
  };

 private:
  Limits limits_;
  std::string where_;
  std::int64_t steps_ = 0;
  std::deque<Namespace> namespaces_;
  int line_ = 1, depth_ = 0;
};

}  // namespace retort::jinja
