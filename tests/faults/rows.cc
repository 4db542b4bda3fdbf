#include "tests/faults/rows.h"

namespace raftkv::faults {

std::vector<Row> AllRows() {
  std::vector<Row> all;
  for (std::vector<Row> (*rows)() : {ProcessRows, NetworkRows, PacketRows, DiskRows, ShimRows,
                                     ResourceRows, PointRows, MemberRows}) {
    for (Row& row : rows()) all.push_back(std::move(row));
  }
  return all;
}

Status Expect(bool holds, const std::string& what) {
  return holds ? Status::Ok() : Status(Code::kInternal, "not so: " + what);
}

}  // namespace raftkv::faults
