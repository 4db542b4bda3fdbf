// Duplication on a connection between two members. TCP takes away what a network doubles, so that
// whole frames have to be repeated: those that carry raft messages, which the protocol allows a
// network to double and to bring late, and those that carry calls and replies, of which a member
// has to take the first alone. A handshake is not repeated.
//
// And frames that overtake others: what only carries raft messages may be held back and sent behind
// some of the next frames. Calls are not: their ids rise within a connection.
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
  struct Chances {
    std::function<bool()> repeats;       // at the end of a frame: one of the last ones comes again
    std::function<bool()> is_late;       // at the beginning of one: it is held back
    std::function<size_t(size_t)> pick;  // the place of one among so many
  };
  // What has to be sent on for `bytes`, the next of the stream.
  std::string Pass(std::string_view bytes, const Chances& chances);
  uint64_t repeated() const { return repeated_; }
  // Calls, and replies, in the frames that came again.
  uint64_t repeated_calls() const { return repeated_calls_; }
  // Frames with raft messages that came behind later ones with raft messages.
  uint64_t overtaken() const { return overtaken_; }

 private:
  enum class Kind { kOther, kMessages, kCalls };
  // As much of `bytes` as the part that is under way lacks.
  std::string_view Take(std::string_view& bytes);
  // Of the frame that has just ended.
  Kind KindOf();
  void Remember(const v1::PeerFrame& frame);
  // A frame goes by: whom it was the last to overtake comes after it.
  void Overtake(Kind kind, std::string& out);

  static constexpr size_t kMostRemembered = 8;
  static constexpr size_t kMostFrameBytes = size_t{256} << 10;  // larger ones are left alone
  static constexpr size_t kMostOvertaking = 4;

  std::string part_;   // the magic bytes, or the frame that is under way, as far as it is kept
  size_t seen_ = 0;    // bytes of it
  size_t wanted_ = 0;  // bytes that it has, as far as is known
  uint64_t frames_ = 0;
  bool magic_ = false;     // is over
  bool withheld_ = false;  // of the part that is under way nothing was sent on yet
  struct Frame {
    std::string bytes;
    uint64_t calls;
  };
  std::deque<Frame> remembered_;
  struct Late {
    std::string bytes;
    size_t behind;           // so many more frames
    bool overtaken = false;  // by messages
  };
  std::deque<Late> late_;
  uint64_t repeated_ = 0;
  uint64_t repeated_calls_ = 0;
  uint64_t overtaken_ = 0;
};

}  // namespace raftkv::faults
