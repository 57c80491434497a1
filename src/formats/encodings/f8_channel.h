// FP8 (E4M3 of OCP's "8-bit Floating Point Specification": 4 bits of exponent, 3 of fraction, no infinities)
// with one fp32 factor for each row.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace retort {

// The nearest code, ties to the even one; magnitudes above 448, the largest, become it.
std::uint8_t f8_code(float value);

// Codes of rows and their scales: the largest magnitude of a row is 448. Error naming `where` for values that
// are not finite.
void encode_f8_rows(std::span<const float> values, std::int64_t columns, std::span<std::uint8_t> codes,
                    std::span<float> scales, const std::string& where);

}  // namespace retort
