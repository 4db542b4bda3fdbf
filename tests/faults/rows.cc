#include "tests/faults/rows.h"

#include <fstream>

#include "tests/integration/process.h"

namespace raftkv::faults {

std::vector<Row> AllRows() {
  std::vector<Row> all;
  for (std::vector<Row> (*rows)() : {ProcessRows, NetworkRows, PacketRows, DiskRows, ShimRows,
                                     ResourceRows, PointRows, MemberRows}) {
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

void FlipBit(const std::filesystem::path& file, std::mt19937_64& random) {
  const std::string bytes = testing::ReadFileOrEmpty(file);
  if (bytes.empty()) return;
  const size_t at = random() % bytes.size();
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(static_cast<char>(bytes[at] ^ (1 << random() % 8)));
}

}  // namespace raftkv::faults
