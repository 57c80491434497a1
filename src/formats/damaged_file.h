// The error about a file whose contents contradict its format.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace retort {

[[noreturn]] inline void refuse_damaged(const std::string& where, std::string found,
                                        std::string expected = "") {
  throw Error({.where = where,
               .found = std::move(found),
               .expected = std::move(expected),
               .advice = "The file is damaged or incomplete; copy or download it again."});
}

}  // namespace retort
