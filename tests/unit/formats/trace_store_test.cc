#include "formats/trace_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/random.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

TraceManifest manifest(std::int64_t vocab = 8192) {
  return {.teacher = "t",
          .tokenizer = "k",
          .vocab_size = vocab,
          .top_k = 4,
          .samples = 3,
          .temperature = 1,
          .seed = 0};
}

TracedPosition position(std::uint64_t seed, std::int64_t vocab = 8192) {
  Random random(seed);
  TracedPosition out;
  double left = 1;
  for (int i = 0; i < 4; ++i) {
    const double p = left * (0.3 + 0.4 * random.uniform());
    left -= p;
    out.top.push_back({static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab))),
                       static_cast<float>(std::log(p)), 0});
  }
  out.tail_mass = left;
  out.sampled = {{static_cast<std::int32_t>(vocab - 1), std::log(0.01f), 2}, {5, std::log(0.002f), 1}};
  return out;
}

fs::path only_segment(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".trace") return entry.path();
  throw std::runtime_error("no segment");
}

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(TraceStore, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  const std::vector<TracedPosition> a = {position(1), position(2)}, b = {position(3)};
  {
    TraceWriter writer(folder / "store", manifest());
    writer.add(77, a);
    writer.add(78, b);
    writer.flush();
    writer.mark(true);
  }
  const TraceStore store(folder / "store");
  EXPECT_TRUE(store.complete());
  EXPECT_EQ(store.examples(), 2);
  EXPECT_EQ(store.target_tokens(), 3);
  EXPECT_EQ(store.targets(77), 2);
  EXPECT_EQ(store.targets(1), std::nullopt);
  TraceRows rows;
  store.read(78, rows);
  store.read(77, rows);
  ASSERT_EQ(rows.rows(), 3);
  ASSERT_EQ(rows.width, 7);
  for (int r = 0; r < 3; ++r) {
    const TracedPosition& p = r == 0 ? b[0] : a[static_cast<std::size_t>(r - 1)];
    const auto at = static_cast<std::size_t>(r * 7);
    double sum = 0;
    for (std::size_t i = 0; i < 7; ++i) sum += rows.probs[at + i];
    EXPECT_NEAR(sum, 1, 1e-6);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(rows.ids[at + i], p.top[i].id);
      EXPECT_NEAR(rows.log_probs[at + i], p.top[i].log_prob, 24.0 / 2047 / 2 + 1e-6);
      EXPECT_NEAR(rows.probs[at + i] / std::exp(p.top[i].log_prob), 1, 0.012);
    }
    // The tail's mass is exact to 16 bits of its logarithm, and shared by draws.
    EXPECT_NEAR((rows.probs[at + 4] + rows.probs[at + 5]) / p.tail_mass, 1, 2e-4);
    EXPECT_NEAR(rows.probs[at + 4] / rows.probs[at + 5], 2, 1e-5);
    EXPECT_EQ(rows.ids[at + 4], 8191);
    EXPECT_EQ(rows.probs[at + 6], 0);
  }
}

TEST(TraceStore, ATornLastRecordIsLeftOutAndTheRestKept) {
  const TemporaryFolder folder;
  const std::vector<TracedPosition> some = {position(1), position(2), position(3)};
  {
    TraceWriter writer(folder / "store", manifest());
    for (std::uint64_t key = 0; key < 20; ++key) writer.add(key, some);
  }
  const fs::path segment = only_segment(folder / "store");
  const auto whole = fs::file_size(segment);
  for (std::uintmax_t cut = 1; cut < whole / 20 + 30; ++cut) {
    fs::resize_file(segment, whole - cut);
    const TraceStore store(folder / "store");
    EXPECT_EQ(store.examples(), cut <= whole / 20 ? 19 : 18) << cut;
    TraceRows rows;
    store.read(17, rows);
  }
  // What is missing is recorded beside it, by another process or a later one.
  {
    TraceWriter writer(folder / "store", manifest());
    for (std::uint64_t key = 15; key < 20; ++key) writer.add(key, some);
  }
  EXPECT_EQ(TraceStore(folder / "store").examples(), 20);
}

TEST(TraceStore, DamageIsFoundAndNamed) {
  const TemporaryFolder folder;
  const std::vector<TracedPosition> some = {position(1)};
  {
    TraceWriter writer(folder / "store", manifest());
    writer.add(1, some);
    writer.add(2, some);
  }
  const fs::path segment = only_segment(folder / "store");
  const auto overwrite = [&](std::streamoff place, char byte) {
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(place);
    file.put(byte);
  };
  overwrite(30, 0x5A);
  const TraceStore store(folder / "store");
  TraceRows rows;
  EXPECT_THAT(error_of([&] { store.read(1, rows); }), HasSubstr("checksum"));
  store.read(2, rows);
  overwrite(0, 'x');
  EXPECT_THAT(error_of([&] { TraceStore again(folder / "store"); }), HasSubstr("byte 0"));
}

TEST(TraceStore, HoldsOneTeacherAndOneSetOfOptions) {
  const TemporaryFolder folder;
  { TraceWriter writer(folder / "store", manifest()); }
  TraceManifest other = manifest();
  other.teacher = "another";
  EXPECT_THAT(error_of([&] { TraceWriter writer(folder / "store", other); }),
              HasSubstr("teacher: found \"t\""));
  other = manifest();
  other.temperature = 2;
  EXPECT_THAT(error_of([&] { TraceWriter writer(folder / "store", other); }), HasSubstr("temperature"));
  std::ofstream(folder / "file") << "mine";
  EXPECT_THAT(error_of([&] { TraceWriter writer(folder.path(), manifest()); }), HasSubstr("something else"));
  EXPECT_THAT(error_of([&] { TraceStore store(folder / "none"); }), HasSubstr("retort trace"));
  other.top_k = 0;
  EXPECT_THAT(error_of([&] { TraceWriter writer(folder / "new", other); }), HasSubstr("top_k from 1"));
}

}  // namespace
}  // namespace retort
