#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace retort {
namespace {

std::string format_message(const ErrorParts& parts) {
  std::string text = parts.where;
  if (!parts.found.empty()) text += ": found " + parts.found;
  if (!parts.expected.empty()) text += (parts.found.empty() ? ": expected " : ", expected ") + parts.expected;
  if (!parts.advice.empty()) text += ". " + parts.advice;
  return text;
}

}  // namespace

Error::Error(ErrorParts parts, ErrorKind kind)
    : std::runtime_error(format_message(parts)), parts_(std::move(parts)), kind_(kind) {}

void throw_system_error(std::string where, std::string advice) {
  throw Error(
      {.where = std::move(where), .found = std::strerror(errno), .expected = "", .advice = std::move(advice)},
      ErrorKind::failure);
}

}  // namespace retort
