#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "formats/gguf_layout.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint64_t>(text.size()));
  out += text;
}

// A file put together by hand, right or wrong.
struct Raw {
  std::uint32_t magic = kGgufMagic, version = 3;
  std::uint64_t tensors = 0, values = 0;
  std::string body = "";

  Raw& key(std::string_view name, GgufType type) {
    ++values;
    put_text(body, name);
    put(body, static_cast<std::uint32_t>(type));
    return *this;
  }
  Raw& tensor(std::string_view name, const std::vector<std::int64_t>& dims, std::uint32_t type,
              std::uint64_t offset) {
    ++tensors;
    put_text(body, name);
    put(body, static_cast<std::uint32_t>(dims.size()));
    for (const std::int64_t size : dims) put(body, size);
    put(body, type);
    put(body, offset);
    return *this;
  }
  std::string text(std::size_t data = 0) const {
    std::string out;
    put(out, magic);
    put(out, version);
    put(out, tensors);
    put(out, values);
    out += body;
    out.resize((out.size() + 31) / 32 * 32 + data);
    return out;
  }
};

class Gguf : public testing::Test {
 protected:
  std::string refusal(const std::string& content) {
    write_file_atomically(folder_ / "raw.gguf", content);
    try {
      const GgufFile file(folder_ / "raw.gguf");
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  static std::vector<std::byte> bytes(std::size_t count, int first) {
    std::vector<std::byte> result(count);
    for (std::size_t i = 0; i < count; ++i) result[i] = static_cast<std::byte>(first + static_cast<int>(i));
    return result;
  }

  TemporaryFolder folder_;
};

TEST(TensorView, AnExtentOfZeroMakesAllNothing) {
  const std::int64_t large = std::int64_t{1} << 62;  // whose square overflows, as a sanitizer would say
  EXPECT_EQ((TensorView{"x", DType::f32, {large, large, 0}, {}, nullptr}.element_count()), 0);
}

TEST_F(Gguf, AnEmptyArrayHasNoFirstValue) {
  Raw raw;
  raw.key("split.count", GgufType::array);
  put(raw.body, static_cast<std::uint32_t>(GgufType::u32));
  put(raw.body, std::uint64_t{0});
  // What stands behind it is not its value.
  raw.key("general.alignment", GgufType::u32);
  put(raw.body, std::uint32_t{32});
  EXPECT_EQ(refusal(raw.text()), "accepted");
}

TEST_F(Gguf, WritesAndReads) {
  GgufMetadata metadata;
  metadata.set_text("general.architecture", "llama");
  metadata.set_u32("a.u32", 4'000'000'000);
  metadata.set_u16("a.u16", 65535);
  metadata.set_i32("a.i32", -5);
  metadata.set_f32("a.f32", 0.5);
  metadata.set_flag("a.flag", true);
  metadata.set_i32s("a.list", std::vector<std::int64_t>{3, -1});
  metadata.set_f32s("a.floats", std::vector<float>{1.5f});
  metadata.set_texts("a.texts", std::vector<std::string>{"", "名", "x y"});
  metadata.set_i32("a.i32", -6);  // again: replaced
  const auto plain = bytes(24, 0), blocks = bytes(2 * 34, 1);
  const std::vector<TensorView> tensors = {
      {"plain", DType::f32, {2, 3}, plain},
      {"quantized", DType::u8, {2, 32}, blocks, &find_encoding("q8_0", "test")},
      {"whole", DType::i32, {6}, plain},
      {"empty", DType::f16, {0, 4}, {}},
  };
  write_gguf(folder_ / "a.gguf", metadata, tensors);
  const GgufFile file(folder_ / "a.gguf");
  EXPECT_EQ(file.values().size(), 9u);
  EXPECT_EQ(file.integer("a.u32"), 4'000'000'000);
  EXPECT_EQ(file.integer("a.u16"), 65535);
  EXPECT_EQ(file.integer("a.i32"), -6);
  EXPECT_EQ(file.number("a.f32"), 0.5);
  EXPECT_EQ(file.number("a.i32"), -6);
  EXPECT_TRUE(file.flag("a.flag"));
  EXPECT_EQ(file.integers("a.list"), (std::vector<std::int64_t>{3, -1}));
  EXPECT_EQ(file.numbers("a.floats"), std::vector<double>{1.5});
  EXPECT_EQ(file.texts("a.texts"), (std::vector<std::string_view>{"", "名", "x y"}));
  EXPECT_EQ(file.metadata().at("general.architecture"), "llama");
  EXPECT_EQ(file.metadata().at("a.texts"), "3 × string");
  ASSERT_EQ(file.tensors().size(), 4u);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& found = file.tensors()[i];
    EXPECT_EQ(found.describe(), tensors[i].describe());
    EXPECT_EQ(found.encoding, tensors[i].encoding);
    EXPECT_TRUE(
        std::equal(found.bytes.begin(), found.bytes.end(), tensors[i].bytes.begin(), tensors[i].bytes.end()));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(found.bytes.data()) % 32, 0u);
  }
  EXPECT_EQ(file.get("quantized").describe(), "quantized q8_0 [2, 32]");
  EXPECT_THROW(file.get("quantised"), Error);
  std::vector<float> decoded = to_float(file.get("quantized")), expected(64);
  find_encoding("q8_0", "test").decode(blocks.data(), expected);
  EXPECT_EQ(decoded, expected);
  EXPECT_TRUE(looks_like_gguf(folder_ / "a.gguf"));
  EXPECT_FALSE(looks_like_gguf(folder_.path()));
}

TEST_F(Gguf, ValuesOfAnotherKindAreRefused) {
  GgufMetadata metadata;
  metadata.set_text("text", "x");
  metadata.set_u32("number", 1);
  metadata.set_texts("texts", std::vector<std::string>{"a"});
  EXPECT_THROW(metadata.set_u32("number", -1), Error);
  EXPECT_THROW(metadata.set_u16("number", 65536), Error);
  EXPECT_THROW(metadata.set_u32("number", std::int64_t{1} << 32), Error);
  write_gguf(folder_ / "a.gguf", metadata, {});
  const GgufFile file(folder_ / "a.gguf");
  EXPECT_EQ(file.integer("number"), 1);
  EXPECT_THROW(file.integer("text"), Error);
  EXPECT_THROW(file.integer("texts"), Error);
  EXPECT_THROW(file.text("number"), Error);
  EXPECT_THROW(file.text("texts"), Error);
  EXPECT_THROW(file.flag("number"), Error);
  EXPECT_THROW(file.number("text"), Error);
  EXPECT_THROW(file.integers("texts"), Error);
  EXPECT_THROW(file.numbers("texts"), Error);
  EXPECT_THROW(file.texts("text"), Error);
  try {
    file.integer("numbers");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("'number'"));
  }
}

TEST_F(Gguf, Shards) {
  GgufMetadata metadata;
  metadata.set_text("k", "v");
  std::vector<std::vector<std::byte>> contents;
  std::vector<TensorView> tensors;
  for (int i = 0; i < 5; ++i) contents.push_back(bytes(400, i));
  for (int i = 0; i < 5; ++i)
    tensors.push_back({"t" + std::to_string(i), DType::f32, {100}, contents[static_cast<std::size_t>(i)]});
  write_gguf(folder_ / "m.gguf", metadata, tensors, {.max_shard_bytes = 900});
  EXPECT_FALSE(fs::exists(folder_ / "m.gguf"));
  for (int i = 1; i <= 3; ++i) {
    const GgufFile file(folder_ / shard_name("m", i, 3));
    EXPECT_EQ(file.tensors().size(), 5u);
    EXPECT_EQ(file.text("k"), "v");
    EXPECT_EQ(file.get("t4").bytes[0], std::byte{4});
  }
  // Under another name one is only a part.
  fs::copy(folder_ / shard_name("m", 2, 3), folder_ / "part.gguf");
  EXPECT_THROW(GgufFile(folder_ / "part.gguf"), Error);
  // A shard of another model: the same tensors twice.
  fs::remove(folder_ / shard_name("m", 3, 3));
  EXPECT_THROW(GgufFile(folder_ / shard_name("m", 1, 3)), Error);
  fs::copy(folder_ / shard_name("m", 1, 3), folder_ / shard_name("m", 3, 3));
  EXPECT_THROW(GgufFile(folder_ / shard_name("m", 1, 3)), Error);
}

TEST_F(Gguf, WriterRefusesWhatNobodyCouldRead) {
  const auto content = bytes(32, 0);
  const auto write = [&](const TensorView& view) { write_gguf(folder_ / "a.gguf", {}, std::span(&view, 1)); };
  EXPECT_THROW(write({"", DType::f32, {8}, content}), Error);
  EXPECT_THROW(write({std::string(64, 'x'), DType::f32, {8}, content}), Error);
  EXPECT_THROW(write({"a", DType::f32, {9}, content}), Error);
  EXPECT_THROW(write({"a", DType::f32, {1, 1, 2, 2, 2}, content}), Error);
  EXPECT_THROW(write({"a", DType::boolean, {32}, content}), Error);
  EXPECT_THROW(write({"a", DType::u8, {30}, content, &find_encoding("q8_0", "test")}), Error);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  write({std::string(63, 'x'), DType::f32, {8}, content});
}

TEST_F(Gguf, HostileHeaders) {
  EXPECT_EQ(refusal(Raw{}.text()), "accepted");
  EXPECT_THAT(refusal(""), HasSubstr("0 bytes"));
  EXPECT_THAT(refusal(Raw{.magic = 0x12345678}.text()), HasSubstr("begins with 78563412"));
  EXPECT_THAT(refusal(Raw{.version = 1}.text()), HasSubstr("version 1"));
  EXPECT_THAT(refusal(Raw{.version = 4}.text()), HasSubstr("version 4"));
  EXPECT_THAT(refusal(Raw{.version = 0x03000000}.text()), HasSubstr("big-endian"));
  for (const std::uint64_t count : {std::uint64_t{1} << 40, ~std::uint64_t{0}, std::uint64_t{1000}}) {
    EXPECT_THAT(refusal(Raw{.tensors = count}.text(8000)), HasSubstr("tensors"));
    EXPECT_THAT(refusal(Raw{.values = count}.text(8000)), HasSubstr("metadata values"));
  }
  // The count says two, the file holds one: what follows is read as an empty key.
  Raw one;
  one.key("a", GgufType::u8).body += '\1';
  one.values = 2;
  EXPECT_THAT(refusal(one.text(100)), HasSubstr("empty key"));
}

TEST_F(Gguf, HostileValues) {
  const auto with = [&](GgufType type, const auto&... parts) {
    Raw raw;
    raw.key("k", type);
    (put(raw.body, parts), ...);
    return refusal(raw.text(64));
  };
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  const auto array = [](GgufType type) { return static_cast<std::uint32_t>(type); };
  EXPECT_EQ(with(GgufType::u64, kHuge), "accepted");
  EXPECT_EQ(with(GgufType::array, array(GgufType::u8), std::uint64_t{0}), "accepted");
  EXPECT_THAT(with(static_cast<GgufType>(13), kHuge), HasSubstr("type 13"));
  EXPECT_THAT(with(GgufType::string, kHuge), HasSubstr("a string"));
  EXPECT_THAT(with(GgufType::string, std::uint64_t{200}), HasSubstr("a string"));
  EXPECT_THAT(with(GgufType::boolean, std::uint8_t{2}), HasSubstr("truth value 2"));
  EXPECT_THAT(with(GgufType::array, array(GgufType::array), std::uint64_t{1}), HasSubstr("array of arrays"));
  EXPECT_THAT(with(GgufType::array, std::uint32_t{99}, std::uint64_t{1}), HasSubstr("type 99"));
  for (const GgufType type :
       {GgufType::u8, GgufType::u64, GgufType::string, GgufType::boolean, GgufType::f64})
    EXPECT_NE(with(GgufType::array, array(type), kHuge), "accepted") << gguf_type_name(type);
  EXPECT_NE(with(GgufType::array, array(GgufType::u64), std::uint64_t{1} << 61), "accepted");  // × 8 = 0
  // An array of a thousand million empty strings that the file does not hold.
  EXPECT_NE(with(GgufType::array, array(GgufType::string), std::uint64_t{1} << 30), "accepted");

  Raw twice;
  twice.key("k", GgufType::u8).body += '\1';
  twice.key("k", GgufType::u8).body += '\1';
  EXPECT_THAT(refusal(twice.text()), HasSubstr("'k' twice"));
  for (const std::uint32_t alignment : {0u, 3u, 48u, 1u << 21, ~0u}) {
    Raw raw;
    put(raw.key("general.alignment", GgufType::u32).body, alignment);
    EXPECT_THAT(refusal(raw.text(64)), HasSubstr("power of two")) << alignment;
  }
  Raw text;
  put_text(text.key("general.alignment", GgufType::string).body, "32");
  EXPECT_THAT(refusal(text.text(64)), HasSubstr("a u32"));
}

TEST_F(Gguf, HostileTensors) {
  const auto with = [&](const std::vector<std::int64_t>& dims, std::uint32_t type, std::uint64_t offset = 0) {
    return refusal(Raw{}.tensor("t", dims, type, offset).text(4096));
  };
  constexpr std::int64_t kBig = std::int64_t{1} << 62;
  EXPECT_EQ(with({32, 8}, 0), "accepted");
  EXPECT_EQ(with({}, 0), "accepted");
  EXPECT_EQ(with({0, kBig}, 0), "accepted");
  EXPECT_THAT(with({1, 1, 1, 1, 1}, 0), HasSubstr("5 dimensions"));
  EXPECT_THAT(with({-1}, 0), HasSubstr("overflows"));
  EXPECT_THAT(with({kBig, 2}, 0), HasSubstr("overflows"));
  EXPECT_THAT(with({std::int64_t{1} << 32, std::int64_t{1} << 32}, 0), HasSubstr("overflows"));
  EXPECT_THAT(with({kBig}, 0), HasSubstr("overflows"));           // × 4 bytes
  EXPECT_THAT(with({kBig - kBig % 256}, 12), HasSubstr("byte"));  // fits 63 bits in Q4_K, not the file
  EXPECT_THAT(with({1 << 20}, 0), HasSubstr("more at byte"));
  EXPECT_THAT(with({33}, 8), HasSubstr("multiple of the block, 32"));
  EXPECT_THAT(with({32}, 10), HasSubstr("ggml type 10"));
  EXPECT_THAT(with({32}, ~0u), HasSubstr("ggml type"));
  EXPECT_THAT(with({32}, 0, 32), HasSubstr("the offset 32"));
  EXPECT_THAT(with({32}, 0, ~std::uint64_t{31}), HasSubstr("the offset"));
  // Overlaps, holes, repeated and odd names.
  EXPECT_EQ(refusal(Raw{}.tensor("a", {9}, 0, 0).tensor("b", {8}, 0, 64).text(96)), "accepted");
  EXPECT_THAT(refusal(Raw{}.tensor("a", {9}, 0, 0).tensor("b", {8}, 0, 32).text(96)),
              HasSubstr("the offset 32"));
  EXPECT_THAT(refusal(Raw{}.tensor("a", {9}, 0, 0).tensor("b", {8}, 0, 96).text(256)),
              HasSubstr("the offset 96"));
  EXPECT_THAT(refusal(Raw{}.tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).text(96)), HasSubstr("'a' twice"));
  EXPECT_THAT(refusal(Raw{}.tensor("", {8}, 0, 0).text(96)), HasSubstr("name of 0 bytes"));
  EXPECT_THAT(refusal(Raw{}.tensor(std::string(64, 'n'), {8}, 0, 0).text(96)), HasSubstr("name of 64 bytes"));
  // No padding after the last tensor.
  std::string short_end = Raw{}.tensor("a", {9}, 0, 0).text(64);
  short_end.resize(short_end.size() - 28);
  EXPECT_EQ(refusal(short_end), "accepted");
  short_end.pop_back();
  EXPECT_THAT(refusal(short_end), HasSubstr("more at byte"));
}

TEST_F(Gguf, TruncatedAnywhere) {
  GgufMetadata metadata;
  metadata.set_text("general.name", std::string(3000, 'n'));
  std::vector<std::string> texts(500, "token");
  metadata.set_texts("tokens", texts);
  const auto content = bytes(4000, 0);
  const std::vector<TensorView> tensors = {{"a", DType::f32, {10, 100}, content},
                                           {"b", DType::f32, {1000}, content}};
  write_gguf(folder_ / "whole.gguf", metadata, tensors);
  const std::string whole = read_file(folder_ / "whole.gguf");
  EXPECT_EQ(refusal(whole), "accepted");
  for (std::size_t size = 0; size + 32 < whole.size(); size += size < 256 ? 1 : 331)
    EXPECT_NE(refusal(whole.substr(0, size)), "accepted") << size;
}

TEST_F(Gguf, EveryFlippedByteIsReadOrRefused) {
  GgufMetadata metadata;
  metadata.set_text("general.architecture", "llama");
  metadata.set_u32("general.alignment", 32);
  metadata.set_texts("tokens", std::vector<std::string>{"a", "b"});
  const auto content = bytes(34 * 4, 0);
  const TensorView tensor = {"t", DType::u8, {2, 64}, content, &find_encoding("q8_0", "test")};
  write_gguf(folder_ / "whole.gguf", metadata, std::span(&tensor, 1));
  const std::string whole = read_file(folder_ / "whole.gguf");
  for (std::size_t at = 0; at < whole.size() - content.size(); ++at)
    for (const int flip : {1, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      write_file_atomically(folder_ / "raw.gguf", changed);
      try {
        const GgufFile file(folder_ / "raw.gguf");
        for (const TensorView& view : file.tensors()) to_float(view);
        for (const auto& [key, value] : file.values()) value.describe();
        if (file.find_value("tokens") != nullptr) file.texts("tokens");
      } catch (const Error&) {
        continue;  // refused, which is as good
      }
    }
}

}  // namespace
}  // namespace retort
