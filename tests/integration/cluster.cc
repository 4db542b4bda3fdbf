#include "tests/integration/cluster.h"

#include <httplib.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/check.h"

namespace raftkv::testing {
namespace {

// Short, because a paused node is asked too.
constexpr std::chrono::seconds kAdminTimeout{2};

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char ch) { return std::tolower(ch); });
  return text;
}

}  // namespace

HttpClient::HttpClient(int port, std::chrono::milliseconds timeout)
    : HttpClient("127.0.0.1", port, timeout) {}

HttpClient::HttpClient(const std::string& host, int port, std::chrono::milliseconds timeout)
    : client_(std::make_unique<httplib::Client>(host, port)) {
  client_->set_connection_timeout(timeout);
  client_->set_read_timeout(timeout);
  client_->set_tcp_nodelay(true);
  client_->set_keep_alive(true);
}

HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;

HttpReply HttpClient::Send(const std::string& method, const std::string& path,
                           const std::string& body, const Headers& headers) {
  httplib::Request request;
  request.method = method;
  request.path = path;
  request.body = body;
  for (const auto& [name, value] : headers) request.headers.emplace(name, value);
  httplib::Response response;
  httplib::Error error{};
  HttpReply reply;
  if (!client_->send(request, response, error)) {
    reply.refused = error == httplib::Error::Connection;
    return reply;
  }
  reply.status = response.status;
  reply.body = response.body;
  for (const auto& [name, value] : response.headers) reply.headers[Lower(name)] = value;
  return reply;
}

HttpReply Http(const std::string& method, int port, const std::string& path,
               const std::string& body, const Headers& headers, std::chrono::milliseconds timeout) {
  return HttpClient(port, timeout).Send(method, path, body, headers);
}

NodeProcess::NodeProcess(std::string name, std::string directory, std::string host)
    : name_(std::move(name)),
      directory_(std::move(directory)),
      host_(std::move(host)),
      client_port_(ReservePort()),
      peer_port_(ReservePort()),
      admin_port_(ReservePort()),
      metrics_port_(ReservePort()) {
  std::filesystem::create_directories(directory_);
}

void NodeProcess::Start() {
  std::vector<std::string> args = prefix_;
  const std::vector<std::string> own = {
      NodeBinary(),      "--name",        name_,
      "--data-dir",      data_dir(),      "--client-listen",
      At(client_port_),  "--peer-listen", peer_address(),
      "--admin-listen",  At(admin_port_), "--metrics-listen",
      At(metrics_port_), "--raft-tick",   std::to_string(kTick.count()) + "ms"};
  args.insert(args.end(), own.begin(), own.end());
  if (!peer_advertise_.empty()) {
    args.insert(args.end(), {"--peer-advertise", peer_advertise_});
  }
  args.insert(args.end(), flags_.begin(), flags_.end());
  process_.reset();
  process_ = std::make_unique<Process>(args, directory_, directory_ + "/log");
}

void NodeProcess::Start(std::vector<std::string> flags) {
  flags_ = std::move(flags);
  Start();
}

int NodeProcess::Stop() {
  process_->Signal(SIGTERM);
  return process_->Wait();
}

void NodeProcess::Kill() { process_->Kill(); }
void NodeProcess::Pause() {
  process_->Signal(SIGSTOP);
  // Signals do not act at once: until each of its threads has stopped it may still answer.
  siginfo_t info{};
  CHECK(waitid(P_PID, static_cast<id_t>(process_->pid()), &info, WSTOPPED | WEXITED | WNOWAIT) == 0,
        "a child that stops or ends can be waited for");
}
void NodeProcess::Resume() { process_->Signal(SIGCONT); }

void NodeProcess::Wipe() {
  CHECK(!process_->IsRunning(), "a running node is not wiped");
  std::filesystem::remove_all(data_dir());
}

HttpReply NodeProcess::Client(const std::string& method, const std::string& path,
                              const std::string& body, const Headers& headers) const {
  return HttpClient(host_, client_port_, std::chrono::seconds(10))
      .Send(method, path, body, headers);
}

HttpReply NodeProcess::Admin(const std::string& method, const std::string& path,
                             const std::string& body, Headers headers) const {
  if (!body.empty()) headers.try_emplace("Content-Type", "application/json");
  return HttpClient(host_, admin_port_, kAdminTimeout).Send(method, path, body, headers);
}

std::optional<v1::StatusResponse> NodeProcess::Status() const {
  const HttpReply reply =
      HttpClient(host_, admin_port_, kAdminTimeout)
          .Send("GET", "/admin/status", "", {{"Accept", "application/protobuf"}});
  v1::StatusResponse status;
  if (reply.status != 200 || !status.ParseFromString(reply.body)) return std::nullopt;
  return status;
}

bool NodeProcess::IsReady() const { return Admin("GET", "/readyz").status == 200; }

std::string NodeProcess::At(int port) const { return host_ + ":" + std::to_string(port); }

std::string NodeProcess::peer_address() const { return At(peer_port_); }

std::string NodeProcess::Log() const { return ReadFileOrEmpty(directory_ + "/log"); }

Cluster::Cluster(int size) {
  for (int i = 0; i < size; ++i) AddNode();
}

NodeProcess& Cluster::AddNode() {
  const std::string name = "n" + std::to_string(nodes_.size() + 1);
  nodes_.push_back(std::make_unique<NodeProcess>(name, directory_.path() + "/" + name));
  return *nodes_.back();
}

std::string Cluster::StaticList() const {
  std::string list;
  for (const auto& node : nodes_) list += (list.empty() ? "" : ",") + node->peer_address();
  return list;
}

void Cluster::StartStatic(const std::vector<std::string>& flags) {
  std::vector<std::string> all = {"--start-mode", "static", "--start-peers", StaticList()};
  all.insert(all.end(), flags.begin(), flags.end());
  for (auto& node : nodes_) node->Start(all);
  for (auto& node : nodes_) CHECK(WaitReady(*node), "a node does not get ready");
}

bool Cluster::WaitReady(NodeProcess& node) {
  return WaitUntil([&] { return node.IsReady(); });
}

size_t Cluster::WaitLeader() {
  size_t leader = nodes_.size();
  const bool found = WaitUntil([&] {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i]->process() == nullptr || !nodes_[i]->process()->IsRunning()) continue;
      const std::optional<v1::StatusResponse> status = nodes_[i]->Status();
      if (status && status->role() == v1::StatusResponse::LEADER) leader = i;
    }
    return leader < nodes_.size();
  });
  CHECK(found, "nobody leads");
  return leader;
}

std::string Cluster::Logs() const {
  std::string text;
  for (const auto& node : nodes_) text += "--- " + node->name() + "\n" + node->Log();
  return text;
}

}  // namespace raftkv::testing
