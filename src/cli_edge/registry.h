// The verbs of retort-edge.
#pragma once

#include "cli_edge/verb.h"

namespace retort {

std::span<const VerbRow> edge_verbs();

}  // namespace retort
