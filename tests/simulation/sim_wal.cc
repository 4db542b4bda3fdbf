#include "tests/simulation/sim_wal.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "node/storage/bytes.h"
#include "node/storage/codec.h"

namespace raftkv::sim {
namespace {

// Small, as the records are.
constexpr size_t kSector = 64;
// RocksDB's recyclable records (storage/wal_check.cc).
constexpr size_t kBlock = 32768;
constexpr size_t kHeader = 11;
constexpr uint32_t kNumber = 12;
constexpr uint32_t kFormerNumber = 9;

void AddFragment(std::string* file, uint32_t number, uint8_t type, std::string_view payload) {
  std::string covered(1, static_cast<char>(type));
  storage::PutFixed32(&covered, number);
  covered += payload;
  const uint32_t crc = storage::Crc32c(covered);
  storage::PutFixed32(file, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  *file += static_cast<char>(payload.size() & 0xff);
  *file += static_cast<char>(payload.size() >> 8);
  *file += covered;
}

void AddRecord(std::string* file, uint32_t number, size_t size, Random& random) {
  std::string payload(size, '\0');
  for (uint64_t bits = random.Next(); char& byte : payload) {
    bits = bits * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(bits >> 56);
  }
  std::string_view left = payload;
  for (bool first = true; first || !left.empty(); first = false) {
    size_t room = kBlock - file->size() % kBlock;
    if (room < kHeader) {
      file->append(room, '\0');
      room = kBlock;
    }
    const size_t count = std::min(left.size(), room - kHeader);
    const bool last = count == left.size();
    const uint8_t type = first ? (last ? 5 : 6) : (last ? 8 : 7);
    AddFragment(file, number, type, left.substr(0, count));
    left.remove_prefix(count);
  }
}

}  // namespace

storage::WalVerdict JudgeTornWal(std::span<const size_t> unsynced, Random& random,
                                 Coverage* coverage) {
  std::string after;
  AddRecord(&after, kNumber, random.Uniform(2 * kSector), random);
  std::string before = after;
  const size_t durable = after.size();
  for (const size_t size : unsynced) AddRecord(&after, kNumber, size, random);
  // What the file held in its former life, if it had one, goes on behind.
  if (random.Uniform(2) == 0) {
    std::string former;
    while (former.size() < after.size() + kSector) {
      AddRecord(&former, kFormerNumber, random.Uniform(4 * kSector), random);
    }
    before += former.substr(durable);
  }
  before.resize(after.size() + kSector, '\0');
  std::string left = before;
  // Often all or nothing.
  const uint64_t odds = random.Uniform(4);
  size_t written = 0;
  size_t sectors = 0;
  for (size_t at = durable / kSector * kSector; at < after.size(); at += kSector) {
    ++sectors;
    if (odds == 0 || (odds > 1 && random.Uniform(2) == 0)) continue;
    ++written;
    const size_t size = std::min(kSector, after.size() - at);
    left.replace(at, size, after, at, size);
  }
  const storage::WalVerdict verdict = storage::JudgeWal(left, kNumber);
  if (written > 0 && written < sectors) coverage->Hit(Path::crash_tore_write);
  if (verdict.valid_after_end) coverage->Hit(Path::crash_left_hole);
  return verdict;
}

}  // namespace raftkv::sim
