// MemoryStream: what a server says, in memory, cut into pieces.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "operator/kube/byte_stream.h"

namespace raftkv::kube {

// Thread-safety: none.
class MemoryStream final : public ByteStream {
 public:
  // Each read gives at most `piece` bytes; with `pauses`, nothing has come (kDeadline) once before
  // each of them.
  MemoryStream(std::string bytes, size_t piece, bool pauses)
      : bytes_(std::move(bytes)), piece_(piece), pauses_(pauses) {}

  ApiResult<void> Write(std::string_view, const Wait&) override { return {}; }

  ApiResult<size_t> Read(char* buffer, size_t size, const Wait&) override {
    if (pauses_ && !std::exchange(paused_, true)) return Fail(Reason::kDeadline, "test");
    paused_ = false;
    const size_t got = bytes_.copy(buffer, std::min(size, piece_), at_);
    at_ += got;
    return got;
  }

  bool IsStale() const override { return at_ < bytes_.size(); }

  // From now on, before pieces.
  void Pause(bool pauses) { pauses_ = pauses; }

 private:
  const std::string bytes_;
  const size_t piece_;
  bool pauses_;
  bool paused_ = false;
  size_t at_ = 0;
};

}  // namespace raftkv::kube
