// The engine as a LanguageModel.
#pragma once

#include <memory>
#include <string>

#include "architecture/language_model.h"
#include "runtime/engine.h"

namespace retort {

// Sequences that name no adapter are computed with `adapter` ("": the base). Attention maps are an Error.
std::unique_ptr<LanguageModel> as_language_model(std::shared_ptr<Engine> engine, std::string adapter = "");

}  // namespace retort
