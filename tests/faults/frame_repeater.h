// Duplication on a connection between two members. TCP takes away what a network doubles, so that
// whole frames have to be repeated: those that carry raft messages, which the protocol allows a
// network to double and to bring late, and those that carry calls and replies, of which a member
// has to take the first alone. A handshake is not repeated.
//
// Thread-safety: none; each belongs to one direction of a connection.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "raftkv/v1/peer.pb.h"

namespace raftkv::faults {

class FrameRepeater {
 public:
  // What has to be sent on for `bytes`, the next of the stream: themselves, and at the ends of
  // frames one of the last ones again, whenever `chance` says so. `pick` is asked for the place of
  // one among so many.
  std::string Pass(std::string_view bytes, const std::function<bool()>& chance,
                   const std::function<size_t(size_t)>& pick);
  uint64_t repeated() const { return repeated_; }
  // Calls, and replies, in the frames that came again.
  uint64_t repeated_calls() const { return repeated_calls_; }

 private:
  // As much of `bytes` as the part that is under way lacks.
  std::string_view Take(std::string_view& bytes);
  void EndFrame();
  void Remember(const v1::PeerFrame& frame);

  static constexpr size_t kMostRemembered = 8;
  static constexpr size_t kMostFrameBytes = size_t{256} << 10;  // larger ones are not repeated

  std::string part_;   // the magic bytes, or the frame that is under way, as far as it is kept
  size_t seen_ = 0;    // bytes of it
  size_t wanted_ = 0;  // bytes that it has, as far as is known
  uint64_t frames_ = 0;
  bool magic_ = false;  // is over
  struct Frame {
    std::string bytes;
    uint64_t calls;
  };
  std::deque<Frame> remembered_;
  uint64_t repeated_ = 0;
  uint64_t repeated_calls_ = 0;
};

}  // namespace raftkv::faults
