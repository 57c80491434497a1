// The verbs of retort, and a maker for each that retort-edge lacks, in the verb's own file.
#pragma once

#include "cli_edge/verb.h"

namespace retort {

std::unique_ptr<Verb> make_distill();
std::unique_ptr<Verb> make_inspect_cka();
std::unique_ptr<Verb> make_merge();
std::unique_ptr<Verb> make_report();
std::unique_ptr<Verb> make_run();
std::unique_ptr<Verb> make_shrink();
std::unique_ptr<Verb> make_tokenize_train();
std::unique_ptr<Verb> make_trace();
std::unique_ptr<Verb> make_train();

// All rows, in registry.cc.
std::span<const VerbRow> verbs();

}  // namespace retort
