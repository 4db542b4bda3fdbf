#include "tests/faults/frame_repeater.h"

#include <algorithm>
#include <utility>

#include "node/transport/frame.h"

namespace raftkv::faults {
namespace {

constexpr size_t kHeader = transport::kFrameHeaderBytes;

size_t BodyBytes(std::string_view header) {
  size_t length = 0;
  for (size_t i = 4; i-- > 0;) length = length << 8 | static_cast<unsigned char>(header[i]);
  return length;
}

}  // namespace

std::string_view FrameRepeater::Take(std::string_view& bytes) {
  const std::string_view taken = bytes.substr(0, std::min(bytes.size(), wanted_ - seen_));
  bytes.remove_prefix(taken.size());
  seen_ += taken.size();
  if (part_.size() < kMostFrameBytes) part_.append(taken);
  return taken;
}

std::string FrameRepeater::Pass(std::string_view bytes, const Chances& chances) {
  std::string out;
  while (!bytes.empty()) {
    if (seen_ == 0) {
      wanted_ = magic_ ? kHeader : transport::kMagic.size();
      // The first frame is the handshake's.
      withheld_ = frames_ > 0 && chances.is_late();
    }
    const std::string_view taken = Take(bytes);
    if (!withheld_) {
      out.append(taken);
    } else if (part_.size() < seen_) {
      // Too large.
      out.append(part_).append(taken);
      withheld_ = false;
    }
    if (seen_ < wanted_) break;
    if (magic_ && seen_ == kHeader) wanted_ += BodyBytes(part_);
    if (seen_ < wanted_) continue;
    const Kind kind = KindOf();
    if (withheld_ && kind == Kind::kMessages) {
      late_.push_back({part_, 1 + chances.pick(kMostOvertaking)});
    } else {
      if (withheld_) out.append(part_);
      Overtake(kind, out);
    }
    part_.clear();
    seen_ = 0;
    if (!remembered_.empty() && chances.repeats()) {
      const Frame& again = remembered_[chances.pick(remembered_.size())];
      out.append(again.bytes);
      ++repeated_;
      repeated_calls_ += again.calls;
    }
  }
  return out;
}

void FrameRepeater::Overtake(Kind kind, std::string& out) {
  for (Late& late : late_) {
    late.overtaken = late.overtaken || kind == Kind::kMessages;
    if (--late.behind > 0) continue;
    out.append(late.bytes);
    if (late.overtaken) ++overtaken_;
  }
  std::erase_if(late_, [](const Late& late) { return late.behind == 0; });
}

// Pings and keep-alives alone are nothing that could be carried out twice.
void FrameRepeater::Remember(const v1::PeerFrame& frame) {
  const int calls = frame.calls_size() + frame.replies_size();
  if (frame.messages_size() == 0 && calls == 0) return;
  remembered_.push_back({part_, static_cast<uint64_t>(calls)});
  if (remembered_.size() > kMostRemembered) remembered_.pop_front();
}

FrameRepeater::Kind FrameRepeater::KindOf() {
  const bool whole = part_.size() == seen_;
  if (!std::exchange(magic_, true) || ++frames_ == 1 || !whole) return Kind::kOther;
  const std::string_view body = std::string_view(part_).substr(kHeader);
  v1::PeerFrame frame;
  if (!frame.ParseFromArray(body.data(), static_cast<int>(body.size()))) return Kind::kOther;
  Remember(frame);
  if (frame.calls_size() + frame.replies_size() > 0) return Kind::kCalls;
  return frame.messages_size() > 0 ? Kind::kMessages : Kind::kOther;
}

}  // namespace raftkv::faults
