// Which layers of the student learn from which of the teacher. Layers count from 0; -1 is the input
// embedding.
#pragma once

#include <vector>

#include "base/json.h"

namespace retort {

struct LayerPair {
  int student, teacher;
  bool operator==(const LayerPair&) const = default;
};

struct LayerCounts {
  int student, teacher;
};

// A recipe's map:
//   uniform, or nothing        every layer of the student, with the teacher's at the same depth; last with
//                              last
//   last: 3 (or {last: 3})     the last three of both, in order
//   6-9, 7, [4, 7, 10]         these of the teacher, with the student's at the same depth
//   [[0, 4], [1, 7], [2, 10]]  pairs of a student's and a teacher's layer; [-1, -1] pairs the embeddings
// "At the same depth": the first i + 1 of L layers are the share (i + 1) / L, rounded to the nearest layer.
// Throws Error naming `where` for what cannot be read and for layers that are not there; `lowest` is -1 or 0.
std::vector<LayerPair> read_layer_map(const Json& map, LayerCounts counts, int lowest,
                                      const std::string& where);

}  // namespace retort
