#include "base/error.h"
#include "data/sources/formats.h"

namespace retort {

std::span<const RecordFormat* const> record_formats() {
  static constexpr const RecordFormat* kFormats[] = {&kTsvFormat, &kJsonlFormat, &kJsonFormat, &kTxtFormat};
  return kFormats;
}

std::unique_ptr<RecordSource> open_records(const std::filesystem::path& path) {
  const std::filesystem::path name = path.extension() == ".zst" ? path.stem() : path.filename();
  std::string known;
  for (const RecordFormat* format : record_formats()) {
    if (name.extension() == format->extension) return format->open(open_bytes(path));
    known += std::string(known.empty() ? "" : ", ") + std::string(format->extension);
  }
  throw Error({.where = path.string(),
               .found = "the extension '" + name.extension().string() + "'",
               .expected = known + ", or one of these with .zst behind it",
               .advice = ""});
}

}  // namespace retort
