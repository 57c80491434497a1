#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <list>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  // Holds values alive behind a view.
  TensorView tensor(const std::string& name, std::vector<std::int64_t> shape,
                    const std::vector<float>& values) {
    kept_.push_back(values);
    return {name, DType::f32, std::move(shape), std::as_bytes(std::span(kept_.back()))};
  }
  fs::path raw(const std::string& header, std::size_t data_bytes,
               const std::string& name = "raw.safetensors") {
    const std::uint64_t size = header.size();
    std::string content(reinterpret_cast<const char*>(&size), sizeof size);
    content += header + std::string(data_bytes, '\0');
    write_file_atomically(folder_ / name, content);
    return folder_ / name;
  }
  std::string refusal(const fs::path& path) {
    try {
      open_safetensors(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  std::string header_refusal(const std::string& header, std::size_t data_bytes) {
    return refusal(raw(header, data_bytes));
  }

  TemporaryFolder folder_;
  std::list<std::vector<float>> kept_;
};

TEST_F(Safetensors, WritesAndReadsOneFile) {
  const std::uint16_t half[3] = {float_to_bf16(1), float_to_bf16(-2), float_to_bf16(0.5f)};
  const std::int64_t whole[1] = {-7};
  const std::vector<TensorView> tensors = {
      {"h", DType::bf16, {3}, std::as_bytes(std::span(half))},
      tensor("w", {2, 2}, {1, 2, 3, 4}),
      {"scalar \"quoted\" 名", DType::i64, {}, std::as_bytes(std::span(whole))},
      {"empty", DType::f32, {0, 5}, {}},
  };
  write_safetensors(folder_ / "a.safetensors", tensors, {.metadata = {{"format", "pt"}, {"note", "x"}}});
  const auto source = open_safetensors(folder_ / "a.safetensors");
  EXPECT_EQ(source->tensors().size(), 4u);
  EXPECT_EQ(source->metadata().at("note"), "x");
  EXPECT_EQ(to_float(source->get("w")), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(to_float(source->get("h")), (std::vector<float>{1, -2, 0.5}));
  EXPECT_EQ(source->get("w").describe(), "w F32 [2, 2]");
  EXPECT_EQ(source->get("empty").element_count(), 0);
  EXPECT_THROW(to_float(source->get("scalar \"quoted\" 名")), Error);
  for (const TensorView& view : source->tensors())
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.bytes.data()) % dtype_size(view.dtype), 0u) << view.name;
  const std::string content = read_file(folder_ / "a.safetensors");
  std::uint64_t header_size;
  std::memcpy(&header_size, content.data(), 8);
  EXPECT_EQ(header_size % 8, 0u);
}

TEST_F(Safetensors, ReadsDoublesAndHalves) {
  const double wide[2] = {0.1, -3};
  const std::uint16_t half[2] = {0x3c00, 0xc000};
  const std::vector<TensorView> tensors = {{"d", DType::f64, {2}, std::as_bytes(std::span(wide))},
                                           {"h", DType::f16, {2}, std::as_bytes(std::span(half))}};
  write_safetensors(folder_ / "a.safetensors", tensors);
  const auto source = open_safetensors(folder_ / "a.safetensors");
  EXPECT_EQ(to_float(source->get("d")), (std::vector<float>{0.1f, -3}));
  EXPECT_EQ(to_float(source->get("h")), (std::vector<float>{1, -2}));
}

TEST_F(Safetensors, MissingTensorNamesTheNearest) {
  write_safetensors(folder_ / "a.safetensors", std::vector{tensor("model.norm.weight", {1}, {1})});
  const auto source = open_safetensors(folder_ / "a.safetensors");
  try {
    source->get("model.norm.weigth");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("'model.norm.weight'"));
  }
}

TEST_F(Safetensors, ShardsAndIndex) {
  const std::vector<TensorView> tensors = {tensor("a", {2}, {1, 2}), tensor("b", {2}, {3, 4}),
                                           tensor("c", {3}, {5, 6, 7})};
  write_safetensors(folder_ / "model.safetensors", tensors);  // an earlier save
  write_safetensors_folder(folder_.path(), tensors, {.max_shard_bytes = 16});
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  const Json index = read_json(folder_ / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 28);
  EXPECT_EQ(index["weight_map"]["b"], "model-00001-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00002.safetensors");
  for (const fs::path& path : {folder_.path(), folder_ / "model.safetensors.index.json"}) {
    const auto source = open_safetensors(path);
    EXPECT_EQ(to_float(source->get("a")), (std::vector<float>{1, 2}));
    EXPECT_EQ(to_float(source->get("c")), (std::vector<float>{5, 6, 7}));
  }
  write_safetensors_folder(folder_.path(), tensors);
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(folder_ / "model-00001-of-00002.safetensors"));
  EXPECT_EQ(open_safetensors(folder_.path())->tensors().size(), 3u);
}

TEST_F(Safetensors, MakesBytesOneTensorAtATime) {
  const std::vector<TensorView> tensors = {{"a", DType::f32, {1}, {}}, {"b", DType::f32, {2}, {}}};
  std::vector<std::string> asked;
  write_safetensors(folder_ / "a.safetensors", tensors, {}, [&](const TensorView& view) {
    asked.push_back(view.name);
    return std::vector<std::byte>(static_cast<std::size_t>(view.element_count()) * 4);
  });
  EXPECT_EQ(asked, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(to_float(open_safetensors(folder_ / "a.safetensors")->get("b")), (std::vector<float>{0, 0}));
  EXPECT_THROW(write_safetensors(folder_ / "a.safetensors", tensors, {},
                                 [](const TensorView&) { return std::vector<std::byte>(3); }),
               Error);
}

TEST_F(Safetensors, WriterRefusesCallersMistakes) {
  const std::vector<TensorView> twice = {tensor("a", {1}, {1}), tensor("a", {1}, {1})};
  EXPECT_THROW(write_safetensors(folder_ / "a.safetensors", twice), Error);
  const std::vector<TensorView> wrong = {tensor("a", {2}, {1})};
  EXPECT_THROW(write_safetensors(folder_ / "a.safetensors", wrong), Error);
  const std::vector<TensorView> reserved = {tensor("__metadata__", {1}, {1})};
  EXPECT_THROW(write_safetensors(folder_ / "a.safetensors", reserved), Error);
  EXPECT_FALSE(fs::exists(folder_ / "a.safetensors"));
}

TEST_F(Safetensors, HostileHeaders) {
  EXPECT_EQ(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  )", 4), "accepted");
  EXPECT_THAT(header_refusal("{\"a\":", 0), HasSubstr("not JSON"));
  EXPECT_THAT(header_refusal("[]", 0), HasSubstr("begin with '{'"));
  EXPECT_THAT(header_refusal("", 0), HasSubstr("begin with '{'"));
  EXPECT_THAT(
      header_refusal(
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          8),
      HasSubstr("the name 'a' twice"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
              HasSubstr("twice"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"a":"1","a":"2"}})", 0), HasSubstr("twice"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"a":1}})", 0), HasSubstr("the number 1"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F8","shape":[1],"data_offsets":[0,4]}})", 4),
              HasSubstr("expected F64"));
  EXPECT_THAT(header_refusal(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), HasSubstr("no dtype"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1]}})", 4), HasSubstr("no data_offsets"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4),
              HasSubstr("1 offsets"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", 4),
              HasSubstr("more than two"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
              HasSubstr("-1"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4),
              HasSubstr("1.0"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4),
              HasSubstr("a list"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":{"b":1},"data_offsets":[0,4]}})", 4),
              HasSubstr("an object"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4),
              HasSubstr("unknown key"));
  EXPECT_THAT(header_refusal(R"({"a":null})", 0), HasSubstr("null"));
  EXPECT_THAT(
      header_refusal(
          R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4),
      HasSubstr("more than 16 dimensions"));
  EXPECT_THAT(header_refusal("{\"a\":" + std::string(100'000, '['), 0), HasSubstr("a list"));
}

TEST_F(Safetensors, HostileOffsets) {
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 4),
              HasSubstr("offsets in the 4 bytes"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4),
              HasSubstr("offsets in the 4 bytes"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
              HasSubstr("8 for a F32 [2]"));
  EXPECT_THAT(
      header_refusal(
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          4),
      HasSubstr("overlaps"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8),
              HasSubstr("holes"));
  EXPECT_THAT(header_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8),
              HasSubstr("end of the last tensor"));
  EXPECT_THAT(
      header_refusal(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0),
      HasSubstr("overflows"));
  EXPECT_THAT(
      header_refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
      HasSubstr("overflows"));
  EXPECT_THAT(
      header_refusal(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]}})", 0),
      HasSubstr("18446744073709551615"));
}

TEST_F(Safetensors, HostileSizes) {
  write_file_atomically(folder_ / "a", "1234567");
  EXPECT_THAT(refusal(folder_ / "a"), HasSubstr("7 bytes"));
  write_file_atomically(folder_ / "a", "");
  EXPECT_THAT(refusal(folder_ / "a"), HasSubstr("0 bytes"));
  write_file_atomically(folder_ / "a", std::string(8, '\xff'));
  EXPECT_THAT(refusal(folder_ / "a"), HasSubstr("at most 100000000"));
  write_file_atomically(folder_ / "a", std::string("\x10\0\0\0\0\0\0\0{}", 10));
  EXPECT_THAT(refusal(folder_ / "a"), HasSubstr("a header of 16 bytes"));
  EXPECT_THAT(refusal(folder_ / "none"), HasSubstr("no such file"));
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("no weights"));
}

// Every prefix of a good file is refused: nothing reads past the end.
TEST_F(Safetensors, TruncatedAnywhere) {
  write_safetensors(folder_ / "a.safetensors", std::vector{tensor("a", {2}, {1, 2}), tensor("b", {1}, {3})});
  const std::string whole = read_file(folder_ / "a.safetensors");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(folder_ / "b.safetensors", std::ios::binary) << whole.substr(0, size);
    ASSERT_NE(refusal(folder_ / "b.safetensors"), "accepted") << size;
  }
}

TEST_F(Safetensors, HostileIndexes) {
  const auto index_refusal = [&](const std::string& text) {
    write_file_atomically(folder_ / "model.safetensors.index.json", text);
    return refusal(folder_.path());
  };
  raw(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8, "one.safetensors");
  raw(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "two.safetensors");
  EXPECT_EQ(index_refusal(R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})"), "accepted");
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"one.safetensors"}})"), HasSubstr("nothing for 'b'"));
  EXPECT_THAT(
      index_refusal(R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"one.safetensors"}})"),
      HasSubstr("the tensor 'c'"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"),
              HasSubstr("'b'"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"../one.safetensors"}})"),
              HasSubstr("outside of its folder"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":".."}})"), HasSubstr("outside of its folder"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"/etc/passwd"}})"), HasSubstr("outside of its folder"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":""}})"), HasSubstr("outside of its folder"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":")" + std::string(300, 'm') + R"("}})"),
              HasSubstr("the name of a file"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"none.safetensors"}})"),
              HasSubstr("fetch the missing shard"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":1}})"), HasSubstr("a file name"));
  EXPECT_THAT(index_refusal(R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})"),
              HasSubstr("twice"));
  EXPECT_THAT(index_refusal("{}"), HasSubstr("no weight_map"));
  EXPECT_THAT(index_refusal("{"), HasSubstr("cannot be parsed"));
  EXPECT_THAT(index_refusal(R"({"a":{"a":{"a":{"a":{"a":1}}}}})"), HasSubstr("nested"));
  EXPECT_THAT(index_refusal(std::string(100'000, '[')), HasSubstr("cannot be parsed"));
}

// A file-size limit stands in for a full disk: both make write() fail part way.
TEST_F(Safetensors, FullDiskLeavesTheOldFile) {
  const fs::path path = folder_ / "a.safetensors";
  write_safetensors(path, std::vector{tensor("a", {1}, {1})});
  const std::string before = read_file(path);
  const std::vector<TensorView> large = {tensor("a", {100'000}, std::vector<float>(100'000))};
  const auto child = [&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10'000, 10'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_safetensors(path, large);
    } catch (const Error& error) {
      _exit(error.kind() == ErrorKind::failure ? 3 : 4);
    }
    _exit(0);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(3), "");
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace retort
