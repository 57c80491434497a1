#include "data/reading/units.h"

namespace retort {
namespace {

constexpr std::size_t kDocumentBytes = std::size_t{1} << 20;

class DocumentReader : public UnitReader {
 public:
  explicit DocumentReader(std::unique_ptr<ByteStream> bytes)
      : lines_(std::move(bytes), /*give_blank=*/true) {}

  bool next(Unit& unit) override {
    text_.clear();
    std::int64_t begin = 0;
    Unit line;
    if (held_problem_.problem != nullptr) {
      unit = held_problem_;
      held_problem_.problem = nullptr;
      return true;
    }
    while (lines_.next(line)) {
      if (line.problem != nullptr) {
        // The bad line alone is lost: the document so far is given first.
        held_problem_ = {{}, line.number, line.problem};
        break;
      }
      const bool blank = trim(line.text).empty();
      if (blank && text_.empty()) continue;
      if (blank) break;
      if (text_.empty())
        begin = line.number;
      else
        text_ += '\n';
      text_ += line.text;
      if (text_.size() >= kDocumentBytes) break;
    }
    if (text_.empty()) {
      if (held_problem_.problem == nullptr) return false;
      unit = held_problem_;
      held_problem_.problem = nullptr;
      return true;
    }
    unit = {text_, begin, nullptr};
    return true;
  }

  void rewind() override {
    lines_.rewind();
    held_problem_.problem = nullptr;
  }

 private:
  LineReader lines_;
  std::string text_;
  Unit held_problem_;
};

}  // namespace

std::unique_ptr<UnitReader> read_documents(std::unique_ptr<ByteStream> bytes) {
  return std::make_unique<DocumentReader>(std::move(bytes));
}

}  // namespace retort
