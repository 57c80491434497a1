// TensorBoard event files, written by hand: TFRecord framing around Event messages
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto) in protobuf's wire format.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>

#include "report/append_file.h"
#include "report/crc32c.h"
#include "report/report.h"

namespace retort {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "events.out.tfevents.";

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

template <class T>
void put_little_endian(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// A field's key is its number and wire type: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
void put_varint_field(std::string& out, int field, std::uint64_t value) {
  put_varint(out, static_cast<std::uint64_t>(field << 3));
  put_varint(out, value);
}
void put_double_field(std::string& out, int field, double value) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | 1));
  put_little_endian(out, std::bit_cast<std::uint64_t>(value));
}
void put_bytes_field(std::string& out, int field, std::string_view bytes) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | 2));
  put_varint(out, bytes.size());
  out += bytes;
}
void put_float_field(std::string& out, int field, float value) {
  put_varint(out, static_cast<std::uint64_t>(field << 3 | 5));
  put_little_endian(out, std::bit_cast<std::uint32_t>(value));
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Readers take a folder's files in name order, so a resumed run's name must come after all that are there.
std::string next_file_name(const fs::path& folder) {
  auto second = static_cast<std::int64_t>(wall_time());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    std::int64_t other = 0;
    if (name.rfind(kPrefix, 0) != 0) continue;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), other);
    if (other < 9'999'999'999) second = std::max(second, other + 1);
  }
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("{}{:010}.{}.{}.0", kPrefix, second, host, ::getpid());
}

class TensorBoard : public MetricsSink {
 public:
  TensorBoard(const fs::path& file, std::int64_t resume_step) : file_(file) {
    std::string version;
    put_double_field(version, 1, wall_time());
    put_bytes_field(version, 3, "brain.Event:2");
    append_record(version);
    // A session start tells readers to drop what earlier files hold at this step and beyond.
    std::string session, start;
    put_varint_field(session, 1, 1);  // SessionLog.status = START
    put_double_field(start, 1, wall_time());
    put_varint_field(start, 2, static_cast<std::uint64_t>(resume_step));
    put_bytes_field(start, 7, session);
    append_record(start);
  }

  void write(std::int64_t step, const std::vector<Metric>& metrics) override {
    std::string summary;
    for (const auto& [name, number] : metrics) {
      std::string value;
      put_bytes_field(value, 1, name);
      put_float_field(value, 2, static_cast<float>(number));
      put_bytes_field(summary, 1, value);
    }
    std::string event;
    put_double_field(event, 1, wall_time());
    put_varint_field(event, 2, static_cast<std::uint64_t>(step));
    put_bytes_field(event, 5, summary);
    append_record(event);
  }

 private:
  // TFRecord: u64 length, its checksum, the bytes, their checksum.
  void append_record(std::string_view bytes) {
    std::string record;
    put_little_endian(record, static_cast<std::uint64_t>(bytes.size()));
    put_little_endian(record, masked_crc32c(record));
    record += bytes;
    put_little_endian(record, masked_crc32c(bytes));
    file_.append(record);
  }

  AppendFile file_;
};

}  // namespace

std::unique_ptr<MetricsSink> open_tensorboard(const fs::path& folder, std::int64_t resume_step) {
  fs::create_directories(folder);
  return std::make_unique<TensorBoard>(folder / next_file_name(folder), resume_step);
}

}  // namespace retort
