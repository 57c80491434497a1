#include "model/parameter_pattern.h"

#include <fnmatch.h>

namespace retort {

bool name_matches(const std::string& name, const std::string& pattern) {
  if (pattern.find('*') != std::string::npos) return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  return ("." + name + ".").find("." + pattern + ".") != std::string::npos;
}

}  // namespace retort
