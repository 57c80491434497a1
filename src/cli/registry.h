// One maker per verb, each in the verb's own file.
#pragma once

#include "cli/verb.h"

namespace retort {

std::unique_ptr<Verb> make_distill();
std::unique_ptr<Verb> make_evaluate();
std::unique_ptr<Verb> make_generate();
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_report();
std::unique_ptr<Verb> make_run();
std::unique_ptr<Verb> make_score();
std::unique_ptr<Verb> make_shrink();
std::unique_ptr<Verb> make_tokenize_decode();
std::unique_ptr<Verb> make_tokenize_encode();
std::unique_ptr<Verb> make_tokenize_train();
std::unique_ptr<Verb> make_train();

}  // namespace retort
