#include "tests/conformance/driver.h"

namespace raftkv::conformance {

std::unique_ptr<Driver> MakeDriver(std::string_view folder) {
  if (folder == "quorum") return MakeQuorumDriver();
  if (folder == "confchange") return MakeConfChangeDriver();
  if (folder == "interaction") return MakeInteractionDriver();
  return nullptr;
}

}  // namespace raftkv::conformance
