// raftkv-e2e-load: writers and readers that never stop, and what they saw.
//
//   raftkv-e2e-load HOST PORT FOLDER
//
// Two writers put unique values under a few keys and retry at once; two readers read them. Until
// SIGTERM; then FOLDER/history.jsonl is what the linearizability checker takes. While it runs
// FOLDER/writes gets one line for each acknowledged write, with the seconds since the epoch: the
// gaps between them are how long a writer had to wait.
//
// Exit statuses: 0 stopped as asked, 1 the history could not be written, 2 wrong arguments.
#include <httplib.h>
#include <signal.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/linearizability/history.h"

namespace raftkv::e2e {
namespace {

using linearizability::History;
using linearizability::Kind;
using linearizability::Operation;
using linearizability::Outcome;

constexpr int kKeys = 5;
constexpr auto kPause = std::chrono::milliseconds(20);       // between operations
constexpr auto kRetryPause = std::chrono::milliseconds(20);  // after one that failed
constexpr auto kConnectTimeout = std::chrono::milliseconds(500);
constexpr auto kAnswerTimeout = std::chrono::seconds(2);
// A Service balances connections, not requests.
constexpr int kRequestsPerConnection = 25;

std::atomic<bool> stopping{false};

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

uint64_t NumberIn(std::string text) {
  std::erase(text, '"');
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string KeyOf(int number) { return "e2e-" + std::to_string(number % kKeys); }

// One client: its connection, and the operations that it has done.
class Client {
 public:
  Client(std::string host, int port, uint64_t id) : host_(std::move(host)), port_(port), id_(id) {}

  // False: no answer that tells what happened, or a refusal.
  bool Put(const std::string& key, const std::string& value) {
    Operation operation{.client = id_, .kind = Kind::kPut, .key = key, .value = value};
    Send(operation, [&](httplib::Client& http) {
      return http.Put("/kv/" + key, value, "application/octet-stream");
    });
    return operations_.back().outcome == Outcome::kOk;
  }

  bool Get(const std::string& key) {
    Operation operation{.client = id_, .kind = Kind::kGet, .key = key};
    Send(operation, [&](httplib::Client& http) { return http.Get("/kv/" + key); });
    return operations_.back().outcome != Outcome::kFail &&
           operations_.back().outcome != Outcome::kUnknown;
  }

  // Of the store now; waits for an answer.
  uint64_t Revision() {
    while (!stopping) {
      Connect();
      httplib::Result answer = http_->Get("/kv/" + KeyOf(0));
      if (answer && (answer->status == 200 || answer->status == 404)) {
        return NumberIn(answer->get_header_value("Raftkv-Revision"));
      }
      std::this_thread::sleep_for(kRetryPause);
    }
    return 1;
  }

  std::vector<Operation> Take() { return std::move(operations_); }

 private:
  template <typename Call>
  void Send(Operation operation, Call call) {
    if (http_ == nullptr || ++used_ > kRequestsPerConnection) Connect();
    operation.call = Now();
    httplib::Result answer = call(*http_);
    operation.completed = Now();
    if (answer) {
      Understand(operation, *answer);
    } else {
      bool unsent = answer.error() == httplib::Error::Connection;
      operation.outcome = unsent ? Outcome::kFail : Outcome::kUnknown;
    }
    bool unclear = operation.outcome == Outcome::kUnknown;
    if (unclear) operation.completed.reset();
    if (!answer || unclear) http_.reset();
    operations_.push_back(std::move(operation));
  }

  void Connect() {
    http_ = std::make_unique<httplib::Client>(host_, port_);
    http_->set_keep_alive(true);
    http_->set_tcp_nodelay(true);
    http_->set_connection_timeout(kConnectTimeout);
    http_->set_read_timeout(kAnswerTimeout);
    http_->set_write_timeout(kAnswerTimeout);
    used_ = 0;
  }

  static void Understand(Operation& operation, const httplib::Response& answer) {
    operation.revision = NumberIn(answer.get_header_value("Raftkv-Revision"));
    switch (answer.status) {
      case 200:
        operation.outcome = Outcome::kOk;
        operation.items = {{.key = operation.key,
                            .value = answer.body,
                            .mod_revision = NumberIn(answer.get_header_value("ETag"))}};
        return;
      case 201:
      case 204:
        operation.outcome = Outcome::kOk;
        operation.created = answer.status == 201;
        return;
      case 404:
        operation.outcome = Outcome::kNotFound;
        return;
      case 504:
        operation.outcome = Outcome::kUnknown;
        return;
      default:
        operation.outcome =
            answer.status >= 500 && answer.status != 503 ? Outcome::kUnknown : Outcome::kFail;
        operation.revision = 0;
    }
  }

  const std::string host_;
  const int port_;
  const uint64_t id_;
  std::unique_ptr<httplib::Client> http_;
  int used_ = 0;
  std::vector<Operation> operations_;
};

int Run(const std::string& host, int port, const std::string& folder) {
  std::FILE* writes = std::fopen((folder + "/writes").c_str(), "w");
  if (writes == nullptr) {
    std::perror(folder.c_str());
    return 1;
  }
  std::setvbuf(writes, nullptr, _IOLBF, 4096);
  std::mutex mutex;
  History history;
  history.initial_revision = Client(host, port, 0).Revision();
  auto work = [&](uint64_t id, auto step) {
    Client client(host, port, id);
    for (int n = 0; !stopping; ++n) {
      std::this_thread::sleep_for(step(client, n) ? kPause : kRetryPause);
    }
    std::lock_guard lock(mutex);
    for (Operation& operation : client.Take()) history.operations.push_back(std::move(operation));
  };
  std::vector<std::jthread> threads;
  for (uint64_t id : {1, 2}) {
    threads.emplace_back(work, id, [&, id](Client& client, int n) {
      bool done = client.Put(KeyOf(n), "w" + std::to_string(id) + "-" + std::to_string(n));
      if (done) std::fprintf(writes, "%.3f %d\n", WallSeconds(), static_cast<int>(id));
      return done;
    });
  }
  for (uint64_t id : {3, 4}) {
    threads.emplace_back(work, id, [](Client& client, int n) { return client.Get(KeyOf(n)); });
  }
  threads.clear();
  std::fclose(writes);
  Status written = linearizability::WriteHistory(history, folder + "/history.jsonl");
  if (!written.ok()) std::fprintf(stderr, "%s\n", written.message().c_str());
  return written.ok() ? 0 : 1;
}

}  // namespace
}  // namespace raftkv::e2e

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: raftkv-e2e-load HOST PORT FOLDER\n");
    return 2;
  }
  auto stop = [](int) { raftkv::e2e::stopping = true; };
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGPIPE, SIG_IGN);
  return raftkv::e2e::Run(argv[1], std::atoi(argv[2]), argv[3]);
}
