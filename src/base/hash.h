// Content hashes (XXH3, 128 bits as 32 hex digits): which example this is, whether a stage's inputs changed.
// Not for secrets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace retort {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);
std::string hash_text(std::string_view bytes);
// Of a file's bytes; of a folder's regular files, by relative name and bytes, in name order (files whose
// names begin with '.' are left out).
std::string hash_path(const std::filesystem::path& path);

}  // namespace retort
