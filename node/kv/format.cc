#include "node/kv/format.h"

#include <limits>

namespace raftkv::kv {
namespace {

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

// An older revision, seen from `mod`. 0 stands for none: no revision is the same as a later one's.
void AppendOlder(Revision older, Revision mod, std::string* out) {
  if (older == Revision()) return out->push_back('\0');
  AppendVarint(mod.main - older.main, out);
  AppendVarint(older.sub, out);
}

// nullopt: not one that AppendOlder wrote, or the parser has failed.
std::optional<Revision> ParseOlder(Revision mod, Parser* parser) {
  const uint64_t age = parser->Varint();
  if (!parser->ok() || age >= mod.main) return std::nullopt;
  if (age == 0) return Revision();
  return Revision{mod.main - age, parser->Varint32()};
}

void AppendByRevision(char table, Revision revision, std::string* out) {
  out->push_back(table);
  AppendBig(revision.main, out);
  AppendBig(revision.sub, out);
}

// Create revision (by age) and version of a value.
void AppendLife(uint64_t main, uint64_t create, uint64_t version, std::string* out) {
  AppendVarint(main - create, out);
  AppendVarint(version, out);
}

bool ParseLife(uint64_t main, Parser* parser, uint64_t* create, uint64_t* version) {
  const uint64_t age = parser->Varint();
  *version = parser->Varint();
  if (!parser->ok() || age > main) return false;
  *create = main - age;
  return true;
}

bool KnownKind(RecordKind kind) { return IsLive(kind) || kind == RecordKind::kTombstone; }

constexpr int kPreviousKindShift = 4;
constexpr uint8_t kKindMask = (1 << kPreviousKindShift) - 1;

}  // namespace

std::string TableEnd(char table) { return std::string(1, static_cast<char>(table + 1)); }

Status Unreadable(std::string_view what) {
  return Status(Code::kCorruption,
                "state database: " + std::string(what) +
                    " cannot be read: stop this member, remove its data directory and let it join "
                    "again under a new id");
}

void SetPlaceAfter(const RecordHeader& last, RecordHeader* next) {
  const bool jumps = last.steps == kJump;
  next->jump = jumps ? last.mod : last.jump;
  next->steps = jumps ? 1 : last.steps + 1;
}

void AppendHeader(const RecordHeader& header, std::string* out) {
  out->push_back(static_cast<char>(header.kind));
  AppendVarint(header.mod.main, out);
  AppendVarint(header.mod.sub, out);
  if (header.live()) AppendLife(header.mod.main, header.create, header.version, out);
  AppendVarint(header.steps, out);
  AppendOlder(header.jump, header.mod, out);
}

std::optional<RecordHeader> ParseHeader(std::string_view bytes) {
  Parser parser(bytes);
  RecordHeader header;
  header.kind = static_cast<RecordKind>(parser.Byte());
  header.mod.main = parser.Varint();
  header.mod.sub = parser.Varint32();
  if (!parser.ok() || !KnownKind(header.kind)) return std::nullopt;
  if (header.live() && !ParseLife(header.mod.main, &parser, &header.create, &header.version)) {
    return std::nullopt;
  }
  header.steps = parser.Varint32();
  const auto jump = ParseOlder(header.mod, &parser);
  if (!jump || !parser.Finished() || header.steps == 0 || header.steps > kJump) {
    return std::nullopt;
  }
  header.jump = *jump;
  return header;
}

Row MakeRow(const RecordHeader& header, const RecordHeader& last, std::string_view key) {
  return {.kind = header.kind,
          .mod = header.mod,
          .create = header.create,
          .version = header.version,
          .previous_kind = last.kind,
          .previous = last.mod,
          .jump = header.steps == kJump ? header.jump : Revision(),
          .key = key};
}

RecordHeader HeaderOf(const Row& row) {
  return {.kind = row.kind, .mod = row.mod, .create = row.create, .version = row.version};
}

void AppendRow(const Row& row, std::string* out) {
  const int kinds = static_cast<int>(row.kind) | static_cast<int>(row.previous_kind)
                                                     << kPreviousKindShift;
  out->push_back(static_cast<char>(kinds));
  if (IsLive(row.kind)) AppendLife(row.mod.main, row.create, row.version, out);
  AppendOlder(row.previous, row.mod, out);
  AppendOlder(row.jump, row.mod, out);
  AppendVarint(row.key.size(), out);
  out->append(row.key);
  out->append(row.value);
}

std::optional<Row> ParseRow(Revision mod, std::string_view bytes) {
  Parser parser(bytes);
  const uint8_t kinds = parser.Byte();
  Row row{.kind = static_cast<RecordKind>(kinds & kKindMask),
          .mod = mod,
          .previous_kind = static_cast<RecordKind>(kinds >> kPreviousKindShift)};
  const bool first = row.previous_kind == RecordKind::kNone;
  if (!KnownKind(row.kind) || (!first && !KnownKind(row.previous_kind))) return std::nullopt;
  if (IsLive(row.kind) && !ParseLife(mod.main, &parser, &row.create, &row.version)) {
    return std::nullopt;
  }
  const auto previous = ParseOlder(mod, &parser);
  const auto jump = previous ? ParseOlder(mod, &parser) : std::nullopt;
  if (!jump || first != (*previous == Revision())) return std::nullopt;
  row.previous = *previous;
  row.jump = *jump;
  const uint64_t key_bytes = parser.Varint();
  if (!parser.ok() || key_bytes > parser.rest().size()) return std::nullopt;
  row.key = parser.rest().substr(0, key_bytes);
  row.value = parser.rest().substr(key_bytes);
  if (row.kind != RecordKind::kValue && !row.value.empty()) return std::nullopt;
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
  AppendBig(progress.freed.main, &bytes);
  AppendBig(progress.freed.sub, &bytes);
  bytes.push_back(progress.done ? 1 : 0);
  return bytes;
}

std::optional<GcProgress> ParseGcProgress(std::string_view bytes) {
  Parser parser(bytes);
  GcProgress progress;
  progress.target = parser.Big<uint64_t>();
  progress.next.main = parser.Big<uint64_t>();
  progress.next.sub = parser.Big<uint32_t>();
  progress.freed.main = parser.Big<uint64_t>();
  progress.freed.sub = parser.Big<uint32_t>();
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
