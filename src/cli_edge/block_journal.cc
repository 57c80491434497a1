#include "cli_edge/block_journal.h"

#include <fstream>

#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace {

constexpr const char* kBlockEnd = "#block ";  // no line of JSON begins like this

void add_counts(Json& sum, const Json& counts) {
  for (const auto& [name, count] : counts.items())
    if (count.is_number_integer()) sum[name] = sum.value(name, std::int64_t{0}) + count.get<std::int64_t>();
}

}  // namespace

BlockJournal::BlockJournal(std::filesystem::path path, const std::string& fingerprint)
    : path_(std::move(path)) {
  const std::string head = "#" + fingerprint + "\n";
  std::string whole = head;
  if (std::filesystem::exists(path_)) {
    const std::string text = read_file(path_);
    if (!text.starts_with(head))
      throw Error({.where = path_.string(),
                   .found = "what another run has written, with other options, model or data",
                   .expected = "nothing, or the beginning of this run",
                   .advice = "Choose another --out, or delete this file."});
    std::string pending;
    for (std::size_t begin = head.size(), end; begin < text.size(); begin = end) {
      end = text.find('\n', begin);
      if (end == std::string::npos) break;
      const std::string line = text.substr(begin, ++end - begin);
      if (!line.starts_with(kBlockEnd)) {
        pending += line;
        continue;
      }
      const Json counts = Json::parse(line.substr(std::string(kBlockEnd).size()), nullptr, false);
      if (!counts.is_object()) break;
      lines_ += pending;
      whole += pending + line;
      pending.clear();
      add_counts(counts_, counts);
      ++blocks_;
    }
  }
  write_file_atomically(path_, whole);
}

void BlockJournal::add(const std::string& lines, const std::map<std::string, std::int64_t>& counts) {
  std::ofstream file(path_, std::ios::app | std::ios::binary);
  file << lines << kBlockEnd << Json(counts).dump() << "\n";
  file.flush();
  if (!file) throw_system_error(path_.string());
  lines_ += lines;
  add_counts(counts_, counts);
  ++blocks_;
}

void BlockJournal::commit(const std::filesystem::path& out) {
  write_file_atomically(out, lines_);
  remove_tree(path_);
}

}  // namespace retort
