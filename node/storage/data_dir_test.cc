#include "node/storage/data_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <set>

#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/test_util.h"

namespace raftkv::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Status OpenError(const std::string& path) {
  auto dir = DataDir::Open(path, "n1");
  return dir.has_value() ? Status::Ok() : dir.error();
}

mode_t ModeOf(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 0777;
}

// Nothing can be made in a directory that was removed, though "." is still there.
TEST(DataDir, RelativePathInARemovedDirectoryIsRefused) {
  TempDir temp;
  const std::string before = fs::current_path();
  ASSERT_OK(MakeDirs(temp / "removed"));
  fs::current_path(temp / "removed");
  fs::remove(temp / "removed");
  const Status status = OpenError("data");
  fs::current_path(before);
  EXPECT_EQ(status.code(), Code::kIoError);
  EXPECT_THAT(status.message(), HasSubstr("cannot make the directory data: No such file"));
}

TEST(DataDir, MakesABlankIdentityAndKeepsIt) {
  TempDir temp;
  const std::string path = temp / "deep/er/data";
  uint64_t id;
  {
    auto dir = DataDir::Open(path, "n1").value();
    id = dir->identity().member_id();
    EXPECT_NE(id, 0u);
    EXPECT_EQ(dir->identity().cluster_id(), 0u);
    EXPECT_EQ(dir->identity().format(), kDataFormat);
    EXPECT_EQ(dir->log_path(), path + "/log");
  }
  auto dir = DataDir::Open(path, "renamed on the command line").value();
  EXPECT_EQ(dir->identity().member_id(), id);
  EXPECT_EQ(dir->identity().name(), "n1");
  EXPECT_NE(DataDir::Open(temp / "other", "n2").value()->identity().member_id(), id);
  EXPECT_EQ(ModeOf(path), 0700u);
  EXPECT_EQ(ModeOf(path + "/identity"), 0600u);
}

TEST(DataDir, JoinsAClusterOnceAndBecomesATombstone) {
  TempDir temp;
  {
    auto dir = DataDir::Open(temp.path(), "n1").value();
    v1::Identity identity = dir->identity();
    identity.set_cluster_id(42);
    ASSERT_OK(dir->SetIdentity(identity));
    ASSERT_OK(dir->SetIdentity(identity));
    identity.set_cluster_id(43);
    EXPECT_EQ(dir->SetIdentity(identity).code(), Code::kFailedPrecondition);
    identity.set_cluster_id(42);
    identity.set_member_id(identity.member_id() + 1);
    EXPECT_EQ(dir->SetIdentity(identity).code(), Code::kFailedPrecondition);
    identity = dir->identity();
    identity.set_removed(true);
    ASSERT_OK(dir->SetIdentity(identity));
  }
  auto dir = DataDir::Open(temp.path(), "n1").value();
  EXPECT_EQ(dir->identity().cluster_id(), 42u);
  EXPECT_TRUE(dir->identity().removed());
}

TEST(DataDir, OneProcessAtATime) {
  TempDir temp;
  auto dir = DataDir::Open(temp.path(), "n1").value();
  const std::string pid = std::to_string(::getpid());
  const int status = RunInChild([&] {
    const Status error = OpenError(temp.path());
    const bool ok = error.code() == Code::kFailedPrecondition &&
                    error.message().find("in use by process " + pid) != std::string::npos;
    ::_exit(ok ? 7 : 1);
  });
  EXPECT_EQ(WEXITSTATUS(status), 7);
  dir.reset();
  EXPECT_TRUE(OpenError(temp.path()).ok());
}

// One of the races that docs/design/operator.md lists: who could be foretold could be taken for
// another one.
TEST(DataDir, R4_EachDirectoryMintsAMemberIdAtRandom) {
  constexpr int kDirectories = 32;
  std::set<uint64_t> ids;
  std::array<int, 64> ones{};
  for (int i = 0; i < kDirectories; ++i) {
    TempDir temp;
    const uint64_t id = DataDir::Open(temp / "data", "n1").value()->identity().member_id();
    ids.insert(id);
    for (int bit = 0; bit < 64; ++bit) ones[bit] += static_cast<int>(id >> bit & 1);
  }
  EXPECT_EQ(ids.size(), kDirectories);
  // Every bit is by chance: that one is the same 32 times is one in 2^31.
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_GT(ones[bit], 0) << bit;
    EXPECT_LT(ones[bit], kDirectories) << bit;
  }
}

TEST(DataDir, EveryDamagedByteOfTheIdentityIsNoticed) {
  TempDir temp;
  {
    auto dir = DataDir::Open(temp.path(), "n1").value();
  }
  const std::string file = temp / "identity";
  const std::string good = ReadFile(file).value();
  for (size_t i = 0; i < good.size(); ++i) {
    FlipBit(file, i);
    const Status error = OpenError(temp.path());
    EXPECT_EQ(error.code(), Code::kCorruption) << i;
    EXPECT_THAT(error.message(), HasSubstr(file));
    WriteRaw(file, good);
  }
  for (size_t size = 0; size < good.size(); ++size) {
    WriteRaw(file, good.substr(0, size));
    EXPECT_EQ(OpenError(temp.path()).code(), Code::kCorruption) << size;
  }
}

TEST(DataDir, AnotherFormatIsNoDamage) {
  TempDir temp;
  {
    auto dir = DataDir::Open(temp.path(), "n1").value();
  }
  const std::string file = temp / "identity";
  const std::string good = ReadFile(file).value();
  v1::Identity identity;
  ASSERT_TRUE(identity.ParseFromString(good.substr(16)));
  identity.set_format(kDataFormat + 1);
  const std::string message = identity.SerializeAsString();
  std::string newer = good.substr(0, 8);
  PutFixed32(&newer, kDataFormat + 1);
  PutFixed32(&newer, Crc32c(message));
  // A later format may look altogether different behind its head.
  for (const std::string& bytes : {newer + message, newer + "something else"}) {
    WriteRaw(file, bytes);
    const Status error = OpenError(temp.path());
    EXPECT_EQ(error.code(), Code::kFailedPrecondition);
    EXPECT_THAT(error.message(), HasSubstr(file));
  }
}

TEST(DataDir, DatabasesWithoutAnIdentityAreRefused) {
  TempDir temp;
  {
    auto dir = DataDir::Open(temp.path(), "n1").value();
  }
  ASSERT_EQ(::unlink((temp / "identity").c_str()), 0);
  ASSERT_OK(MakeDirs(temp / "log"));  // made before a crash, nothing inside: still blank
  EXPECT_TRUE(OpenError(temp.path()).ok());
  ASSERT_EQ(::unlink((temp / "identity").c_str()), 0);
  WriteRaw(temp / "log/CURRENT", "MANIFEST-000001\n");
  const Status error = OpenError(temp.path());
  EXPECT_EQ(error.code(), Code::kCorruption);
  EXPECT_THAT(error.message(), HasSubstr("identity is missing"));
  EXPECT_FALSE(Exists(temp / "identity"));
}

TEST(DataDir, AnInterruptedReplacementLeavesTheOldIdentity) {
  TempDir temp;
  uint64_t id;
  {
    auto dir = DataDir::Open(temp.path(), "n1").value();
    id = dir->identity().member_id();
  }
  WriteRaw(temp / "identity.tmp", "half");
  EXPECT_EQ(DataDir::Open(temp.path(), "n1").value()->identity().member_id(), id);
}

TEST(DataDir, AFileInTheWayIsAnError) {
  TempDir temp;
  WriteRaw(temp / "file", "x");
  EXPECT_EQ(OpenError(temp / "file").code(), Code::kIoError);
}

}  // namespace
}  // namespace raftkv::storage
