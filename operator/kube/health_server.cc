#include "operator/kube/health_server.h"

#include <pthread.h>
#include <sys/socket.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <httplib.h>

#include "base/host_port.h"

namespace raftkv::kube {
namespace {

constexpr int kTimeoutS = 5;

// httplib's own pool queues without bound. Here the thread that accepts waits for room, and further
// clients wait in the kernel's backlog.
class BoundedPool final : public httplib::TaskQueue {
 public:
  // void in older versions, bool in newer ones.
  using Enqueued = decltype(std::declval<httplib::TaskQueue&>().enqueue(nullptr));

  BoundedPool(int threads, int max_waiting) : max_waiting_(static_cast<size_t>(max_waiting)) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        pthread_setname_np(pthread_self(), "health");
        Work();
      });
    }
  }

  Enqueued enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return tasks_.size() < max_waiting_; });
    tasks_.push_back(std::move(task));
    wake_.notify_all();
    return static_cast<Enqueued>(true);
  }

  void shutdown() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
      wake_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  // What was accepted is answered, or its socket would stay open.
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      wake_.notify_all();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  const size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  bool ending_ = false;
};

// "[+]name ok" a line, as Kubernetes' own components print it.
void Answer(const std::vector<HealthCheck>& checks, httplib::Response& response) {
  std::string text;
  bool healthy = true;
  for (const HealthCheck& check : checks) {
    Status status = check.check();
    healthy = healthy && status.ok();
    text += (status.ok() ? "[+]" : "[-]") + check.name + " " +
            (status.ok() ? "ok" : status.message()) + "\n";
  }
  response.status = healthy ? 200 : 503;
  response.set_content(text + (healthy ? "ok\n" : "not ok\n"), "text/plain; charset=utf-8");
}

class Server final : public HealthServer {
 public:
  explicit Server(HealthServerOptions options) : options_(std::move(options)) { Configure(); }

  ~Server() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Status Listen() {
    ASSIGN_OR_RETURN_STATUS(HostPort where, ParseHostPort(options_.address));
    // The IPv6 wildcard takes IPv4 as well, where there is IPv6.
    std::vector<std::string> hosts = {where.host};
    if (where.host.empty()) hosts = {"::", "0.0.0.0"};
    bool bound = false;
    for (size_t i = 0; i < hosts.size() && !bound; ++i) {
      port_ = where.port == 0                              ? server_.bind_to_any_port(hosts[i])
              : server_.bind_to_port(hosts[i], where.port) ? where.port
                                                           : -1;
      bound = port_ > 0;
    }
    if (!bound) {
      return {Code::kUnavailable, "cannot listen on '" + options_.address +
                                      "' for health and metrics; is the port taken?"};
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Status::Ok();
  }

  uint16_t port() const override { return static_cast<uint16_t>(port_); }

 private:
  void Configure() {
    server_.new_task_queue = [this] {
      return new BoundedPool(options_.threads, options_.max_waiting);
    };
    // Without SO_REUSEPORT, which would let two processes share the port by chance.
    server_.set_socket_options([](auto fd) {
      int on = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    server_.set_read_timeout(kTimeoutS, 0);
    server_.set_write_timeout(kTimeoutS, 0);
    server_.set_payload_max_length(1024);
    server_.set_keep_alive_max_count(1);  // a connection must not hold a thread
    server_.set_exception_handler([](const auto&, httplib::Response& response, auto) {
      response.status = 500;
      response.set_content("internal error\n", "text/plain");
    });
    auto live = [this](const httplib::Request&, httplib::Response& response) {
      Answer(options_.live, response);
    };
    server_.Get("/healthz", live);
    server_.Get("/livez", live);
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      Answer(options_.ready, response);
    });
    if (!options_.metrics) return;
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(options_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
    });
  }

  const HealthServerOptions options_;
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace

Result<std::unique_ptr<HealthServer>> HealthServer::Start(HealthServerOptions options) {
  auto server = std::make_unique<Server>(std::move(options));
  RETURN_UNEXPECTED_IF_ERROR(server->Listen());
  return server;
}

}  // namespace raftkv::kube
