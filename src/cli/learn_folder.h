// The run folder of `train` and `distill`: whose it is, and what a run leaves there.
#pragma once

#include "cli/learn.h"

namespace retort {

inline constexpr const char* kLearnResult = "train.json";

// All that the final weights depend on, except the machine: a checkpoint or a finished run of another
// fingerprint is not ours.
std::string learn_fingerprint(const LearnOptions& options, bool distill);

// True when the run has ended before with the same options and inputs. What another run left is overwritten
// only when the user says so: finished, under way, or a model that no run of ours wrote there. Throws Error.
bool already_done(const LearnOptions& options, const std::string& fingerprint);

// Writes out/model or out/adapter.
void save_result(const CausalLM& student, const LearnOptions& options);

}  // namespace retort
