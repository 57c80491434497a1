// What stands for other values in a recipe: variables, and loops over them.
#pragma once

#include "base/json.h"

namespace retort {

// "${key}", or "${key.part}" of a key that holds keys, → the value in `variables`, in every text below
// `value`. A text that is nothing else takes the value's type. Throws Error with the nearest name.
void substitute(Json& value, const Json& variables, const std::string& where);

// A loop is an item of any list:
//   - for_each: {method: [lora, full], seed: [1, 2, 3]}     # every combination, the last key fastest
//     do: [{train: {name: "${method}-${seed}", …}}]         # one item or several
// In its place come the items of `do`, once for each combination, with these and the outer variables put in.
// Throws Error naming the loop.
void expand_loops(Json& value, const Json& variables, const std::string& where);

}  // namespace retort
