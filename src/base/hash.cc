#include "base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace fs = std::filesystem;

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::string hash_text(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_path(const fs::path& path) {
  if (!fs::exists(path))
    throw Error({.where = path.string(), .found = "no such file or folder", .expected = "", .advice = ""});
  if (!fs::is_directory(path)) return hash_text(MappedFile(path).text());
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    if (entry.is_regular_file() && entry.path().filename().string()[0] != '.') files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files)
    all += file.lexically_relative(path).string() + "\n" + hash_text(MappedFile(file).text()) + "\n";
  return hash_text(all);
}

}  // namespace retort
