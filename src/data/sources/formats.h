// The registry of record files: one row per extension, one file per row.
#pragma once

#include <span>

#include "data/reading/record_reader.h"

namespace retort {

struct RecordFormat {
  std::string_view extension;  // ".tsv"; the same with ".zst" behind it is read too
  std::string_view holds;      // one line for help texts
  std::string_view sample;     // a small file of this kind: documentation, and what the contract test reads
  std::unique_ptr<RecordSource> (*open)(std::unique_ptr<ByteStream> bytes);
};

extern const RecordFormat kTsvFormat, kJsonlFormat, kJsonFormat, kTxtFormat;

std::span<const RecordFormat* const> record_formats();

}  // namespace retort
