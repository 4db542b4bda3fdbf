// A TCP proxy in front of each node's peer port, which does to the streams between two nodes what a
// network does to them. Needs no rights. The dialer is known by the member ID in its handshake.
//
// What TCP makes of a lossy network is what nodes see: bytes that come late, in bursts, or not at
// all, and connections that break. Messages on one connection never change their order, unless
// whole frames are repeated or held back (frame_repeater.h); those of different connections do.
//
// Thread-safety: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace raftkv::faults {

// What happens to bytes from one node to another, on whichever connection.
struct LinkFault {
  bool cut = false;  // nothing arrives until it is healed; then everything that was sent does
  std::chrono::milliseconds delay{0};
  std::chrono::milliseconds jitter{0};  // evenly from delay to delay + jitter
  double stall = 0;   // share of reads after which nothing moves for a retransmission timeout
  double reset = 0;   // share of reads at which the connection breaks
  double flip = 0;    // share of reads in which one bit is wrong
  double repeat = 0;  // share of frames after which one of the last frames comes again
  double late = 0;    // share of frames with raft messages that come behind some of the next frames
  bool operator==(const LinkFault&) const = default;
};

class Proxies {
 public:
  explicit Proxies(uint64_t seed) : seed_(seed) {}
  ~Proxies();
  Proxies(const Proxies&) = delete;
  Proxies& operator=(const Proxies&) = delete;

  // Listens in front of 127.0.0.1:`port` of node `node`; the port to dial instead. 0: cannot
  // listen.
  int Add(size_t node, int port);
  // Whose handshakes carry this ID.
  void Know(uint64_t member_id, size_t node);

  void Set(size_t from, size_t to, LinkFault fault);
  // Both directions between `node` and everybody else.
  void SetAround(size_t node, size_t nodes, LinkFault fault);
  void Heal();
  // Breaks every connection of `node` with a reset.
  void ResetAround(size_t node);

  uint64_t connections() const { return connections_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t repeated() const { return repeated_; }
  uint64_t repeated_calls() const { return repeated_calls_; }
  uint64_t overtaken() const { return overtaken_; }

 private:
  static constexpr size_t kUnknown = SIZE_MAX;
  // A connection through the proxy.
  struct Pipe {
    int dialer = -1;
    int target = -1;
    size_t to = kUnknown;
    std::atomic<uint64_t> member = 0;       // of the dialer, once it has said so
    std::atomic<bool> is_messages = false;  // what it is for, likewise
    std::atomic<bool> broken = false;
    std::atomic<bool> reset = false;
    std::thread thread;
  };

  void Accept(int listener, size_t node, int port);
  void Serve(Pipe& pipe);
  // Moves bytes of one direction until an end is closed.
  void Pump(Pipe& pipe, bool from_dialer, uint64_t seed);
  LinkFault FaultOf(const Pipe& pipe, bool from_dialer);

  const uint64_t seed_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> connections_ = 0;
  std::atomic<uint64_t> bytes_ = 0;
  std::atomic<uint64_t> repeated_ = 0;
  std::atomic<uint64_t> repeated_calls_ = 0;
  std::atomic<uint64_t> overtaken_ = 0;
  std::mutex mutex_;
  std::map<uint64_t, size_t> members_;
  std::map<std::pair<size_t, size_t>, LinkFault> faults_;
  std::list<Pipe> pipes_;
  std::list<std::thread> acceptors_;
};

}  // namespace raftkv::faults
