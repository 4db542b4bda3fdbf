#include "tests/kube/stand_in_nodes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/hex_id.h"
#include "operator/raftkv/objects.h"

namespace raftkv::kube {
namespace {

using nlohmann::json;

constexpr uint64_t kConfigIndex = 3;
// Entries that are committed from one answer to the next.
constexpr uint64_t kLoad = 777;
// How many of them a follower may lack and count as caught up.
constexpr uint64_t kMostLag = 1000;

std::string MemberId(int cluster, int slot) {
  return HexId((static_cast<uint64_t>(cluster + 1) << 8) + static_cast<uint64_t>(slot + 1));
}

}  // namespace

StandInNodes::StandInNodes(std::string prefix, int clusters, int members)
    : prefix_(std::move(prefix)), members_(members) {
  clusters_.resize(static_cast<size_t>(clusters));
  for (int cluster = 0; cluster < clusters; ++cluster) {
    for (int slot = 0; slot < members; ++slot) Listen(cluster, slot);
  }
  if (pipe(stop_) != 0) error_ = std::strerror(errno);
  if (error_.empty()) thread_ = std::thread([this] { Serve(); });
}

StandInNodes::~StandInNodes() {
  if (thread_.joinable()) {
    close(stop_[1]);
    thread_.join();
    close(stop_[0]);
  }
  for (const auto& [fd, connection] : connections_) close(fd);
  for (const auto& [fd, node] : listeners_) close(fd);
}

std::string StandInNodes::Address(int cluster, int slot) {
  return "127.77." + std::to_string(cluster) + "." + std::to_string(slot + 1);
}

void StandInNodes::Listen(int cluster, int slot) {
  const std::string host = Address(cluster, slot);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(op::kAdminPort);
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool listens = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
                       listen(fd, SOMAXCONN) == 0;
  if (!listens) error_ = host + ": " + std::strerror(errno);
  listeners_[fd] = {cluster, slot};
}

void StandInNodes::Serve() {
  for (;;) {
    std::vector<pollfd> polled = {{.fd = stop_[0], .events = POLLIN, .revents = 0}};
    for (const auto& [fd, node] : listeners_) polled.push_back({fd, POLLIN, 0});
    for (const auto& [fd, connection] : connections_) polled.push_back({fd, POLLIN, 0});
    if (poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled.front().revents != 0) return;
    for (const pollfd& one : polled) {
      if (one.revents == 0) continue;
      if (const auto listener = listeners_.find(one.fd); listener != listeners_.end()) {
        const int fd = accept4(one.fd, nullptr, nullptr, SOCK_CLOEXEC);
        const auto [cluster, slot] = listener->second;
        if (fd >= 0) connections_[fd] = {.cluster = cluster, .slot = slot, .in = ""};
      } else if (!Read(one.fd, connections_.at(one.fd))) {
        close(one.fd);
        connections_.erase(one.fd);
      }
    }
  }
}

bool StandInNodes::Read(int fd, Connection& connection) {
  std::array<char, 16'384> buffer{};
  const ssize_t size = recv(fd, buffer.data(), buffer.size(), 0);
  if (size <= 0) return false;
  connection.in.append(buffer.data(), static_cast<size_t>(size));
  const size_t end = connection.in.find("\r\n\r\n");
  if (end == std::string::npos) return true;
  const std::string_view head = std::string_view(connection.in).substr(0, end);
  size_t length = 0;
  constexpr std::string_view kLength = "Content-Length: ";
  if (const size_t at = head.find(kLength); at != std::string_view::npos) {
    std::from_chars(head.data() + at + kLength.size(), head.data() + head.size(), length);
  }
  const size_t whole = end + 4 + length;
  if (connection.in.size() < whole) return true;
  const size_t path = head.find(' ') + 1;
  const std::string answer = Answer(connection, head.substr(path, head.find(' ', path) - path),
                                    std::string_view(connection.in).substr(end + 4, length));
  connection.in.erase(0, whole);
  return send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(answer.size());
}

std::string StandInNodes::Answer(const Connection& connection, std::string_view path,
                                 std::string_view body) {
  json answer = json::object();
  std::string status = "200 OK";
  Cluster& cluster = clusters_[static_cast<size_t>(connection.cluster)];
  if (path == "/admin/status") {
    ++cluster.answers;
    answer = Status(connection);
  } else if (path == "/admin/initialize" && cluster.id.empty()) {
    const json request = json::parse(body);
    cluster = {.id = request.at("cluster_id"),
               .members = request.at("members"),
               .leader = connection.slot};
  } else {
    status = "409 Conflict";
    answer["detail"] = "there is nothing to do";
  }
  const std::string text = answer.dump();
  return "HTTP/1.1 " + status +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(text.size()) +
         "\r\n\r\n" + text;
}

json StandInNodes::Status(const Connection& connection) const {
  const Cluster& cluster = clusters_[static_cast<size_t>(connection.cluster)];
  const bool blank = cluster.id.empty();
  const bool leads = connection.slot == cluster.leader;
  json out = {{"version", "0.1.0"},
              {"name", op::PodName(prefix_ + std::to_string(connection.cluster), connection.slot)},
              {"member_id", MemberId(connection.cluster, connection.slot)},
              {"cluster_id", blank ? HexId(0) : cluster.id},
              {"role", blank ? "BLANK" : (leads ? "LEADER" : "FOLLOWER")},
              {"warnings", json::array()}};
  if (blank) return out;
  out["leader"] = MemberId(connection.cluster, cluster.leader);
  out["term"] = 2;
  const uint64_t commit = kMostLag + kConfigIndex + kLoad * cluster.answers;
  out["commit_index"] = out["applied_index"] = commit;
  json voters = json::array();
  json progress = json::array();
  for (int slot = 0; slot < members_; ++slot) {
    const std::string id = MemberId(connection.cluster, slot);
    voters.push_back(id);
    const uint64_t lag = slot == cluster.leader ? 0 : commit % (kMostLag + 1);
    progress.push_back({{"id", id}, {"match", commit - lag}, {"recently_active", true}});
  }
  out["cluster"] = {{"conf", {{"voters", std::move(voters)}}},
                    {"config_index", kConfigIndex},
                    {"members", cluster.members},
                    {"removed_ids", json::array()},
                    {"epoch", 0}};
  if (leads) out["progress"] = std::move(progress);
  return out;
}

}  // namespace raftkv::kube
