#include "node/kv/format.h"

#include <limits>

namespace raftkv::kv {
namespace {

// A zero byte within a key becomes 00 FF and 00 01 ends it: as 00 01 sorts before 00 FF and before
// every other byte pair that can follow, order is kept and no key is a prefix of another.
constexpr std::string_view kEscapedZero("\x00\xff", 2);
constexpr std::string_view kKeyEnd("\x00\x01", 2);

template <typename Int>
void AppendBig(Int value, std::string* out) {
  for (int shift = (sizeof(Int) - 1) * 8; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift));
  }
}

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

// Takes values off the front of some bytes; after the first that is not there, ok() is false.
class Parser {
 public:
  explicit Parser(std::string_view bytes) : rest_(bytes) {}

  template <typename Int>
  Int Big() {
    if (rest_.size() < sizeof(Int)) return Fail();
    Int value = 0;
    for (size_t i = 0; i < sizeof(Int); ++i) {
      value = static_cast<Int>(value << 8) | static_cast<uint8_t>(rest_[i]);
    }
    rest_.remove_prefix(sizeof(Int));
    return value;
  }

  uint8_t Byte() {
    if (rest_.empty()) return Fail();
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Fail();
  }

  uint32_t Varint32() {
    const uint64_t value = Varint();
    return value <= std::numeric_limits<uint32_t>::max() ? static_cast<uint32_t>(value) : Fail();
  }

  bool ok() const { return ok_; }
  bool Finished() const { return ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  uint8_t Fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool ok_ = true;
};

void AppendByRevision(char table, Revision revision, std::string* out) {
  out->push_back(table);
  AppendBig(revision.main, out);
  AppendBig(revision.sub, out);
}

bool KnownKind(RecordKind kind) {
  return kind == RecordKind::kValue || kind == RecordKind::kTombstone;
}

}  // namespace

std::string TableEnd(char table) { return std::string(1, static_cast<char>(table + 1)); }

Status Unreadable(std::string_view what) {
  return Status(Code::kCorruption,
                "state database: " + std::string(what) +
                    " cannot be read: stop this member, remove its data directory and let it join "
                    "again under a new id");
}

void AppendHeader(const RecordHeader& header, std::string* out) {
  out->push_back(static_cast<char>(header.kind));
  AppendVarint(header.mod.main, out);
  AppendVarint(header.mod.sub, out);
  if (header.kind == RecordKind::kTombstone) return;
  AppendVarint(header.mod.main - header.create, out);
  AppendVarint(header.version, out);
}

std::optional<RecordHeader> ParseHeader(std::string_view bytes) {
  Parser parser(bytes);
  RecordHeader header;
  header.kind = static_cast<RecordKind>(parser.Byte());
  header.mod.main = parser.Varint();
  header.mod.sub = parser.Varint32();
  if (!parser.ok() || !KnownKind(header.kind)) return std::nullopt;
  if (header.kind == RecordKind::kTombstone) {
    return parser.Finished() ? std::optional(header) : std::nullopt;
  }
  const uint64_t age = parser.Varint();
  header.version = parser.Varint();
  if (!parser.Finished() || age > header.mod.main) return std::nullopt;
  header.create = header.mod.main - age;
  return header;
}

void AppendRow(const Row& row, std::string* out) {
  out->push_back(static_cast<char>(row.kind));
  AppendVarint(row.previous.main, out);
  AppendVarint(row.previous.sub, out);
  out->append(row.key);
}

std::optional<Row> ParseRow(std::string_view bytes) {
  Parser parser(bytes);
  Row row;
  row.kind = static_cast<RecordKind>(parser.Byte());
  row.previous.main = parser.Varint();
  row.previous.sub = parser.Varint32();
  row.key = parser.rest();
  if (!parser.ok() || !KnownKind(row.kind)) return std::nullopt;
  return row;
}

void AppendCurrentKey(std::string_view key, std::string* out) {
  out->push_back(kCurrentTable);
  out->append(key);
}

void AppendRevisionKey(Revision revision, std::string* out) {
  AppendByRevision(kRevisionTable, revision, out);
}

void AppendValueKey(Revision revision, std::string* out) {
  AppendByRevision(kValueTable, revision, out);
}

std::optional<Revision> ParseRevisionKey(std::string_view bytes) {
  Parser parser(bytes);
  const char table = static_cast<char>(parser.Byte());
  Revision revision;
  revision.main = parser.Big<uint64_t>();
  revision.sub = parser.Big<uint32_t>();
  if (!parser.Finished() || table != kRevisionTable) return std::nullopt;
  return revision;
}

void AppendHistoryPrefix(std::string_view key, std::string* out) {
  out->push_back(kHistoryTable);
  for (size_t zero = key.find('\0'); zero != std::string_view::npos; zero = key.find('\0')) {
    out->append(key.substr(0, zero));
    out->append(kEscapedZero);
    key.remove_prefix(zero + 1);
  }
  out->append(key);
  out->append(kKeyEnd);
}

void AppendHistoryKey(std::string_view key, Revision revision, std::string* out) {
  AppendHistoryPrefix(key, out);
  AppendBig(~revision.main, out);
  AppendBig(~revision.sub, out);
}

std::string EncodeMeta(const Meta& meta) {
  std::string bytes;
  for (uint64_t value : {meta.index.value, meta.term.value, meta.revision, meta.compact_revision,
                         meta.live_keys, meta.stored_versions}) {
    AppendBig(value, &bytes);
  }
  return bytes;
}

std::optional<Meta> ParseMeta(std::string_view bytes) {
  Parser parser(bytes);
  Meta meta;
  meta.index = raft::Index(parser.Big<uint64_t>());
  meta.term = raft::Term(parser.Big<uint64_t>());
  meta.revision = parser.Big<uint64_t>();
  meta.compact_revision = parser.Big<uint64_t>();
  meta.live_keys = parser.Big<uint64_t>();
  meta.stored_versions = parser.Big<uint64_t>();
  if (!parser.Finished()) return std::nullopt;
  return meta;
}

std::string EncodeGcProgress(const GcProgress& progress) {
  std::string bytes;
  AppendBig(progress.target, &bytes);
  AppendBig(progress.next.main, &bytes);
  AppendBig(progress.next.sub, &bytes);
  bytes.push_back(progress.done ? 1 : 0);
  return bytes;
}

std::optional<GcProgress> ParseGcProgress(std::string_view bytes) {
  Parser parser(bytes);
  GcProgress progress;
  progress.target = parser.Big<uint64_t>();
  progress.next.main = parser.Big<uint64_t>();
  progress.next.sub = parser.Big<uint32_t>();
  const uint8_t done = parser.Byte();
  progress.done = done == 1;
  if (!parser.Finished() || done > 1) return std::nullopt;
  return progress;
}

std::string EncodeFormat(uint32_t format) {
  std::string bytes;
  AppendBig(format, &bytes);
  return bytes;
}

std::optional<uint32_t> ParseFormat(std::string_view bytes) {
  Parser parser(bytes);
  const uint32_t format = parser.Big<uint32_t>();
  if (!parser.Finished()) return std::nullopt;
  return format;
}

}  // namespace raftkv::kv
