// A result that grows block by block and survives a kill: PATH holds what is done until commit() writes the
// whole under its own name. Its first line says whose it is; each block ends with a line that counts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "base/json.h"

namespace retort {

class BlockJournal {
 public:
  // Goes on with a journal of the same fingerprint, less a block that a kill cut short. Throws Error for a
  // file of another one: what another run wrote is not lost.
  BlockJournal(std::filesystem::path path, const std::string& fingerprint);

  std::size_t blocks() const { return blocks_; }
  // Of all blocks, by name.
  const Json& counts() const { return counts_; }
  // `lines`: whole lines of JSON. Written to the file when it returns: a kill does not lose it.
  void add(const std::string& lines, const std::map<std::string, std::int64_t>& counts);
  // Writes all lines to `out`, atomically, and deletes the journal.
  void commit(const std::filesystem::path& out);

 private:
  std::filesystem::path path_;
  std::string lines_;  // of all blocks
  std::size_t blocks_ = 0;
  Json counts_ = Json::object();
};

}  // namespace retort
