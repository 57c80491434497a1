// A record: RecordHeader, then bits, least significant first. A position is: number of top tokens, number of
// sampled tokens, the tail's mass (16 bits of its logarithm) if there are any, then each token's id,
// logarithm and, if sampled, draws less one. Counts and ids take as many bits as the manifest's bounds need.
#include "formats/trace_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"

namespace retort {
namespace fs = std::filesystem;
namespace {

constexpr std::uint32_t kMagic = 0x31435254;  // "TRC1"
constexpr const char* kManifestFile = "trace.json";
constexpr const char* kStateFile = "state.json";
constexpr std::size_t kBufferBytes = 1 << 20;

// Logarithms from -kDeepest to 0, rounded to one of 2^bits levels. 11 bits: an error of 0.6 % of a
// probability at most, of either sign.
constexpr double kDeepest = 24;
constexpr int kLogBits = 11, kTailBits = 16;

struct RecordHeader {
  std::uint32_t magic, payload_bytes;
  std::uint64_t key;
  std::uint32_t targets, checksum;
};
static_assert(sizeof(RecordHeader) == 24);

struct Widths {
  int id, top, sampled, draws;
  explicit Widths(const TraceManifest& m)
      : id(bits(m.vocab_size - 1)),
        top(bits(m.top_k)),
        sampled(bits(m.samples)),
        draws(bits(m.samples - 1)) {}
  static int bits(std::int64_t most) {
    return most > 0 ? std::bit_width(static_cast<std::uint64_t>(most)) : 0;
  }
};

std::uint64_t quantize_log(double value, int bits) {
  const double levels = static_cast<double>((1 << bits) - 1);
  return static_cast<std::uint64_t>(std::lround(std::clamp(-value / kDeepest, 0.0, 1.0) * levels));
}

double log_of(std::uint64_t level, int bits) {
  return -kDeepest * static_cast<double>(level) / static_cast<double>((1 << bits) - 1);
}

class BitWriter {
 public:
  explicit BitWriter(std::string& out) : out_(out) {}
  ~BitWriter() {
    if (used_ > 0) out_.push_back(static_cast<char>(bits_));
  }
  void put(std::uint64_t value, int width) {
    bits_ |= value << used_;
    used_ += width;
    for (; used_ >= 8; used_ -= 8, bits_ >>= 8) out_.push_back(static_cast<char>(bits_ & 0xFF));
  }

 private:
  std::string& out_;
  std::uint64_t bits_ = 0;
  int used_ = 0;
};

class BitReader {
 public:
  explicit BitReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  // width ≤ 56
  std::uint64_t get(int width) {
    if (held_ < width) refill();
    const std::uint64_t value = bits_ & ((std::uint64_t{1} << width) - 1);
    bits_ >>= width;
    held_ -= width;
    return value;
  }
  bool overrun() const { return held_ < 0; }

 private:
  // Behind the end come zeros, of which held_ keeps count.
  void refill() {
    while (held_ <= 56 && next_ < bytes_.size()) {
      bits_ |= static_cast<std::uint64_t>(bytes_[next_++]) << held_;
      held_ += 8;
    }
  }

  std::span<const std::byte> bytes_;
  std::uint64_t bits_ = 0;
  int held_ = 0;
  std::size_t next_ = 0;
};

std::uint32_t checksum(std::string_view payload) { return static_cast<std::uint32_t>(hash64(payload)); }

TraceManifest read_manifest(const fs::path& folder) {
  const fs::path file = folder / kManifestFile;
  if (!fs::exists(file))
    throw Error({.where = folder.string(),
                 .found = std::string("no ") + kManifestFile,
                 .expected = "a folder of recorded traces",
                 .advice = "Record them with `retort trace`."});
  return TraceManifest::from_json(read_json(file), file.string());
}

// What each level of kLogBits says: a logarithm and its probability.
struct Levels {
  std::array<float, 1 << kLogBits> log_probs, probs;
  Levels() {
    for (std::size_t level = 0; level < probs.size(); ++level) {
      const double log_prob = log_of(level, kLogBits);
      log_probs[level] = static_cast<float>(log_prob);
      probs[level] = static_cast<float>(std::exp(log_prob));
    }
  }
};

// Appends one position's entries to rows. An id past the vocabulary becomes its size: the caller reports it.
void decode_position(BitReader& in, const TraceManifest& manifest, const Widths& widths, TraceRows& rows) {
  static const Levels levels;
  const auto top = static_cast<std::int64_t>(in.get(widths.top));
  const auto sampled = static_cast<std::int64_t>(in.get(widths.sampled));
  const double tail = sampled > 0 ? std::exp(log_of(in.get(kTailBits), kTailBits)) : 0;
  const std::size_t begin = rows.ids.size(), end = begin + static_cast<std::size_t>(rows.width);
  rows.ids.resize(end, 0);
  rows.log_probs.resize(end, 0);
  rows.probs.resize(end, 0);
  std::int64_t* const ids = rows.ids.data() + begin;
  float* const log_probs = rows.log_probs.data() + begin;
  float* const probs = rows.probs.data() + begin;
  const std::int64_t count = std::min(top + sampled, rows.width), kept = std::min(top, count);
  double top_mass = 0, drawn = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    ids[i] = std::min(static_cast<std::int64_t>(in.get(widths.id)), manifest.vocab_size);
    const auto level = static_cast<std::size_t>(in.get(kLogBits));
    log_probs[i] = levels.log_probs[level];
    probs[i] = i < kept ? levels.probs[level] : static_cast<float>(in.get(widths.draws) + 1);
    (i < kept ? top_mass : drawn) += probs[i];
  }
  // Rounded probabilities are scaled to the exact mass that they share.
  const auto top_scale = static_cast<float>((1 - tail) / top_mass),
             drawn_scale = static_cast<float>(tail / drawn);
  for (std::int64_t i = 0; i < count; ++i) probs[i] *= i < kept ? top_scale : drawn_scale;
}

}  // namespace

Json TraceManifest::to_json() const {
  return {{"version", 1},   {"teacher", teacher}, {"tokenizer", tokenizer},     {"vocab_size", vocab_size},
          {"top_k", top_k}, {"samples", samples}, {"temperature", temperature}, {"seed", seed}};
}

TraceManifest TraceManifest::from_json(const Json& json, const std::string& where) {
  TraceManifest m;
  if (json_get<std::int64_t>(json, "version", where) != 1)
    throw Error({.where = where + ": version",
                 .found = json.at("version").dump(),
                 .expected = "1",
                 .advice = "Record the traces again with this program."});
  m.teacher = json_get<std::string>(json, "teacher", where);
  m.tokenizer = json_get<std::string>(json, "tokenizer", where);
  m.vocab_size = json_get<std::int64_t>(json, "vocab_size", where);
  m.top_k = json_get<std::int64_t>(json, "top_k", where);
  m.samples = json_get<std::int64_t>(json, "samples", where);
  m.temperature = json_get<double>(json, "temperature", where);
  m.seed = json_get<std::int64_t>(json, "seed", where);
  const bool sane = m.vocab_size > 0 && m.vocab_size < (std::int64_t{1} << 31) && m.top_k > 0 &&
                    m.top_k <= std::min<std::int64_t>(m.vocab_size, 4096) && m.samples >= 0 &&
                    m.samples <= 4096 && m.temperature > 0 && std::isfinite(m.temperature);
  if (!sane)
    throw Error({.where = where,
                 .found = json.dump(),
                 .expected =
                     "vocab_size above 0, top_k from 1 to 4096 and at most vocab_size, samples from 0 to "
                     "4096, temperature above 0",
                 .advice = ""});
  return m;
}

TraceWriter::TraceWriter(const fs::path& folder, const TraceManifest& manifest)
    : folder_(folder), manifest_(manifest) {
  TraceManifest::from_json(manifest.to_json(), folder.string());  // checks its numbers
  std::error_code ignored;
  if (fs::exists(folder) && !TraceStore::is_store(folder) &&
      (!fs::is_directory(folder) || !fs::is_empty(folder, ignored)))
    throw Error({.where = folder.string(),
                 .found = "something else",
                 .expected = "a new folder, or one of traces",
                 .advice = "Choose another out."});
  fs::create_directories(folder);
  if (TraceStore::is_store(folder)) {
    const Json theirs = read_manifest(folder).to_json(), ours = manifest.to_json();
    for (const auto& [key, value] : ours.items())
      if (theirs.at(key) != value)
        throw Error(
            {.where = folder.string() + ": " + key,
             .found = theirs.at(key).dump(),
             .expected = value.dump() + ", as asked for now",
             .advice =
                 "A store holds the traces of one teacher with one set of options: choose another out."});
  } else {
    write_json(folder / kManifestFile, manifest.to_json());
  }
}

void TraceWriter::open_segment() {
  for (int n = 0; descriptor_ < 0; ++n) {
    segment_ = (folder_ / fmt::format("segment-{}-{}.trace", ::getpid(), n)).string();
    descriptor_ = ::open(segment_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) throw_system_error(segment_);
  }
}

TraceWriter::~TraceWriter() {
  try {
    flush();
  } catch (const Error&) {  // the next run records what is missing
  }
  if (descriptor_ >= 0) ::close(descriptor_);
}

void TraceWriter::add(std::uint64_t key, std::span<const TracedPosition> positions) {
  const Widths widths(manifest_);
  const std::size_t start = buffer_.size();
  buffer_.append(sizeof(RecordHeader), '\0');
  {
    BitWriter out(buffer_);
    for (const TracedPosition& position : positions) {
      const bool tail = position.tail_mass > 0 && !position.sampled.empty();
      out.put(position.top.size(), widths.top);
      out.put(tail ? position.sampled.size() : 0, widths.sampled);
      if (tail) out.put(quantize_log(std::log(position.tail_mass), kTailBits), kTailBits);
      for (const TracedToken& token : position.top) {
        out.put(static_cast<std::uint64_t>(token.id), widths.id);
        out.put(quantize_log(token.log_prob, kLogBits), kLogBits);
      }
      if (!tail) continue;
      for (const TracedToken& token : position.sampled) {
        out.put(static_cast<std::uint64_t>(token.id), widths.id);
        out.put(quantize_log(token.log_prob, kLogBits), kLogBits);
        out.put(static_cast<std::uint64_t>(token.draws - 1), widths.draws);
      }
    }
  }
  const std::string_view payload = std::string_view(buffer_).substr(start + sizeof(RecordHeader));
  const RecordHeader header{.magic = kMagic,
                            .payload_bytes = static_cast<std::uint32_t>(payload.size()),
                            .key = key,
                            .targets = static_cast<std::uint32_t>(positions.size()),
                            .checksum = checksum(payload)};
  std::memcpy(buffer_.data() + start, &header, sizeof header);
  if (buffer_.size() >= kBufferBytes) flush();
}

void TraceWriter::flush() {
  if (descriptor_ < 0 && !buffer_.empty()) open_segment();
  std::size_t written = 0;
  while (written < buffer_.size()) {
    const ssize_t count = ::write(descriptor_, buffer_.data() + written, buffer_.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      // What did arrive is a torn record at worst; nothing may follow it in this segment.
      buffer_.clear();
      throw_system_error(segment_, "Make room and run the same command: it goes on from what is recorded.");
    }
    written += static_cast<std::size_t>(count);
  }
  buffer_.clear();
}

void TraceWriter::mark(bool complete) { write_json(folder_ / kStateFile, {{"complete", complete}}); }

bool TraceStore::is_store(const fs::path& path) { return fs::exists(path / kManifestFile); }

TraceStore::TraceStore(const fs::path& folder) : folder_(folder), manifest_(read_manifest(folder)) {
  if (fs::exists(folder / kStateFile))
    complete_ =
        json_get_or<bool>(read_json(folder / kStateFile), "complete", false, (folder / kStateFile).string());
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".trace") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    segments_.emplace_back(file);
    const std::span<const std::byte> bytes = segments_.back().bytes();
    for (std::size_t offset = 0; bytes.size() - offset >= sizeof(RecordHeader);) {
      RecordHeader header;
      std::memcpy(&header, bytes.data() + offset, sizeof header);
      if (header.magic != kMagic)
        throw Error({.where = fmt::format("{}, byte {}", file.string(), offset),
                     .found = "no record of a trace",
                     .expected = "one",
                     .advice = "The segment is damaged. Delete it and run `retort trace` again: it records "
                               "what is missing."});
      const std::size_t end = offset + sizeof header + header.payload_bytes;
      if (end > bytes.size()) break;  // torn by a kill
      const Place place{static_cast<std::uint32_t>(segments_.size() - 1), header.targets, offset};
      if (places_.emplace(header.key, place).second) target_tokens_ += header.targets;
      offset = end;
    }
  }
}

std::int64_t TraceStore::bytes() const {
  std::int64_t sum = 0;
  for (const MappedFile& segment : segments_) sum += static_cast<std::int64_t>(segment.bytes().size());
  return sum;
}

Json TraceStore::describe() const {
  const double targets = static_cast<double>(std::max<std::int64_t>(1, target_tokens_));
  return {{"examples", examples()},
          {"target_tokens", target_tokens_},
          {"bytes", bytes()},
          {"bytes_per_target_token", static_cast<double>(bytes()) / targets},
          {"teacher_hash", manifest_.teacher},
          {"vocab_size", manifest_.vocab_size},
          {"top_k", manifest_.top_k},
          {"samples", manifest_.samples},
          {"temperature", manifest_.temperature},
          {"complete", complete_}};
}

std::optional<std::int64_t> TraceStore::targets(std::uint64_t key) const {
  const auto found = places_.find(key);
  if (found == places_.end()) return std::nullopt;
  return found->second.targets;
}

void TraceStore::read(std::uint64_t key, TraceRows& rows) const {
  const auto found = places_.find(key);
  if (found == places_.end())
    throw Error(
        {.where = folder_.string(),
         .found = "no trace of an example",
         .expected = "traces of all examples",
         .advice =
             "Run `retort trace` with this data and --out of this folder: it records what is missing."});
  const Place& place = found->second;
  const std::span<const std::byte> bytes = segments_[place.segment].bytes().subspan(place.offset);
  RecordHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const std::span<const std::byte> payload = bytes.subspan(sizeof header, header.payload_bytes);
  const auto damaged = [&](const std::string& what) {
    return Error(
        {.where = fmt::format("{}, byte {}", segments_[place.segment].path().string(), place.offset),
         .found = what,
         .expected = "a whole record",
         .advice =
             "The segment is damaged. Delete it and run `retort trace` again: it records what is missing."});
  };
  if (checksum({reinterpret_cast<const char*>(payload.data()), payload.size()}) != header.checksum)
    throw damaged("another checksum");
  rows.width = width();
  const Widths widths(manifest_);
  const std::size_t before = rows.ids.size();
  BitReader in(payload);
  // A false count ends with the payload.
  for (std::uint32_t t = 0; t < header.targets && !in.overrun(); ++t)
    decode_position(in, manifest_, widths, rows);
  const bool outside = std::any_of(rows.ids.begin() + static_cast<std::ptrdiff_t>(before), rows.ids.end(),
                                   [&](std::int64_t id) { return id >= manifest_.vocab_size; });
  if (in.overrun() || outside) throw damaged("bits that are no trace");
}

}  // namespace retort
