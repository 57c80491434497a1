#include "data/reading/byte_stream.h"

#include <zstd.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace retort {
namespace {

class MappedBytes : public ByteStream {
 public:
  explicit MappedBytes(const std::filesystem::path& path) : ByteStream(path), file_(path) {}
  std::string_view next() override {
    const std::string_view piece = done_ ? std::string_view() : file_.text();
    done_ = true;
    return piece;
  }
  void rewind() override { done_ = false; }

 private:
  MappedFile file_;
  bool done_ = false;
};

class ZstdBytes : public ByteStream {
 public:
  explicit ZstdBytes(const std::filesystem::path& path)
      : ByteStream(path),
        file_(path),
        stream_(ZSTD_createDStream(), ZSTD_freeDStream),
        buffer_(ZSTD_DStreamOutSize()) {
    if (stream_ == nullptr) throw std::bad_alloc();
    // zstd's own default, stated: a frame may ask for at most 128 MiB of window, whatever its header says.
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 27);
    rewind();
  }

  std::string_view next() override {
    ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
    // A full output buffer may hide bytes inside zstd even when the input is used up, so the end is known
    // only by a call that gives nothing.
    while (out.pos == 0) {
      const std::size_t before = input_.pos;
      const std::size_t hint = ZSTD_decompressStream(stream_.get(), &out, &input_);
      if (ZSTD_isError(hint))
        throw Error({.where = path().string(),
                     .found = std::string("a zstd error: ") + ZSTD_getErrorName(hint),
                     .expected = "intact zstd data",
                     .advice = "Check it with `zstd -t`"});
      // A call that moves nothing is the end; its hint then speaks of a frame not yet begun, not of the last
      // one.
      if (out.pos == 0 && input_.pos == before) break;
      inside_frame_ = hint != 0;
    }
    if (out.pos == 0 && inside_frame_)
      throw Error({.where = path().string(),
                   .found = "zstd data that ends in the middle of a frame",
                   .expected = "a whole file",
                   .advice = "Was the download or copy cut off?"});
    return {buffer_.data(), out.pos};
  }

  void rewind() override {
    ZSTD_DCtx_reset(stream_.get(), ZSTD_reset_session_only);
    input_ = {file_.bytes().data(), file_.bytes().size(), 0};
    inside_frame_ = false;
  }

 private:
  MappedFile file_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> buffer_;
  ZSTD_inBuffer input_{};
  bool inside_frame_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path) {
  if (path.extension() == ".zst") return std::make_unique<ZstdBytes>(path);
  return std::make_unique<MappedBytes>(path);
}

}  // namespace retort
