#include "node/kv/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace raftkv::kv {
namespace {

std::string Header(const RecordHeader& header) {
  std::string bytes;
  AppendHeader(header, &bytes);
  return bytes;
}

std::string RowBytes(const Row& row) {
  std::string bytes;
  AppendRow(row, &bytes);
  return bytes;
}

TEST(FormatTest, HeadersComeBack) {
  for (const uint64_t main : {uint64_t{3}, uint64_t{127}, uint64_t{128}, UINT64_MAX}) {
    RecordHeader header{.kind = RecordKind::kValue,
                        .mod = {main, 300},
                        .create = 2,
                        .version = 129,
                        .steps = kJump};
    EXPECT_EQ(ParseHeader(Header(header)), header);
    header.jump = {1, 70'000};
    EXPECT_EQ(ParseHeader(Header(header)), header);
  }
  const RecordHeader tombstone{
      .kind = RecordKind::kTombstone, .mod = {9, UINT32_MAX}, .jump = {8, 0}, .steps = 1};
  EXPECT_EQ(ParseHeader(Header(tombstone)), tombstone);
}

TEST(FormatTest, DamagedHeadersAreNotRead) {
  const std::string bytes = Header({.kind = RecordKind::kValue,
                                    .mod = {300, 1},
                                    .create = 300,
                                    .version = 1,
                                    .jump = {299, 1},
                                    .steps = 1});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseHeader(std::string_view(bytes).substr(0, size))) << size;
  }
  EXPECT_FALSE(ParseHeader(bytes + "v"));
  const auto header = [](std::string_view text) { return ParseHeader(text).has_value(); };
  EXPECT_TRUE(header({"\x01\x05\x00\x05\x01\x01\x00", 7}));
  EXPECT_FALSE(header({"\x04\x05\x00\x05\x01\x01\x00", 7}));      // unknown kind
  EXPECT_FALSE(header({"\x01\x05\x00\x06\x01\x01\x00", 7}));      // create before 0
  EXPECT_FALSE(header({"\x01\x05\x00\x05\x01\x00\x00", 7}));      // no steps
  EXPECT_FALSE(header({"\x01\x05\x00\x05\x01\x81\x01\x00", 8}));  // too many
  EXPECT_FALSE(header({"\x01\x05\x00\x05\x01\x01\x05\x00", 8}));  // jump to 0
  EXPECT_TRUE(header({"\x02\x05\x00\x01\x00", 5}));
  EXPECT_FALSE(header({"\x02\x05\x00\x01\x00\x00", 6}));              // tombstone + rest
  EXPECT_FALSE(header("\x02" + std::string(11, '\xff')));             // endless varint
  EXPECT_FALSE(header({"\x02\x05\xff\xff\xff\xff\x7f\x01\x00", 9}));  // sub above 32 bits
}

TEST(FormatTest, RowsComeBack) {
  for (const Row& row :
       {Row{.kind = RecordKind::kTombstone,
            .mod = {201, 0},
            .previous_kind = RecordKind::kLargeValue,
            .previous = {200, 7},
            .key = "k"},
        Row{.kind = RecordKind::kValue,
            .mod = {1'000'000, 3},
            .create = 5,
            .version = 400,
            .previous_kind = RecordKind::kValue,
            .previous = {900'000, 0},
            .jump = {5, 70'000},
            .key = "k\0\1",
            .value = "v"},
        Row{.kind = RecordKind::kLargeValue,
            .mod = {9, 0},
            .create = 9,
            .version = 1,
            .previous_kind = RecordKind::kTombstone,
            .previous = {8, 0},
            .key = "k"},
        Row{.kind = RecordKind::kValue, .mod = {2, 0}, .create = 2, .version = 1}}) {
    const std::string bytes = RowBytes(row);
    const auto parsed = ParseRow(row.mod, bytes);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(HeaderOf(*parsed), HeaderOf(row));
    EXPECT_EQ(parsed->previous_kind, row.previous_kind);
    EXPECT_EQ(parsed->previous, row.previous);
    EXPECT_EQ(parsed->jump, row.jump);
    EXPECT_EQ(parsed->key, row.key);
    EXPECT_EQ(parsed->value, row.value);
    for (size_t size = 0; size + row.value.size() < bytes.size(); ++size) {
      EXPECT_FALSE(ParseRow(row.mod, std::string_view(bytes).substr(0, size))) << size;
    }
  }
  const auto row = [](std::string_view text) { return ParseRow({5, 0}, text).has_value(); };
  EXPECT_TRUE(row({"\x12\x01\x00\x00\x01k", 6}));
  EXPECT_FALSE(row({"\x10\x01\x00\x00\x01k", 6}));      // unknown kind
  EXPECT_FALSE(row({"\x42\x01\x00\x00\x01k", 6}));      // unknown kind of the one before
  EXPECT_FALSE(row({"\x12\x05\x00\x00\x01k", 6}));      // that is at 0
  EXPECT_FALSE(row({"\x12\x00\x00\x01k", 5}));          // or missing
  EXPECT_FALSE(row({"\x02\x01\x00\x00\x01k", 6}));      // or without a kind
  EXPECT_FALSE(row({"\x12\x01\x00\x06\x00\x01k", 7}));  // jump before 0
  EXPECT_FALSE(row({"\x12\x01\x00\x00\x02k", 6}));      // a longer key than there is
  EXPECT_FALSE(row({"\x12\x01\x00\x00\x01kv", 7}));     // a tombstone with a value
}

TEST(FormatTest, ARowSaysWhatItEnded) {
  const RecordHeader none;
  const RecordHeader value{
      .kind = RecordKind::kLargeValue, .mod = {5, 0}, .create = 5, .version = 1, .steps = 1};
  const RecordHeader tombstone{.kind = RecordKind::kTombstone, .mod = {7, 0}, .steps = 2};
  EXPECT_EQ(MakeRow(value, none, "k").previous_kind, RecordKind::kNone);
  EXPECT_EQ(MakeRow(value, none, "k").previous, Revision());
  EXPECT_EQ(MakeRow(tombstone, value, "k").previous_kind, RecordKind::kLargeValue);
  EXPECT_EQ(MakeRow(tombstone, value, "k").previous, value.mod);
}

// Each kJump-th version names the one kJump before it, and the newest knows the last of them.
TEST(FormatTest, JumpsLeadBackAlongTheWholeChain) {
  RecordHeader last;
  std::vector<Row> rows;
  for (uint64_t i = 1; i <= 4 * kJump + 5; ++i) {
    RecordHeader next{.kind = RecordKind::kValue, .mod = {i + 1, 0}, .create = 2, .version = i};
    SetPlaceAfter(last, &next);
    rows.push_back(MakeRow(next, last, "k"));
    last = next;
  }
  EXPECT_EQ(last.steps, 5u);
  EXPECT_EQ(last.jump, Revision(4 * kJump + 1, 0));
  for (const Row& row : rows) {
    const bool jumps = row.version % kJump == 0 && row.version > kJump;
    EXPECT_EQ(row.jump, jumps ? Revision(row.mod.main - kJump, 0) : Revision()) << row.version;
  }
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

  const GcProgress progress{.target = 1, .next = {2, 3}, .freed = {4, 5}, .done = false};
  EXPECT_EQ(ParseGcProgress(EncodeGcProgress(progress)), progress);
  EXPECT_FALSE(ParseGcProgress(""));
  EXPECT_EQ(ParseFormat(EncodeFormat(70000)), 70000u);
  EXPECT_FALSE(ParseFormat("1"));
}

}  // namespace
}  // namespace raftkv::kv
