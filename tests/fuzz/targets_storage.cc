#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "node/kv/format.h"
#include "node/runtime/rebuild.h"
#include "node/storage/codec.h"
#include "node/storage/data_dir.h"
#include "node/storage/log_record.h"
#include "node/storage/snapshot_files.h"
#include "node/storage/snapshot_stream.h"
#include "node/storage/wal_check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/scratch_directory.h"

namespace raftkv::fuzz {
namespace {

namespace fs = std::filesystem;
using namespace storage;  // NOLINT: its codecs are all that this file is about

// A file of a header, whose last four bytes are the checksum of what follows, gets the one that it
// should have. False: it is too short.
bool PutChecksum(size_t header_bytes, std::string* file) {
  if (file->size() < header_bytes) return false;
  const uint32_t crc = Crc32c(std::string_view(*file).substr(header_bytes));
  std::memcpy(file->data() + header_bytes - sizeof(crc), &crc, sizeof(crc));
  return true;
}

// As it is, and with the checksum that it should have: else nothing behind it would be reached.
void RunLogRecords(std::string_view input) {
  const std::vector<std::string_view> parts = Split(input);
  if (parts.size() != 2) return;
  const std::string_view key = parts[0];
  std::string value(parts[1]);
  if (!ParseKey(key)) return;  // callers go no further
  (void)DecodeEntry(key, value);
  (void)DecodeState(key, value);
  if (value.size() < 4) return;
  const uint32_t crc = Crc32c(std::string_view(value).substr(4), Crc32c(key));
  std::memcpy(value.data(), &crc, sizeof(crc));
  if (const Result<raft::Entry> entry = DecodeEntry(key, value)) {
    const EncodedEntry again = Encode(*entry);
    const std::string bytes =
        std::string(again.header.data(), again.header.size()) + std::string(again.payload());
    const Result<raft::Entry> copy = DecodeEntry(View(again.key), bytes);
    CHECK(copy && *copy == *entry, "what we write is read as it was");
  }
  if (const Result<LogState> state = DecodeState(key, value)) {
    RecordKey own;
    std::memcpy(own.data(), key.data(), own.size());
    const Result<LogState> again = DecodeState(key, EncodeState(own, *state));
    CHECK(again.has_value() && *again == *state, "what we write can be read");
  }
}

std::vector<std::string> LogRecordSeeds() {
  const raft::Entry entry{raft::Term(2), raft::Index(5), Buffer::Copy("command")};
  const raft::Entry conf{raft::Term(2), raft::Index(6), std::make_shared<const raft::ConfChange>()};
  std::vector<std::string> seeds;
  for (const raft::Entry* each : {&entry, &conf}) {
    const EncodedEntry encoded = Encode(*each);
    seeds.push_back(Join(
        {std::string(View(encoded.key)), std::string(encoded.header.data(), encoded.header.size()) +
                                             std::string(encoded.payload())}));
  }
  const RecordKey key = KeyOf(raft::Index(5), RecordKind::kState);
  seeds.push_back(Join({std::string(View(key)), EncodeState(key, LogState{})}));
  return seeds;
}

void RunWal(std::string_view input) {
  const WalVerdict verdict = JudgeWal(input, 7);
  CHECK(verdict.end <= input.size());
  const WalVerdict cut = JudgeWal(input.substr(0, verdict.end), 7);
  CHECK(cut.records == verdict.records && cut.end == verdict.end && !cut.torn,
        "a log that is cut where its records end keeps all of them, and is whole");
}

// One record as RocksDB's log_format says, of a recycled log with number 7.
std::string WalRecord(std::string_view payload) {
  std::string body = {5, 7, 0, 0, 0};
  body += payload;
  const uint32_t crc = Crc32c(body);
  const uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  std::string record(6, '\0');
  std::memcpy(record.data(), &masked, sizeof(masked));
  record[4] = static_cast<char>(payload.size());
  return record + body;
}

std::vector<std::string> WalSeeds() {
  const std::string two = WalRecord("first") + WalRecord("second");
  return {two, two.substr(0, two.size() - 3), two + std::string(20, '\0')};
}

template <typename T, typename Encode>
void RoundTrip(const std::optional<T>& value, Encode encode,
               std::optional<T> (*parse)(std::string_view)) {
  if (value) CHECK(parse(encode(*value)) == value, "what we write can be read");
}

void RunStateRecords(std::string_view input) {
  RoundTrip<kv::RecordHeader>(
      kv::ParseHeader(input),
      [](const kv::RecordHeader& header) {
        std::string out;
        kv::AppendHeader(header, &out);
        return out;
      },
      kv::ParseHeader);
  RoundTrip<kv::Meta>(kv::ParseMeta(input), kv::EncodeMeta, kv::ParseMeta);
  RoundTrip<kv::GcProgress>(kv::ParseGcProgress(input), kv::EncodeGcProgress, kv::ParseGcProgress);
  RoundTrip<uint32_t>(kv::ParseFormat(input), kv::EncodeFormat, kv::ParseFormat);
  RoundTrip<kv::Revision>(
      kv::ParseRevisionKey(input),
      [](kv::Revision revision) {
        std::string out;
        kv::AppendRevisionKey(revision, &out);
        return out;
      },
      kv::ParseRevisionKey);
  constexpr kv::Revision kMod{300, 1};
  if (const std::optional<kv::Row> row = kv::ParseRow(kMod, input)) {
    std::string out;
    kv::AppendRow(*row, &out);
    const std::optional<kv::Row> again = kv::ParseRow(kMod, out);
    CHECK(again && again->key == row->key && kv::HeaderOf(*again) == kv::HeaderOf(*row) &&
              again->previous == row->previous && again->value == row->value &&
              again->jump == row->jump,
          "what we write can be read");
  }
}

std::vector<std::string> StateRecordSeeds() {
  std::string header;
  kv::AppendHeader({kv::RecordKind::kValue, {5, 1}, 3, 2, {4, 0}, 1}, &header);
  std::string row;
  kv::AppendRow(
      {kv::RecordKind::kTombstone, {300, 1}, 0, 0, kv::RecordKind::kValue, {4, 0}, {}, "key", {}},
      &row);
  std::string key;
  kv::AppendRevisionKey({5, 1}, &key);
  return {header,
          row,
          key,
          kv::EncodeMeta({raft::Index(5), raft::Term(2), 7, 1, 3, 4}),
          kv::EncodeGcProgress({5, {4, 1}, {4, 1}, false}),
          kv::EncodeFormat(kv::kStateFormat)};
}

// A manifest and its chunks, as a member that receives a snapshot sees them.
void RunSnapshotFiles(std::string_view input) {
  static const ScratchDirectory scratch("snapshot");
  const fs::path& directory = scratch.Made();
  const std::vector<std::string_view> parts = Split(input);
  v1::SnapshotManifest manifest;
  if (!manifest.ParseFromArray(parts[0].data(), static_cast<int>(parts[0].size()))) return;
  Result<std::unique_ptr<SnapshotSink>> sink =
      SnapshotSink::Open(directory.string(), manifest, 1 << 20);
  if (!sink) return;
  (void)(*sink)->Resume();
  for (size_t i = 1; i < parts.size(); ++i) {
    v1::SnapshotChunk chunk;
    if (!chunk.ParseFromArray(parts[i].data(), static_cast<int>(parts[i].size()))) break;
    if (!(*sink)->Write(chunk).ok()) break;
  }
  const Result<std::string> finished = (*sink)->Finish();
  if (finished) {
    const Result<v1::SnapshotManifest> there =
        DescribeCheckpoint(*finished, manifest.cluster_id(), manifest.snapshot_id());
    CHECK(there && there->total_bytes() == manifest.total_bytes(), "finished is complete");
  }
  sink->reset();
  std::error_code error;
  fs::remove_all(directory, error);
}

// A snapshot of one file, and the chunk that is all of it.
v1::SnapshotManifest OneFile() {
  v1::SnapshotManifest manifest;
  manifest.set_cluster_id(1);
  manifest.set_snapshot_id(2);
  manifest.set_format(1);
  v1::SnapshotManifest::File* file = manifest.add_files();
  file->set_name("000001.sst");
  file->set_bytes(5);
  file->set_crc32c(Crc32c("bytes"));
  manifest.set_total_bytes(5);
  return manifest;
}

v1::SnapshotChunk OnlyChunk() {
  v1::SnapshotChunk chunk;
  chunk.set_file("000001.sst");
  chunk.set_data("bytes");
  return chunk;
}

std::vector<std::string> SnapshotSeeds() {
  const v1::SnapshotManifest manifest = OneFile();
  const v1::SnapshotChunk chunk = OnlyChunk();
  v1::SnapshotChunk half = chunk;
  half.set_data("by");
  v1::SnapshotChunk rest = chunk;
  rest.set_offset(2);
  rest.set_data("tes");
  const std::string head = manifest.SerializeAsString();
  return {Join({head, chunk.SerializeAsString()}),
          Join({head, half.SerializeAsString(), rest.SerializeAsString()}), head};
}

// As it is uploaded: the same however the bytes arrive, and never more than was announced.
void RunSnapshotStream(std::string_view input) {
  if (input.empty()) return;
  const size_t piece = static_cast<unsigned char>(input.front()) + size_t{1};
  input.remove_prefix(1);
  const auto read = [input](size_t most) {
    uint64_t bytes = 0;
    SnapshotStreamReader reader([&bytes](const v1::SnapshotChunk& chunk) {
      bytes += chunk.data().size();
      return Status::Ok();
    });
    Status status = Status::Ok();
    for (size_t at = 0; at < input.size() && status.ok();) {
      const size_t size = std::min(most, input.size() - at);
      status = reader.Feed(input.substr(at, size));
      at += size;
    }
    if (status.ok()) {
      status = reader.Finish();
      CHECK(!status.ok() || bytes == reader.manifest().total_bytes(), "the whole is the whole");
    }
    if (reader.has_snapshot()) CHECK(bytes <= reader.manifest().total_bytes());
    return std::pair(bytes, status.code());
  };
  CHECK(read(piece) == read(input.size() + 1), "chunks do not depend on how the bytes arrive");
}

std::vector<std::string> SnapshotStreamSeeds() {
  const v1::SnapshotManifest manifest = OneFile();
  v1::Snapshot snapshot;
  snapshot.set_index(7);
  snapshot.set_term(1);
  snapshot.set_data(manifest.SerializeAsString());
  const v1::SnapshotChunk chunk = OnlyChunk();
  const std::string begin = SnapshotStreamBegin(snapshot) + SnapshotStreamFrame(chunk);
  return {"\x03" + begin + SnapshotStreamEnd(Status::Ok()), "\x40" + begin,
          "\x09" + begin + SnapshotStreamEnd({Code::kUnavailable, "given up"})};
}

// DIR/members, as it is and with the checksum that it should have.
void RunMembers(std::string_view input) {
  static const ScratchDirectory scratch("members");
  const fs::path& directory = scratch.Made();
  runtime::Options options;
  options.data_dir = directory;
  options.peer_advertise = "self:1";
  constexpr size_t kHeader = 12;
  std::string bytes(input);
  for (const bool summed : {false, true}) {
    if (summed && !PutChecksum(kHeader, &bytes)) return;
    std::ofstream(directory / "members", std::ios::binary | std::ios::trunc) << bytes;
    const v1::MemberNote note = runtime::ReadDamagedMember(options);
    const std::vector<std::string> asked = runtime::WhomToAsk(options, note);
    CHECK(std::ranges::find(asked, options.peer_advertise) == asked.end(), "nobody asks himself");
  }
}

// DIR/identity, as it is and with the checksum that it should have.
void RunIdentity(std::string_view input) {
  static const ScratchDirectory scratch("identity");
  const fs::path& directory = scratch.Made();
  const std::string file = directory / "identity";
  constexpr size_t kHeader = 16;
  std::string bytes(input);
  for (const bool summed : {false, true}) {
    if (summed && !PutChecksum(kHeader, &bytes)) return;
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    const Result<v1::Identity> identity = ReadIdentity(directory);
    const Result<std::unique_ptr<DataDir>> opened = DataDir::Open(directory, "fuzz");
    if (!identity) {
      const Status& refusal = identity.error();
      CHECK(refusal.message().find(file) != std::string::npos, "a refusal names the file");
      CHECK(refusal.code() == Code::kCorruption || refusal.code() == Code::kFailedPrecondition);
      CHECK(!opened, "whoever has no identity does not start");
      continue;
    }
    CHECK(identity->member_id() != 0, "a member has an ID");
    CHECK(opened.has_value(), "an identity that is read is taken");
    CHECK((*opened)->identity().SerializeAsString() == identity->SerializeAsString());
    CHECK((*opened)->SetIdentity(*identity).ok());
    const Result<v1::Identity> again = ReadIdentity(directory);
    v1::Identity expected = *identity;
    expected.set_format(kDataFormat);
    CHECK(again && again->SerializeAsString() == expected.SerializeAsString(),
          "what we write can be read");
  }
}

std::vector<std::string> IdentitySeeds() {
  v1::Identity identity;
  identity.set_format(kDataFormat);
  identity.set_member_id(0xa1);
  identity.set_name("fuzz");
  std::vector<std::string> seeds;
  for (const uint64_t cluster : {uint64_t{0}, uint64_t{0xc1}}) {
    identity.set_cluster_id(cluster);
    const std::string message = identity.SerializeAsString();
    std::string bytes = "RAFTKVID";
    for (const uint32_t number : {kDataFormat, Crc32c(message)}) {
      bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
    }
    seeds.push_back(bytes + message);
    seeds.push_back(bytes + message.substr(1));
  }
  return seeds;
}

std::vector<std::string> MembersSeeds() {
  v1::MemberNote note;
  note.set_cluster_id(1);
  note.set_member_id(2);
  note.set_config_index(3);
  for (const char* address : {"a:1", "b:2", "self:1"}) {
    v1::Member& member = *note.add_members();
    member.set_id(static_cast<uint64_t>(note.members_size()) + 1);
    member.set_peer_address(address);
  }
  const std::string message = note.SerializeAsString();
  std::string bytes = "RAFTKVNT";
  const uint32_t crc = Crc32c(message);
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  return {bytes + message, bytes};
}

}  // namespace

std::vector<Target> StorageTargets() {
  return {{"log_records", RunLogRecords, LogRecordSeeds},
          {"wal", RunWal, WalSeeds},
          {"state_records", RunStateRecords, StateRecordSeeds},
          {"snapshot_files", RunSnapshotFiles, SnapshotSeeds},
          {"snapshot_stream", RunSnapshotStream, SnapshotStreamSeeds},
          {"members", RunMembers, MembersSeeds},
          {"identity", RunIdentity, IdentitySeeds}};
}

}  // namespace raftkv::fuzz
