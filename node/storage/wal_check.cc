#include "node/storage/wal_check.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/fs_util.h"
#include "node/storage/rocks_util.h"

namespace raftkv::storage {
namespace {

constexpr size_t kBlockBytes = 32768;
constexpr size_t kLegacyHeaderBytes = 7;
constexpr size_t kHeaderBytes = 11;

// Types 1 to 4 are the same without a log number, which another program may have written.
enum RecordType : uint8_t { kFull = 5, kFirst = 6, kMiddle = 7, kLast = 8 };
constexpr uint8_t kHighestLegacy = 4;
// Records about the file itself (compression, timestamps), whole in one fragment. We write none.
constexpr uint8_t kLegacyNotes[] = {9, 10};

// RocksDB stores checksums rotated and shifted, because payloads may contain checksums themselves.
uint32_t Mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

// A record's header says that it belongs to this log: it was written here, whole or not.
struct Header {
  uint8_t type;  // legacy ones as their recyclable counterparts
  bool legacy;
  size_t bytes;  // with payload
};

bool ReadHeader(std::string_view block_rest, uint32_t log_number, Header* out) {
  if (block_rest.size() < kLegacyHeaderBytes) return false;
  const auto type = static_cast<uint8_t>(block_rest[6]);
  const size_t length = static_cast<uint8_t>(block_rest[4]) | static_cast<uint8_t>(block_rest[5])
                                                                  << 8;
  if (type == 0) return false;
  if (type <= kHighestLegacy) {
    *out = {static_cast<uint8_t>(type + kHighestLegacy), true, kLegacyHeaderBytes + length};
    return true;
  }
  if (std::ranges::find(kLegacyNotes, type) != std::end(kLegacyNotes)) {
    *out = {kFull, true, kLegacyHeaderBytes + length};
    return true;
  }
  if (block_rest.size() < kHeaderBytes) return false;
  if (GetFixed32(block_rest.data() + 7) != log_number) return false;
  *out = {type <= kLast ? type : uint8_t{kFull}, false, kHeaderBytes + length};
  return true;
}

bool IsIntact(std::string_view block_rest, const Header& header) {
  if (header.bytes > block_rest.size()) return false;
  return Mask(Crc32c(block_rest.substr(6, header.bytes - 6))) == GetFixed32(block_rest.data());
}

std::string_view BlockRest(std::string_view file, size_t offset) {
  const size_t block_end = std::min(file.size(), (offset / kBlockBytes + 1) * kBlockBytes);
  return file.substr(offset, block_end - offset);
}

// Whether any intact record starts at or after `offset`. Damage may have hit a length, so every
// offset is a candidate; the log number and the type in the header rule out nearly all of them.
bool HasRecordFrom(std::string_view file, size_t offset, uint32_t log_number) {
  for (; offset < file.size(); ++offset) {
    const std::string_view rest = BlockRest(file, offset);
    Header header;
    if (!ReadHeader(rest, log_number, &header)) continue;
    if (header.legacy || (header.type != kFull && header.type != kFirst)) continue;
    if (IsIntact(rest, header)) return true;
  }
  return false;
}

// The end of a block that is too short for a header is filled with zeros.
bool IsTrailer(std::string_view block_rest, bool more_follows) {
  return more_follows && block_rest.size() < kHeaderBytes &&
         block_rest.find_first_not_of('\0') == std::string_view::npos;
}

struct Wal {
  uint64_t number;
  std::string path;
  uint64_t end = 0;
  auto operator<=>(const Wal&) const = default;
};

Status CutAfter(const std::string& path, uint64_t end) {
  ASSIGN_OR_RETURN_STATUS(File file, File::Open(path, O_WRONLY));
  RETURN_IF_ERROR(file.Truncate(end));
  return file.Sync();
}

Result<uint64_t> LogNumber(const std::string& name) {
  uint64_t number = 0;
  const char* end = name.data() + name.size() - 4;
  const auto parsed = std::from_chars(name.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return Error(Code::kCorruption, "unexpected file " + name);
  }
  return number;
}

}  // namespace

WalVerdict JudgeWal(std::string_view file, uint64_t log_number) {
  const auto number = static_cast<uint32_t>(log_number);
  WalVerdict verdict;
  size_t offset = 0;
  bool in_record = false;  // between a first and a last fragment
  while (offset < file.size()) {
    const std::string_view rest = BlockRest(file, offset);
    if (IsTrailer(rest, offset + rest.size() < file.size())) {
      offset += rest.size();
      continue;
    }
    Header header;
    if (!ReadHeader(rest, number, &header)) break;  // what the file held before it was recycled
    const bool starts = header.type == kFull || header.type == kFirst;
    if (!IsIntact(rest, header) || starts == in_record) {
      verdict.torn = !header.legacy;  // of legacy type is every 50th byte of the remains
      break;
    }
    offset += header.bytes;
    in_record = header.type == kFirst || header.type == kMiddle;
    if (!in_record) {
      ++verdict.records;
      verdict.end = offset;
    }
  }
  verdict.torn = verdict.torn || in_record;
  verdict.valid_after_end = HasRecordFrom(file, offset, number);
  return verdict;
}

Result<std::string> CutTornTails(const std::string& dir) {
  std::vector<Wal> wals;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDir(dir));
  for (const std::string& name : names) {
    if (!name.ends_with(".log")) continue;
    ASSIGN_OR_RETURN(const uint64_t number, LogNumber(name));
    wals.push_back({number, dir + "/" + name});
  }
  std::ranges::sort(wals);

  std::string notice;
  std::string torn_path;
  for (Wal& wal : wals) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(wal.path));
    const WalVerdict verdict = JudgeWal(bytes, wal.number);
    const bool follows_torn = !torn_path.empty() && verdict.records > 0;
    if (verdict.valid_after_end || follows_torn) {
      return Error(
          Code::kCorruption,
          "a record in the middle of the raft log is damaged (" +
              (follows_torn ? torn_path : wal.path + " at offset " + std::to_string(verdict.end)) +
              "); " + kRebuildRemedy);
    }
    wal.end = verdict.end;
    if (!verdict.torn) continue;
    torn_path = wal.path;
    notice = "cut off a write that a crash interrupted: " + wal.path + " at offset " +
             std::to_string(verdict.end) + " of " + std::to_string(bytes.size());
  }
  for (const Wal& wal : wals) RETURN_UNEXPECTED_IF_ERROR(CutAfter(wal.path, wal.end));
  return notice;
}

}  // namespace raftkv::storage
