// Distances between attention maps of two models, made block by block from queries and keys: no map outlives
// its block, the gradient of queries and keys is found with the value, and the models' own attention stays
// fused.
#pragma once

#include <vector>

#include "model/causal_lm.h"

namespace retort {

// Some queries of some sequences with the keys that they see: S sequences padded to R queries and L keys.
struct MapBlock {
  at::Tensor rows;     // int64 [S, R + L], rows of the batch: the queries' and then the keys'; 0 where padded
  at::Tensor places;   // int64 [S, R]: the query's position in its sequence
  at::Tensor weights;  // fp32 [S, R]; 0 where padded

  std::int64_t sequences() const { return rows.size(0); }
  std::int64_t queries() const { return places.size(1); }
  std::int64_t keys() const { return rows.size(1) - queries(); }
};

// Every row whose weight is above 0 as a query, once. Sequences of like length share a block while S · R · L
// is at most `elements`; a longer one is cut into blocks of queries.
std::vector<MapBlock> map_blocks(const DeviceBatch& batch, const std::vector<float>& row_weights,
                                 std::int64_t elements);
// What a block's maps, per head, may take on a device.
std::int64_t map_elements(at::Device device, std::int64_t heads);

// Maps of P heads of each of some layers: softmax(q kᵀ / √d), causal, within `window` (0: all). Layers
// together are one map after another: fewer, larger operations.
struct MapSide {
  std::vector<at::Tensor> rows;  // per layer [N, W], part of the graph: Taps::qkv, or a part of it
  std::int64_t head_dim = 0;     // d; W is a multiple
  // Per layer int64 [P]: places among the W / d heads of a row. One tensor for layers that have the same.
  std::vector<at::Tensor> query_heads, key_heads;
  std::int64_t window = 0;
};

enum class MapDistance { kl, square };

// Σ over blocks of weight · mean over layers and heads of the distance between a row of the teacher's map and
// of the student's; 0-dim fp32, differentiable in the student's rows and in `mixing`. mixing fp32 [P_T, P_S]
// or undefined: the teacher's head h is compared with Σ_s softmax(mixing_h)_s of the student's maps, of one
// layer; without it, with the student's head number h.
at::Tensor map_distance(MapDistance kind, const MapSide& student, const MapSide& teacher,
                        const at::Tensor& mixing, const std::vector<MapBlock>& blocks);

// Mean entropy in nats of each head's rows, weighted: fp64 [P of all layers] on the CPU.
at::Tensor map_entropies(const MapSide& side, const std::vector<MapBlock>& blocks);

}  // namespace retort
