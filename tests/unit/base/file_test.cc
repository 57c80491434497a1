#include "base/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "support/temporary_folder.h"

namespace retort {
namespace {
namespace fs = std::filesystem;

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(File, WritesWholeAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "deep/er/a", "one");
  write_file_atomically(folder / "deep/er/a", std::string("two\0", 4));
  EXPECT_EQ(read_file(folder / "deep/er/a"), std::string("two\0", 4));
  EXPECT_EQ(entries(folder / "deep/er"), 1u);
}

TEST(File, DroppedWithoutCommit) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  { AtomicFile(folder / "a").write("new"); }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(File, WritesIntoAPipeInsteadOfReplacingIt) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const int reader = ::open((folder / "pipe").c_str(), O_RDWR);
  write_file_atomically(folder / "pipe", "abc");
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
  char text[4] = {};
  EXPECT_EQ(::read(reader, text, 3), 3);
  EXPECT_STREQ(text, "abc");
  ::close(reader);
  EXPECT_THROW(AtomicFile(folder.path()), Error);
}

TEST(File, MissingAndFolderAreErrors) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_file(folder / "none"), Error);
  EXPECT_THROW(read_file(folder.path()), Error);
  EXPECT_THROW(MappedFile(folder / "none"), Error);
}

TEST(File, MapsBytes) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "abc");
  write_file_atomically(folder / "empty", "");
  MappedFile file(folder / "a");
  EXPECT_EQ(file.text(), "abc");
  const MappedFile moved(std::move(file));
  EXPECT_EQ(moved.text(), "abc");
  EXPECT_EQ(MappedFile(folder / "empty").bytes().size(), 0u);
}

TEST(Folder, AppearsWholeOrNotAtAll) {
  const TemporaryFolder folder;
  {
    AtomicFolder dropped(folder / "run");
    write_file_atomically(dropped.path() / "a", "1");
  }
  EXPECT_EQ(entries(folder.path()), 0u);
  AtomicFolder kept(folder / "run");
  write_file_atomically(kept.path() / "a", "1");
  EXPECT_FALSE(fs::exists(folder / "run"));
  kept.commit();
  EXPECT_EQ(read_file(folder / "run/a"), "1");
  EXPECT_THROW(AtomicFolder(folder / "run"), Error);
  AtomicFolder replaced(folder / "run", true);
  write_file_atomically(replaced.path() / "b", "2");
  replaced.commit();
  EXPECT_FALSE(fs::exists(folder / "run/a"));
  EXPECT_EQ(read_file(folder / "run/b"), "2");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(Hash, KnownAnswersOfXxh3) {
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2u);
  EXPECT_EQ(hash_text(""), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, FolderByNamesAndBytesWithoutHiddenFiles) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "x/a", "1");
  write_file_atomically(folder / "y/a", "1");
  write_file_atomically(folder / "y/.hidden", "2");
  EXPECT_EQ(hash_path(folder / "x"), hash_path(folder / "y"));
  write_file_atomically(folder / "y/b", "");
  EXPECT_NE(hash_path(folder / "x"), hash_path(folder / "y"));
  EXPECT_EQ(hash_path(folder / "x/a"), hash_text("1"));
  EXPECT_THROW(hash_path(folder / "none"), Error);
}

}  // namespace
}  // namespace retort
