#include "node/server/service.h"

#include "node/server/text.h"

namespace raftkv::server {
namespace {

constexpr size_t kWorkers = 4;
constexpr size_t kMaxQueue = 1024;
constexpr size_t kMaxObserving = 64;
constexpr std::string_view kTimeoutHeader = "Raftkv-Timeout-Ms";

std::optional<uint64_t> ClientTimeoutMs(const HttpRequest& request) {
  auto text = request.Header(kTimeoutHeader);
  return text ? ParseDecimal(*text) : std::nullopt;
}

}  // namespace

Service::Service(runtime::Node* node, Duration request_timeout, size_t max_value_bytes)
    : node_(node),
      request_timeout_(request_timeout),
      max_value_bytes_(max_value_bytes),
      executor_(kWorkers, kMaxQueue),
      observing_(1, kMaxObserving) {}

void Service::Write(const ExchangePtr& exchange, v1::Command command,
                    std::function<void(Result<kv::CommandResult>)> done) const {
  // Called once.
  auto continue_on_loop = [exchange,
                           done = std::move(done)](Result<kv::CommandResult> result) mutable {
    exchange->Run([done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  };
  node_->Write(std::move(command), Deadline(exchange->request()), std::move(continue_on_loop));
}

void Service::Barrier(const ExchangePtr& exchange, runtime::Consistency consistency,
                      std::function<void(Status)> done) const {
  counters_.ranges.fetch_add(1, std::memory_order_relaxed);
  auto continue_on_loop = [exchange, done = std::move(done)](Status status) mutable {
    exchange->Run([done = std::move(done), status = std::move(status)]() mutable {
      done(std::move(status));
    });
  };
  node_->ReadBarrier(consistency, Deadline(exchange->request()), std::move(continue_on_loop));
}

void Service::RunBlocking(const ExchangePtr& exchange, std::function<void()> work) {
  if (TryBlocking(std::move(work))) return;
  exchange->Respond(Problem(429, "Too many large requests wait already; nothing was done."));
}

bool Service::TryBlocking(std::function<void()> work) { return executor_.Submit(std::move(work)); }

void Service::RunObserving(const ExchangePtr& exchange, std::function<void()> work) {
  if (observing_.Submit(std::move(work))) return;
  exchange->Respond(Problem(429, "Too many requests for metrics wait already."));
}

MonotonicTime Service::Deadline(const HttpRequest& request) const {
  Duration timeout = request_timeout_;
  if (std::optional<uint64_t> limit_ms = ClientTimeoutMs(request)) {
    auto longest_ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
    if (*limit_ms < static_cast<uint64_t>(longest_ms))
      timeout = std::chrono::milliseconds(*limit_ms);
  }
  return Clock::System().Now() + timeout;
}

Status CheckTimeout(const HttpRequest& request) {
  if (!request.Header(kTimeoutHeader) || ClientTimeoutMs(request).value_or(0) > 0) {
    return Status::Ok();
  }
  return Status(Code::kInvalidArgument,
                "Raftkv-Timeout-Ms must be the whole number of milliseconds that you wait.");
}

Status CheckKey(std::string_view key) {
  if (key.empty()) return Status(Code::kInvalidArgument, "The key is empty.");
  if (key.size() <= kv::kMaxKeyBytes) return Status::Ok();
  return Status(Code::kInvalidArgument, "The key has " + std::to_string(key.size()) +
                                            " bytes; keys may have at most " +
                                            std::to_string(kv::kMaxKeyBytes) + ".");
}

}  // namespace raftkv::server
