// A network of its own for each node: a namespace with an interface on a common bridge, and packet
// filters in it. Faults are the kernel's own: packets that do not arrive, with all that TCP makes
// of it. Needs Sandbox::isolated(): all of it ends with the run.
//
// Thread-safety: none; the thread that makes it must live as long.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/integration/process.h"

namespace raftkv::faults {

class HostNetwork {
 public:
  explicit HostNetwork(size_t nodes) : nodes_(nodes) {}
  ~HostNetwork();
  HostNetwork(const HostNetwork&) = delete;
  HostNetwork& operator=(const HostNetwork&) = delete;

  Status Make();
  static std::string Host(size_t i) { return "10.77.0." + std::to_string(i + 1); }
  // A command line's start that runs it in node i's network.
  std::vector<std::string> Prefix(size_t i) const;

  // Packets of node `from` no longer reach node `to`.
  Status Drop(size_t from, size_t to);
  // A share of the packets between nodes is lost.
  Status Lose(double share);
  // Node `to` answers node `from`'s packets with a reset.
  Status Reset(size_t from, size_t to);
  // Both directions of node i's link get so many kilobits a second.
  Status Slow(size_t i, int kilobits);
  // All as it was.
  Status Heal();

 private:
  Status Shell(const std::string& command) const;
  std::string In(size_t i) const;

  const size_t nodes_;
  testing::TempDir folder_;
  std::vector<std::unique_ptr<testing::Process>> holders_;  // keep the namespaces alive
  std::vector<size_t> slowed_;
};

}  // namespace raftkv::faults
