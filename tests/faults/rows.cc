#include "tests/faults/rows.h"

#include <algorithm>
#include <fstream>

#include "base/hex_id.h"
#include "tests/integration/process.h"

namespace raftkv::faults {

std::vector<Row> AllRows() {
  std::vector<Row> all;
  for (std::vector<Row> (*rows)() :
       {ProcessRows, NetworkRows, PacketRows, DiskRows, ShimRows, SnapshotRows, ResourceRows,
        HostileRows, StarvedRows, PointRows, MemberRows, OperatorRows}) {
    for (Row& row : rows()) all.push_back(std::move(row));
  }
  return all;
}

void ShortLogs(BedOptions& options) {
  options.flags = {"--storage-log-keep-entries",  "20",   "--storage-log-keep-bytes", "64KiB",
                   "--storage-flush-after-bytes", "64KiB"};
  options.load.value_bytes = 2000;
}

Status ReadyAsBefore(Bed& bed, size_t i) {
  const std::string before = bed.MemberId(i);
  RETURN_IF_ERROR(bed.Ready(i));
  return Expect(bed.MemberId(i) == before, bed.node(i).name() + " is the member that it was");
}

Status AwaitLost(Bed& bed, size_t i, size_t leader) {
  return bed.WaitFor(bed.node(i).name() + " misses its leader", [&] {
    const std::optional<v1::StatusResponse> status = bed.node(i).Status();
    return status && HexId(status->leader()) != bed.MemberId(leader);
  });
}

void CutAway(Bed& bed, const std::vector<size_t>& side, Cut cut) {
  const auto in_side = [&](size_t i) { return std::ranges::find(side, i) != side.end(); };
  for (const size_t other : bed.Places()) {
    if (in_side(other)) continue;
    for (const size_t i : side) {
      if (cut != Cut::kToIt) bed.proxies().Set(i, other, {.cut = true});
      if (cut != Cut::kFromIt) bed.proxies().Set(other, i, {.cut = true});
    }
  }
}

Status ExpectMinority(Bed& bed, const std::vector<size_t>& nodes) {
  const auto refused = [](int status) { return status == 503 || status == 504; };
  for (const size_t i : nodes) {
    const testing::NodeProcess& node = bed.node(i);
    RETURN_IF_ERROR(bed.WaitFor(node.name() + " refuses reads and writes", [&] {
      // A condition that never holds: whoever answers it has changed nothing.
      return refused(node.Client("GET", "/kv/k0").status) &&
             refused(node.Client("PUT", "/kv/other", "v", {{"If-Match", "\"1\""}}).status);
    }));
    RETURN_IF_ERROR(Expect(node.Client("GET", "/kv/?start=k&consistency=stale").status == 200,
                           "a node without a majority answers stale reads"));
  }
  return Status::Ok();
}

Result<Calm::Reign> Calm::Now() {
  Reign now;
  RETURN_UNEXPECTED_IF_ERROR(bed_->WaitFor("a leader and its term", [&] {
    const Result<size_t> leader = bed_->Leader();
    if (!leader) return false;
    const std::optional<v1::StatusResponse> status = bed_->node(*leader).Status();
    if (!status || status->role() != v1::StatusResponse::LEADER) return false;
    now = {*leader, status->term()};
    return true;
  }));
  return now;
}

Status Calm::BeginRound() {
  ASSIGN_OR_RETURN_STATUS(before_, Now());
  return Status::Ok();
}

Status Calm::EndRound() {
  ASSIGN_OR_RETURN_STATUS(const Reign now, Now());
  ++rounds_;
  if (now == before_) ++calm_;
  return Status::Ok();
}

Status Calm::Judge() {
  bed_->Note("in " + std::to_string(calm_) + " of " + std::to_string(rounds_) +
             " rounds leader and term stayed");
  return Expect(Holds(), "leader and term stay");
}

Status ExpectHealthy(Bed& bed) {
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(bed.WaitFor(bed.node(i).name() + " is alive",
                                [&] { return bed.node(i).Admin("GET", "/livez").status == 200; }));
  }
  return Status::Ok();
}

size_t Installations(Bed& bed, size_t i) {
  const std::string log = bed.node(i).Log();
  size_t count = 0;
  for (size_t at = 0; (at = log.find("snapshot installed", at)) != std::string::npos; ++at) ++count;
  return count;
}

Status LeaveBehind(Bed& bed, size_t victim) {
  ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
  const std::optional<v1::StatusResponse> before = bed.node(leader).Status();
  bed.Kill(victim);
  return bed.WaitFor("the log is cut", [&] {
    const Result<size_t> now = bed.Leader();
    if (!now || !before) return false;
    const std::optional<v1::StatusResponse> status = bed.node(*now).Status();
    return status && status->first_index() > before->last_index();
  });
}

namespace {

bool Names(Bed& bed, size_t i, const std::string& file, size_t log_before) {
  return bed.node(i).Log().find(file, log_before) != std::string::npos;
}

}  // namespace

Status AwaitDamageMet(Bed& bed, size_t i, const std::string& file, size_t log_before) {
  return bed.WaitFor(bed.node(i).name() + " meets the damage in " + file, [&] {
    (void)bed.node(i).Client("GET", "/kv/?start=k&consistency=stale");
    // Each flush is another table, and some tables are compacted.
    (void)bed.node(i).Admin("POST", "/admin/snapshot");
    if (!bed.node(i).process()->IsRunning()) return true;
    if (!Names(bed, i, file, log_before)) return false;
    const std::optional<v1::StatusResponse> status = bed.node(i).Status();
    return status && (status->role() == v1::StatusResponse::DAMAGED ||
                      HexId(status->member_id()) != bed.MemberId(i));
  });
}

Status EndWithIoError(Bed& bed, size_t i) {
  constexpr int kExitIoError = 74;
  ASSIGN_OR_RETURN_STATUS(const int status, bed.End(i));
  return Expect(status == kExitIoError, "it ends with 74, not " + std::to_string(status));
}

Status EndByDamage(Bed& bed, size_t i, const std::filesystem::path& file, size_t log_before) {
  RETURN_IF_ERROR(EndWithIoError(bed, i));
  return Expect(Names(bed, i, file.filename(), log_before),
                "it says that " + file.string() + " is damaged");
}

Status AwaitRebuild(Bed& bed, size_t i, const std::filesystem::path& file, size_t log_before) {
  const std::string old = bed.MemberId(i);
  RETURN_IF_ERROR(bed.WaitFor("word that " + file.string() + " is damaged",
                              [&] { return Names(bed, i, file.filename(), log_before); }));
  RETURN_IF_ERROR(bed.WaitFor("a new member that votes", [&] {
    const std::optional<v1::StatusResponse> status = bed.node(i).Status();
    return status && HexId(status->member_id()) != old && SaysItVotes(*status);
  }));
  RETURN_IF_ERROR(bed.Ready(i));
  return bed.Progress();
}

void Overwrite(const std::filesystem::path& file, size_t at, const std::string& bytes) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(at));
  stream << bytes;
}

void FlipBit(const std::filesystem::path& file, size_t at, size_t bit) {
  const std::string bytes = testing::ReadFileOrEmpty(file);
  Overwrite(file, at, std::string(1, static_cast<char>(bytes[at] ^ (1 << bit))));
}

void FlipBitOfData(const std::filesystem::path& table, std::mt19937_64& random) {
  // In the smallest table, of some 1,400 bytes, the first block has 200.
  constexpr size_t kSmallest = 64;
  constexpr size_t kShare = 16;
  const size_t size = testing::ReadFileOrEmpty(table).size();
  if (size == 0) return;
  const size_t at = random() % std::min(size, std::max(kSmallest, size / kShare));
  FlipBit(table, at, random() % 8);
}

}  // namespace raftkv::faults
