// How a data file falls into the pieces that become records: lines, array elements, documents.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/reading/byte_stream.h"

namespace retort {

// Longer lines and elements are skipped without being held in memory.
inline constexpr std::size_t kMaxUnitBytes = std::size_t{16} << 20;

struct Unit {
  std::string_view text;          // valid until the next call
  std::int64_t number = 0;        // of the line (or element), from 1
  const char* problem = nullptr;  // when set, the text cannot be used: too long, not UTF-8 …
};

class UnitReader {
 public:
  virtual ~UnitReader() = default;
  // False at the end. Blank units are not given.
  virtual bool next(Unit& unit) = 0;
  virtual void rewind() = 0;
  virtual const char* unit_name() const { return "line"; }
};

// Lines without their "\n" or "\r\n"; a byte order mark at the beginning of the file is dropped.
class LineReader : public UnitReader {
 public:
  // `give_blank`: also lines of white space only.
  explicit LineReader(std::unique_ptr<ByteStream> bytes, bool give_blank = false);
  bool next(Unit& unit) override;
  void rewind() override;

 private:
  bool next_raw(std::string_view& line, bool& too_long);

  std::unique_ptr<ByteStream> bytes_;
  bool give_blank_;
  std::string_view piece_;  // what is left of the stream's last piece
  std::string joined_;      // a line that lies in several pieces
  std::int64_t number_ = 0;
};

// Elements of one JSON array, cut at the commas of its first level; what lies between them is not checked
// here.
std::unique_ptr<UnitReader> read_json_elements(std::unique_ptr<ByteStream> bytes);
// Documents: runs of lines between blank lines, cut at a line's end once longer than 1 MiB.
std::unique_ptr<UnitReader> read_documents(std::unique_ptr<ByteStream> bytes);

// Null when the text is UTF-8 without NUL bytes, else what is wrong with it.
const char* encoding_problem(std::string_view text);
// Without white space (also U+3000, U+00A0 and U+FEFF) at both ends.
std::string_view trim(std::string_view text);

}  // namespace retort
