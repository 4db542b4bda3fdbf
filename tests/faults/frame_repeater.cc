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

std::string FrameRepeater::Pass(std::string_view bytes, const std::function<bool()>& chance,
                                const std::function<size_t(size_t)>& pick) {
  std::string out;
  while (!bytes.empty()) {
    if (seen_ == 0) wanted_ = magic_ ? kHeader : transport::kMagic.size();
    out.append(Take(bytes));
    if (seen_ < wanted_) break;
    if (magic_ && seen_ == kHeader) wanted_ += BodyBytes(part_);
    if (seen_ < wanted_) continue;
    EndFrame();
    if (!remembered_.empty() && chance()) {
      const Frame& again = remembered_[pick(remembered_.size())];
      out.append(again.bytes);
      ++repeated_;
      repeated_calls_ += again.calls;
    }
  }
  return out;
}

// Pings and keep-alives alone are nothing that could be carried out twice.
void FrameRepeater::Remember(const v1::PeerFrame& frame) {
  const int calls = frame.calls_size() + frame.replies_size();
  if (frame.messages_size() == 0 && calls == 0) return;
  remembered_.push_back({part_, static_cast<uint64_t>(calls)});
  if (remembered_.size() > kMostRemembered) remembered_.pop_front();
}

void FrameRepeater::EndFrame() {
  const bool whole = part_.size() == seen_;
  // The first frame is the handshake's.
  if (std::exchange(magic_, true) && ++frames_ > 1 && whole) {
    const std::string_view body = std::string_view(part_).substr(kHeader);
    v1::PeerFrame frame;
    if (frame.ParseFromArray(body.data(), static_cast<int>(body.size()))) Remember(frame);
  }
  part_.clear();
  seen_ = 0;
}

}  // namespace raftkv::faults
