// What a teacher thinks of examples, recorded once, so that students learn without it. Of each target
// position are kept: the most probable tokens with their probabilities, the exact mass of all others, and a
// few draws from those others, which make every sum over the vocabulary an unbiased estimate (importance
// sampling; Anshumann et al., "Sparse Logit Sampling", ACL 2025).
//
// A store is a folder: trace.json (TraceManifest) and segments that only grow, one for each process that
// records. A segment is a row of records; a record holds one example and is found by the hash of its content.
// A process killed while writing leaves a torn last record, which readers leave out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace retort {

struct TraceManifest {
  std::string teacher;          // content hash of its folder
  std::string tokenizer;        // Tokenizer::fingerprint
  std::int64_t vocab_size = 0;  // tokens that have probabilities
  std::int64_t top_k = 0;       // most probable tokens kept a position, at most
  std::int64_t samples = 0;     // draws from the rest a position
  double temperature = 1;       // of the recorded distribution, softmax(z / τ)
  std::int64_t seed = 0;

  Json to_json() const;
  static TraceManifest from_json(const Json& json, const std::string& where);
  bool operator==(const TraceManifest&) const = default;
};

// One position as recorded. Natural logarithms of the teacher's (softened) probabilities.
struct TracedToken {
  std::int32_t id = 0;
  float log_prob = 0;
  std::int32_t draws = 0;  // of a sampled token: how often it was drawn; 0 for one of the most probable
};
struct TracedPosition {
  std::vector<TracedToken> top;      // the most probable first
  double tail_mass = 0;              // of all tokens but those; 0: treated as none
  std::vector<TracedToken> sampled;  // distinct, none of them in `top`
};

// Positions as a loss reads them: `width` entries each, p = 0 where there are fewer. An entry's p is its
// share of the expectation: the probability of a top token, tail_mass · draws / samples of a sampled one;
// they sum to 1.
struct TraceRows {
  std::int64_t width = 0;
  std::vector<std::int64_t> ids;
  std::vector<float> log_probs, probs;
  std::int64_t rows() const { return width > 0 ? static_cast<std::int64_t>(ids.size()) / width : 0; }
};

// Appends to a store, creating it first. Several processes may write to one store at the same time.
class TraceWriter {
 public:
  // Throws Error naming the key when the folder holds traces of another manifest.
  TraceWriter(const std::filesystem::path& folder, const TraceManifest& manifest);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  void add(std::uint64_t key, std::span<const TracedPosition> positions);
  // Hands everything to the operating system (a kill then loses nothing). Throws Error on a full disk.
  void flush();
  // Says in the store whether all that was to be recorded is there.
  void mark(bool complete);

 private:
  std::filesystem::path folder_;
  TraceManifest manifest_;
  int descriptor_ = -1;  // opened by the first flush
  std::string buffer_, segment_;
  void open_segment();
};

// Read at random through memory maps. Segments written after opening are not seen.
class TraceStore {
 public:
  explicit TraceStore(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const TraceManifest& manifest() const { return manifest_; }
  bool complete() const { return complete_; }
  std::int64_t examples() const { return static_cast<std::int64_t>(places_.size()); }
  std::int64_t target_tokens() const { return target_tokens_; }
  std::int64_t bytes() const;  // of all segments
  // {"target_tokens": …, "bytes_per_target_token": …, "teacher_hash": …, "complete": …, …}
  Json describe() const;
  std::int64_t width() const { return manifest_.top_k + manifest_.samples; }

  // Target positions of an example, or nothing when it is not there.
  std::optional<std::int64_t> targets(std::uint64_t key) const;
  // Appends an example's rows. Throws Error when it is missing, or damaged on disk.
  void read(std::uint64_t key, TraceRows& rows) const;

  static bool is_store(const std::filesystem::path& path);

 private:
  struct Place {
    std::uint32_t segment;
    std::uint32_t targets;
    std::uint64_t offset;
  };
  std::filesystem::path folder_;
  TraceManifest manifest_;
  bool complete_ = false;
  std::int64_t target_tokens_ = 0;
  std::vector<MappedFile> segments_;
  std::unordered_map<std::uint64_t, Place> places_;
};

}  // namespace retort
