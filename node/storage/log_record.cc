#include "node/storage/log_record.h"

#include <memory>
#include <utility>

#include "base/mutations.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"

namespace raftkv::storage {
namespace {

enum Kind : char { kData = 0, kConfChange = 1 };

// A state's value: CRC (4 bytes), format (4), term, vote, commit, compacted term and index, owner
// (8 each).
constexpr size_t kStateBytes = 56;
constexpr size_t kStateBytesWithoutOwner = 48;  // format 1

bool ChecksumMatches(std::string_view key, std::string_view value) {
  return GetFixed32(value.data()) == Crc32c(value.substr(4), Crc32c(key)) ||
         MUTATION(ignore_entry_checksum);
}

Result<raft::Payload> DecodePayload(char kind, std::string_view bytes) {
  if (kind == kData) return bytes.empty() ? Buffer() : Buffer::Copy(bytes);
  v1::ConfChange proto;
  if (kind != kConfChange || !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error(Code::kCorruption, "unknown kind or malformed configuration change");
  }
  ASSIGN_OR_RETURN(raft::ConfChange change, FromProto(proto));
  return std::make_shared<const raft::ConfChange>(std::move(change));
}

}  // namespace

RecordKey KeyOf(raft::Index index, RecordKind kind) {
  RecordKey key;
  SetBigEndian64(key.data(), index.value);
  key[8] = static_cast<char>(kind);
  return key;
}

Result<ParsedKey> ParseKey(std::string_view key) {
  if (key.size() != kRecordKeyBytes || key[8] < 0 || key[8] > 1) {
    return Error(Code::kCorruption, "a key that is none of the log's");
  }
  return ParsedKey{raft::Index(GetBigEndian64(key.data())), static_cast<RecordKind>(key[8])};
}

EncodedEntry Encode(const raft::Entry& entry) {
  EncodedEntry out{KeyOf(entry.index, RecordKind::kEntry), {}, {}, &entry};
  if (const raft::ConfChange* change = entry.conf_change()) {
    out.conf_change = ToProto(*change).SerializeAsString();
  }
  out.header[4] = entry.IsConfChange() ? kConfChange : kData;
  SetFixed64(out.header.data() + 5, entry.term.value);
  const uint32_t head =
      Crc32c({out.header.data() + 4, kEntryHeaderBytes - 4}, Crc32c(View(out.key)));
  SetFixed32(out.header.data(), Crc32c(out.payload(), head));
  return out;
}

Result<raft::Entry> DecodeEntry(std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(const ParsedKey parsed, ParseKey(key));
  const raft::Index index = parsed.index;
  const std::string name = "entry " + std::to_string(index.value);
  if (value.size() < kEntryHeaderBytes || !ChecksumMatches(key, value)) {
    return Error(Code::kCorruption, name + " does not match its checksum");
  }
  Result<raft::Payload> payload = DecodePayload(value[4], value.substr(kEntryHeaderBytes));
  if (!payload) return Error(Code::kCorruption, name + ": " + payload.error().message());
  return raft::Entry{raft::Term(GetFixed64(value.data() + 5)), index, std::move(*payload)};
}

std::string EncodeState(const RecordKey& key, const LogState& state) {
  std::string value(4, '\0');
  PutFixed32(&value, kLogFormat);
  PutFixed64(&value, state.hard_state.term.value);
  PutFixed64(&value, state.hard_state.vote.value);
  PutFixed64(&value, state.hard_state.commit.value);
  PutFixed64(&value, state.compacted.term.value);
  PutFixed64(&value, state.compacted.index.value);
  PutFixed64(&value, state.owner);
  SetFixed32(value.data(), Crc32c(std::string_view(value).substr(4), Crc32c(View(key))));
  return value;
}

Result<LogState> DecodeState(std::string_view key, std::string_view value) {
  if (value.size() < 8 || !ChecksumMatches(key, value)) {
    return Error(Code::kCorruption, "its state does not match its checksum");
  }
  const char* in = value.data() + 4;
  const uint32_t format = GetFixed32(in);
  if (format == 0 || format > kLogFormat) {
    return Error(Code::kFailedPrecondition, "it has format " + std::to_string(format) +
                                                ", this program knows formats up to " +
                                                std::to_string(kLogFormat));
  }
  const bool has_owner = format > 1;
  if (value.size() != (has_owner ? kStateBytes : kStateBytesWithoutOwner))
    return Error(Code::kCorruption, "its state has a wrong size");
  return LogState{{raft::Term(GetFixed64(in + 4)), raft::NodeId(GetFixed64(in + 12)),
                   raft::Index(GetFixed64(in + 20))},
                  {raft::Term(GetFixed64(in + 28)), raft::Index(GetFixed64(in + 36))},
                  has_owner ? GetFixed64(in + 44) : 0};
}

}  // namespace raftkv::storage
