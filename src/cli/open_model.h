// How `retort` opens models.
#pragma once

#include "cli_edge/model_opener.h"

namespace retort {

// Folders with LibTorch.
std::unique_ptr<ModelOpener> make_model_opener();

}  // namespace retort
