#include "data/reading/units.h"

namespace retort {
namespace {

class JsonElements : public UnitReader {
 public:
  explicit JsonElements(std::unique_ptr<ByteStream> bytes) : bytes_(std::move(bytes)) {}

  bool next(Unit& unit) override {
    while (!finished_) {
      const bool complete = read_element();
      const std::string_view text = trim(element_);
      if (text.empty() && !too_long_) continue;
      unit = {text, ++number_, nullptr};
      if (too_long_)
        unit.problem = "longer than 16 MiB";
      else if (!complete)
        unit.problem = after_end_ ? "text after the array's end" : "the file ends inside the array";
      else
        unit.problem = encoding_problem(text);
      return true;
    }
    return false;
  }

  void rewind() override {
    bytes_->rewind();
    piece_ = {};
    number_ = 0;
    state_ = State::before;
    finished_ = after_end_ = false;
  }

  const char* unit_name() const override { return "element"; }

 private:
  enum class State { before, inside, string, escape, after };

  // Fills element_ up to the next comma of the first level or the closing bracket. False: the file ended (in
  // the middle of an element when element_ is not empty), or text stands behind the array.
  bool read_element() {
    element_.clear();
    too_long_ = false;
    int depth = 0;  // within this element
    for (;;) {
      if (piece_.empty()) {
        piece_ = bytes_->next();
        if (piece_.empty()) {
          finished_ = true;
          after_end_ = state_ == State::after;
          return false;
        }
      }
      // Whole runs are appended at once: `begin` is where the part of the element in this piece begins.
      std::size_t begin = 0, i = 0;
      bool done = false;
      for (; i < piece_.size() && !done; ++i) {
        const char c = piece_[i];
        switch (state_) {
          case State::before:
            begin = i + 1;
            if (c == '[') state_ = State::inside;
            break;
          case State::string:
            if (c == '\\')
              state_ = State::escape;
            else if (c == '"')
              state_ = State::inside;
            break;
          case State::escape:
            state_ = State::string;
            break;
          case State::after:
            break;
          case State::inside:
            if (c == '"')
              state_ = State::string;
            else if (c == '{' || c == '[')
              ++depth;
            else if (c == '}' && depth > 0)
              --depth;
            else if (c == ']' && depth > 0)
              --depth;
            else if (c == ']' || (c == ',' && depth == 0)) {
              if (c == ']') state_ = State::after;
              done = true;
            }
        }
      }
      append(piece_.substr(begin, i - begin - (done ? 1 : 0)));
      piece_.remove_prefix(i);
      if (done) return true;
    }
  }

  void append(std::string_view part) {
    too_long_ = too_long_ || element_.size() + part.size() > kMaxUnitBytes;
    if (too_long_)
      element_.clear();
    else
      element_.append(part);
  }

  std::unique_ptr<ByteStream> bytes_;
  std::string_view piece_;
  std::string element_;
  std::int64_t number_ = 0;
  State state_ = State::before;
  bool too_long_ = false, finished_ = false, after_end_ = false;
};

}  // namespace

std::unique_ptr<UnitReader> read_json_elements(std::unique_ptr<ByteStream> bytes) {
  return std::make_unique<JsonElements>(std::move(bytes));
}

}  // namespace retort
