// An axis: a range of values, where on the page they lie, and its ticks.
#pragma once

#include <string>
#include <vector>

namespace retort {

struct Tick {
  double value;
  std::string label;
};

class Axis {
 public:
  // Values low … high lie between the page coordinates begin … end. A logarithmic axis needs low > 0; an
  // empty range is widened.
  Axis(double low, double high, double begin, double end, bool logarithmic);

  double place(double value) const;
  // Between about three and eight, at round numbers.
  std::vector<Tick> ticks() const;

 private:
  double scaled(double value) const;

  double low_, high_, begin_, end_;
  bool logarithmic_;
};

}  // namespace retort
