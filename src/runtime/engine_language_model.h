// The engine as a LanguageModel.
#pragma once

#include <memory>

#include "architecture/language_model.h"
#include "runtime/engine.h"

namespace retort {

// Attention maps and adapters are an Error.
std::unique_ptr<LanguageModel> as_language_model(std::shared_ptr<Engine> engine);

}  // namespace retort
