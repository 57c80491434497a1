// A trace store of two files, trace.json and a segment, in which every checksum is made right first: every
// record that opening lists is read.
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "formats/trace_store.h"
#include "scratch_file.h"

using namespace retort;

namespace {

// Where a record has its payload's size, its key and its checksum, and where the payload begins.
constexpr std::size_t kSize = 4, kKey = 8, kChecksum = 20, kPayload = 24;

// Calls work(offset, payload bytes) for each whole record.
template <class Work>
void each_record(const std::string& segment, const Work& work) {
  for (std::size_t at = 0; at + kPayload <= segment.size();) {
    std::uint32_t size = 0;
    std::memcpy(&size, segment.data() + at + kSize, sizeof size);
    if (size > segment.size() - at - kPayload) return;
    work(at, size);
    at += kPayload + size;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const TwoFiles files({reinterpret_cast<const char*>(data), size});
  std::string segment(files.second);
  each_record(segment, [&](std::size_t at, std::uint32_t payload) {
    const auto sum =
        static_cast<std::uint32_t>(hash64(std::string_view(segment).substr(at + kPayload, payload)));
    std::memcpy(segment.data() + at + kChecksum, &sum, sizeof sum);
  });
  scratch_file("trace.json", files.first);
  scratch_file("segment-1-1.trace", segment);
  try {
    const TraceStore store(scratch_folder());
    store.describe();
    each_record(segment, [&](std::size_t at, std::uint32_t) {
      std::uint64_t key = 0;
      std::memcpy(&key, segment.data() + at + kKey, sizeof key);
      TraceRows rows;
      store.read(key, rows);
    });
  } catch (const Error&) {
  }
  return 0;
}
