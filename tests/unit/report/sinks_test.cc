#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "report/crc32c.h"
#include "report/report.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

class Sinks : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "retort_sinks";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(Sinks, MetricsSurviveExactly) {
  open_metrics_jsonl(folder_ / "metrics.jsonl")->write(7, {{"train/loss", 0.1}, {"train/bad", std::nan("")}});
  EXPECT_EQ(read_file(folder_ / "metrics.jsonl"), "{\"step\":7,\"train/loss\":0.1,\"train/bad\":null}\n");
}

TEST_F(Sinks, ResumeCutsRepeatedAndTornRecords) {
  const fs::path path = folder_ / "metrics.jsonl";
  {
    const auto sink = open_metrics_jsonl(path);
    for (int step = 0; step < 5; ++step) sink->write(step, {{"x", step}});
  }
  std::ofstream(path, std::ios::app) << "{\"step\":1,\"x\":";  // killed while it wrote
  open_metrics_jsonl(path, 3)->write(3, {{"x", 30}});
  EXPECT_EQ(
      read_file(path),
      "{\"step\":0,\"x\":0.0}\n{\"step\":1,\"x\":1.0}\n{\"step\":2,\"x\":2.0}\n{\"step\":3,\"x\":30.0}\n");
  open_metrics_jsonl(path);
  EXPECT_EQ(read_file(path), "");
}

TEST_F(Sinks, CurvesJoinTrainAndValidation) {
  const fs::path path = folder_ / "metrics.jsonl";
  {
    const auto sink = open_metrics_jsonl(path);
    sink->write(0, {{"train/loss", 3}, {"train/rate", 0.5}});
    sink->write(1, {{"train/loss", 2}, {"validation/loss", std::nan("")}});
    sink->write(2, {{"validation/loss", 2.5}});
  }
  Json curves = curves_from_metrics(path, "student");
  EXPECT_EQ(curves, Json::parse(R"([
    {"title": "loss", "series": [{"name": "student · train", "points": [[0, 3.0], [1, 2.0]]},
                                 {"name": "student · validation", "points": [[2, 2.5]]}]},
    {"title": "train/rate", "series": [{"name": "student", "points": [[0, 0.5]]}]}])"));
  merge_curves(curves,
               Json::parse(R"([{"title": "train/rate", "series": [{"name": "teacher", "points": []}]}])"));
  EXPECT_EQ(curves.size(), 2u);
  EXPECT_EQ(curves[1]["series"].size(), 2u);
}

// TensorBoard reads a folder's files in name order: the last opened must be the last in it, within one second
// too.
TEST_F(Sinks, EventFilesComeInNameOrder) {
  std::string last;
  for (std::int64_t resume_step = 0; resume_step < 3; ++resume_step) {
    const std::string before = last;
    open_tensorboard(folder_ / "events", resume_step);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_ / "events"))
      last = std::max(last, entry.path().filename().string());
    EXPECT_GT(last, before);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "events"), {}), 3);
}

TEST(Crc32c, AgreesWithTheStandardCheckValues) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(""), 0u);
}

}  // namespace
}  // namespace retort
