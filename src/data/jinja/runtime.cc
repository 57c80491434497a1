#include "data/jinja/runtime.h"

#include <fmt/format.h>

#include "base/error.h"

namespace retort::jinja {

void Runtime::spend(std::int64_t steps) {
  if (steps > limits_.steps - steps_)
    fail(fmt::format("more than {} steps", limits_.steps), "a template that ends sooner");
  steps_ += steps;
}

void Runtime::check_output(std::size_t bytes) const {
  if (bytes > static_cast<std::size_t>(limits_.output_bytes))
    fail(fmt::format("more than {} bytes of output", limits_.output_bytes), "less");
}

void Runtime::fail(std::string found, std::string expected, std::string advice) const {
  throw Error({.where = fmt::format("{}: line {}", where_, line_),
               .found = std::move(found),
               .expected = std::move(expected),
               .advice = std::move(advice)});
}

Namespace* Runtime::make_namespace() {
  spend(1);
  return &namespaces_.emplace_back();
}

Runtime::Level::Level(Runtime& runtime) : runtime_(runtime) {
  if (runtime_.depth_ >= runtime_.limits_.depth)
    runtime_.fail(fmt::format("more than {} levels", runtime_.limits_.depth), "fewer things in each other");
  ++runtime_.depth_;
}

}  // namespace retort::jinja
