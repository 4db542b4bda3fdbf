// Buffer: an immutable run of bytes that many owners share. Entries travel from the socket through
// the log to the peers as Buffers, so that no step copies a value.
//
// Thread-safety: immutable after construction; copies may be used from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace raftkv {

class Buffer {
 public:
  Buffer() = default;  // empty
  // Takes over `bytes`.
  explicit Buffer(std::string bytes)
      : owner_(std::make_shared<const std::string>(std::move(bytes))), view_(*owner_) {}
  // A part of a larger buffer; keeps the whole of it alive. `view` must point into *owner.
  Buffer(std::shared_ptr<const std::string> owner, std::string_view view)
      : owner_(std::move(owner)), view_(view) {}

  static Buffer Copy(std::string_view bytes) { return Buffer(std::string(bytes)); }

  std::string_view view() const { return view_; }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }

  friend bool operator==(const Buffer& a, const Buffer& b) { return a.view_ == b.view_; }

 private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

}  // namespace raftkv
