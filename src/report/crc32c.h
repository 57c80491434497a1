// CRC-32C (Castagnoli), the checksum of TFRecord files.
#pragma once

#include <cstdint>
#include <string_view>

namespace retort {

std::uint32_t crc32c(std::string_view bytes);
// Rotated and offset, as TFRecord stores it, so that checksums of data that holds checksums stay good.
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace retort
