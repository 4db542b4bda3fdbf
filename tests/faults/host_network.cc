#include "tests/faults/host_network.h"

#include <filesystem>

namespace raftkv::faults {
namespace {

constexpr const char* kBridge = "raftkv0";

std::string LinkOf(size_t i) { return "raftkv-n" + std::to_string(i + 1); }

std::string NamespaceOf(int pid) { return "/proc/" + std::to_string(pid) + "/ns/net"; }

}  // namespace

HostNetwork::~HostNetwork() {
  // The kernel takes its time to remove a namespace and what is in it; the next network has the
  // same names.
  for (size_t i = 0; i < holders_.size(); ++i) (void)Shell("ip link del " + LinkOf(i));
  holders_.clear();
  (void)Shell(std::string("ip link del ") + kBridge);
}

Status HostNetwork::Shell(const std::string& command) const {
  const testing::CommandResult result = testing::RunShell(command, "/");
  if (result.status == 0) return Status::Ok();
  return {Code::kUnavailable, "fails: " + command};
}

std::string HostNetwork::In(size_t i) const {
  return "nsenter --net=" + NamespaceOf(holders_[i]->pid()) + " ";
}

std::vector<std::string> HostNetwork::Prefix(size_t i) const {
  return {"nsenter", "--net=" + NamespaceOf(holders_[i]->pid())};
}

Status HostNetwork::Make() {
  const std::string bridge = kBridge;
  RETURN_IF_ERROR(Shell("ip link add " + bridge +
                        " type bridge && ip addr add 10.77.0.254/24 dev " + bridge +
                        " && ip link set " + bridge + " up"));
  std::error_code ignored;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/ns/net", ignored);
  for (size_t i = 0; i < nodes_; ++i) {
    holders_.push_back(std::make_unique<testing::Process>(
        std::vector<std::string>{"unshare", "--net", "sleep", "infinity"}, "/",
        folder_.path() + "/log"));
    const std::string pid = std::to_string(holders_[i]->pid());
    const bool apart = testing::WaitUntil([&] {
      std::error_code error;
      const std::filesystem::path its =
          std::filesystem::read_symlink(NamespaceOf(holders_[i]->pid()), error);
      return !error && its != own;
    });
    if (!apart) return {Code::kUnavailable, "no network namespace can be made"};
    RETURN_IF_ERROR(Shell("ip link add " + LinkOf(i) + " type veth peer name eth0 netns " + pid +
                          " && ip link set " + LinkOf(i) + " master " + bridge + " up"));
    RETURN_IF_ERROR(Shell(In(i) + "ip link set lo up && " + In(i) + "ip addr add " + Host(i) +
                          "/24 dev eth0 && " + In(i) + "ip link set eth0 up"));
  }
  // Whether the tools are there shows before anything is started.
  RETURN_IF_ERROR(Shell("tc -V"));
  return Heal();
}

Status HostNetwork::Drop(size_t from, size_t to) {
  return Shell(In(to) + "iptables -w -A INPUT -s " + Host(from) + " -j DROP");
}

Status HostNetwork::Lose(double share) {
  for (size_t i = 0; i < nodes_; ++i) {
    RETURN_IF_ERROR(Shell(In(i) +
                          "iptables -w -A INPUT -s 10.77.0.0/28 -m statistic --mode random " +
                          "--probability " + std::to_string(share) + " -j DROP"));
  }
  return Status::Ok();
}

Status HostNetwork::Reset(size_t from, size_t to) {
  return Shell(In(to) + "iptables -w -A INPUT -p tcp -s " + Host(from) +
               " -j REJECT --reject-with tcp-reset");
}

Status HostNetwork::Slow(size_t i, int kilobits) {
  slowed_.push_back(i);
  const std::string limit =
      " root tbf rate " + std::to_string(kilobits) + "kbit burst 8kb latency 200ms";
  RETURN_IF_ERROR(Shell("tc qdisc add dev " + LinkOf(i) + limit));
  return Shell(In(i) + "tc qdisc add dev eth0" + limit);
}

Status HostNetwork::Heal() {
  for (size_t i = 0; i < nodes_; ++i) RETURN_IF_ERROR(Shell(In(i) + "iptables -w -F INPUT"));
  for (const size_t i : slowed_) {
    RETURN_IF_ERROR(Shell("tc qdisc del dev " + LinkOf(i) + " root"));
    RETURN_IF_ERROR(Shell(In(i) + "tc qdisc del dev eth0 root"));
  }
  slowed_.clear();
  return Status::Ok();
}

}  // namespace raftkv::faults
