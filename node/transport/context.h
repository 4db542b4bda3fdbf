// What the parts of one transport share.
//
// Thread-safety: io thread only.
#pragma once

#include <algorithm>
#include <asio/io_context.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/random.h"
#include "node/transport/address.h"
#include "node/transport/connection.h"
#include "node/transport/file_thread.h"
#include "node/transport/transport.h"

namespace raftkv::transport {

// The first frame of either side, before the other is known to be a member.
inline constexpr size_t kMaxHandshakeBytes = 4 << 10;
// A call on a connection of its own, and its reply.
inline constexpr size_t kMaxStrangerCallBytes = 1 << 20;
// Offers (with the manifest of all files) and chunks.
inline constexpr size_t kMaxSnapshotFrameBytes = 8 << 20;

// Remembers what has been said about whom, so that the same trouble is logged once.
//
// Of at most `most` in the time `rest`, which begins with the first: strangers choose who they are,
// and how many. Beyond that nothing is news until the time is over; then it forgets everything.
class LoggedOnce {
 public:
  LoggedOnce(size_t most, Duration rest) : most_(most), rest_(rest) {}

  // True the first time since Forget(whom).
  bool First(const std::string& whom, const std::string& what) {
    const MonotonicTime now = Clock::System().Now();
    if (said_.size() >= most_) {
      if (now - since_ < rest_) {
        if (!std::exchange(silent_, true))
          log::Warning("too much news of peers: the rest is not logged for a while");
        return false;
      }
      said_.clear();
    }
    if (said_.empty()) {
      since_ = now;
      silent_ = false;
    }
    return said_.emplace(whom, what).second;
  }
  void Forget(const std::string& whom) {
    said_.erase(said_.lower_bound({whom, ""}), said_.upper_bound({whom, "\xff"}));
  }

 private:
  const size_t most_;
  const Duration rest_;
  std::set<std::pair<std::string, std::string>> said_;
  MonotonicTime since_;  // the first of them
  bool silent_ = false;  // and has said so
};

// Of the files that the process may open strangers get at most such a share in the handshake, with
// a call and with an answer on its way: without one for its databases a node ends.
inline constexpr uint64_t kStrangersShare = 16;

inline Options Within(Options options, uint64_t max_files) {
  const size_t most = std::max<uint64_t>(max_files / kStrangersShare, 1);
  options.max_handshakes = std::min(options.max_handshakes, most);
  options.max_stranger_calls = std::min(options.max_stranger_calls, most);
  return options;
}

struct Context {
  Context(asio::io_context& io_context, const Options& opts, Handler* h)
      : io(io_context),
        options(Within(opts, MaxFds())),
        handler(h),
        random(SystemEntropy()),
        resolver(std::make_shared<Resolver>(io_context)),
        files(std::make_shared<FileThread>(io_context)) {}

  ConnectionOptions connection_options() const {
    return {.max_queued_bytes = options.max_queued_bytes_per_peer,
            .tick = options.ping_interval,
            .silence_limit = options.silence_limit};
  }

  // Closes a connection once what is queued has left; the oldest of too many that are leaving is
  // closed at once.
  void CloseWhenSent(std::shared_ptr<Connection> connection) {
    std::erase_if(leaving, [](const auto& other) { return other->closed(); });
    if (leaving.size() >= options.max_handshakes) {
      leaving.front()->Close();
      leaving.pop_front();
    }
    connection->CloseWhenSent();
    leaving.push_back(std::move(connection));
  }

  asio::io_context& io;
  const Options options;
  Handler* const handler;
  SeededRandom random;
  LocalIdentity identity;
  LoggedOnce logged{1024, Duration::zero()};              // of whom we dial
  LoggedOnce logged_dialers{100, std::chrono::hours(1)};  // of who dials us
  std::deque<std::shared_ptr<Connection>> leaving;
  bool stopped = false;  // no handler call from now on
  // The received snapshot that the handler got last, and may not have taken away yet.
  std::string handed_over;
  const std::shared_ptr<Resolver> resolver;
  const std::shared_ptr<FileThread> files;
};

using ContextPtr = std::shared_ptr<Context>;

}  // namespace raftkv::transport
