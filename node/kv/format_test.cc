#include "node/kv/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"

namespace raftkv::kv {
namespace {

std::string RandomKey(Random& random) {
  constexpr std::string_view kBytes(
      "\x00\x01\x02"
      "a\xfe\xff",
      6);
  std::string key(random.Uniform(5), '\0');
  for (char& byte : key) byte = kBytes[random.Uniform(kBytes.size())];
  return key;
}

std::string HistoryKey(std::string_view key, Revision revision) {
  std::string out;
  AppendHistoryKey(key, revision, &out);
  return out;
}

TEST(FormatTest, HistoryKeysSortByKeyThenNewestFirst) {
  SeededRandom random(1);
  for (int i = 0; i < 20000; ++i) {
    const std::string a = RandomKey(random);
    const std::string b = RandomKey(random);
    const Revision ra{random.Uniform(3), static_cast<uint32_t>(random.Uniform(3))};
    const Revision rb{random.Uniform(3), static_cast<uint32_t>(random.Uniform(3))};
    const auto expected = a != b ? a <=> b : rb <=> ra;
    EXPECT_EQ(HistoryKey(a, ra) <=> HistoryKey(b, rb), expected);
  }
}

TEST(FormatTest, NoHistoryPrefixStartsAnotherKeysRows) {
  SeededRandom random(2);
  for (int i = 0; i < 20000; ++i) {
    const std::string a = RandomKey(random);
    const std::string b = RandomKey(random);
    std::string prefix;
    AppendHistoryPrefix(a, &prefix);
    EXPECT_EQ(HistoryKey(b, {random.Next(), 0}).starts_with(prefix), a == b);
  }
}

TEST(FormatTest, HeadersComeBack) {
  for (const uint64_t main : {uint64_t{2}, uint64_t{127}, uint64_t{128}, UINT64_MAX}) {
    const RecordHeader header{
        .kind = RecordKind::kValue, .mod = {main, 300}, .create = 2, .version = 129};
    std::string bytes;
    AppendHeader(header, &bytes);
    EXPECT_EQ(ParseHeader(bytes), header);
  }
  const RecordHeader tombstone{.kind = RecordKind::kTombstone, .mod = {9, UINT32_MAX}};
  std::string bytes;
  AppendHeader(tombstone, &bytes);
  EXPECT_EQ(ParseHeader(bytes), tombstone);
}

TEST(FormatTest, DamagedHeadersAreNotRead) {
  std::string bytes;
  AppendHeader({.kind = RecordKind::kValue, .mod = {300, 1}, .create = 300, .version = 1}, &bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseHeader(std::string_view(bytes).substr(0, size))) << size;
  }
  EXPECT_FALSE(ParseHeader(bytes + "v"));                                     // format 1's value
  EXPECT_FALSE(ParseHeader(std::string("\x03\x05\x00\x00\x01", 5)));          // unknown kind
  EXPECT_FALSE(ParseHeader(std::string("\x01\x05\x00\x06\x01", 5)));          // create before 0
  EXPECT_FALSE(ParseHeader(std::string("\x02\x05\x00\x00", 4)));              // tombstone + rest
  EXPECT_FALSE(ParseHeader(std::string("\x02") + std::string(11, '\xff')));   // endless varint
  EXPECT_FALSE(ParseHeader(std::string("\x02\x05\xff\xff\xff\xff\x7f", 7)));  // sub above 32 bits
}

TEST(FormatTest, RowsComeBack) {
  const Row row{.kind = RecordKind::kTombstone, .previous = {200, 7}, .key = "k"};
  std::string bytes;
  AppendRow(row, &bytes);
  const auto parsed = ParseRow(bytes);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->kind, row.kind);
  EXPECT_EQ(parsed->previous, row.previous);
  EXPECT_EQ(parsed->key, row.key);
  EXPECT_FALSE(ParseRow(""));
  EXPECT_FALSE(ParseRow(std::string("\x00\x00\x00k", 4)));
}

TEST(FormatTest, RevisionKeysSortAndComeBack) {
  const std::vector<Revision> revisions = {{1, 0}, {1, 1}, {1, 256}, {2, 0}, {256, 0}};
  std::vector<std::string> keys;
  std::vector<std::string> value_keys;
  for (const Revision revision : revisions) AppendValueKey(revision, &value_keys.emplace_back());
  EXPECT_TRUE(std::ranges::is_sorted(value_keys));
  for (const Revision revision : revisions) {
    AppendRevisionKey(revision, &keys.emplace_back());
    EXPECT_EQ(ParseRevisionKey(keys.back()), revision);
  }
  EXPECT_TRUE(std::ranges::is_sorted(keys));
  EXPECT_FALSE(ParseRevisionKey("r123"));
  EXPECT_FALSE(ParseRevisionKey("x" + keys[0].substr(1)));
}

TEST(FormatTest, MetaComesBack) {
  const Meta meta{.index = raft::Index(1),
                  .term = raft::Term(2),
                  .revision = 3,
                  .compact_revision = 4,
                  .live_keys = 5,
                  .stored_versions = UINT64_MAX};
  const std::string bytes = EncodeMeta(meta);
  EXPECT_EQ(ParseMeta(bytes), meta);
  EXPECT_FALSE(ParseMeta(bytes + "x"));
  EXPECT_FALSE(ParseMeta(bytes.substr(1)));

  const GcProgress progress{.target = 1, .next = {2, 3}, .done = false};
  EXPECT_EQ(ParseGcProgress(EncodeGcProgress(progress)), progress);
  EXPECT_FALSE(ParseGcProgress(""));
  EXPECT_EQ(ParseFormat(EncodeFormat(70000)), 70000u);
  EXPECT_FALSE(ParseFormat("1"));
}

}  // namespace
}  // namespace raftkv::kv
