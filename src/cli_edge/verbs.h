// One maker per verb that needs no LibTorch, each in the verb's own file.
#pragma once

#include "cli_edge/model_opener.h"
#include "cli_edge/verb.h"

namespace retort {

std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_chat(std::unique_ptr<ModelOpener> opener);
std::unique_ptr<Verb> make_data_generate(std::unique_ptr<ModelOpener> opener);
std::unique_ptr<Verb> make_evaluate(std::unique_ptr<ModelOpener> opener);
std::unique_ptr<Verb> make_export();
std::unique_ptr<Verb> make_generate(std::unique_ptr<ModelOpener> opener);
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_quantize();
std::unique_ptr<Verb> make_score(std::unique_ptr<ModelOpener> opener);
std::unique_ptr<Verb> make_tokenize_decode();
std::unique_ptr<Verb> make_tokenize_encode();

}  // namespace retort
