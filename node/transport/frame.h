// Frames: how messages are cut out of a byte stream. Each side of a connection starts with kMagic;
// every frame is a 4-byte little-endian length, a 4-byte CRC32C of the body, and the body.
//
// Thread-safety: none; each object belongs to one connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace google::protobuf {
class MessageLite;
}

namespace raftkv::transport {

// What no text protocol starts with.
inline constexpr std::string_view kMagic{"\x89RAFTKV\n", 8};
inline constexpr size_t kFrameHeaderBytes = 8;

// A growing run of bytes whose memory is kept for the next use. Unlike std::string it does not
// clear the bytes that it is about to be filled with.
class ByteBuffer {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  char* data() { return data_.get(); }
  std::string_view view() const { return {data_.get(), size_}; }

  // Adds `n` bytes to be filled by the caller; the pointer is valid until the next call.
  char* Extend(size_t n);
  void Append(std::string_view bytes);
  // Forgets the bytes, and the memory if it is more than `keep_bytes`.
  void Clear(size_t keep_bytes);
  void Truncate(size_t size) { size_ = size; }

 private:
  std::unique_ptr<char[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Starts a frame at the end of `out` and returns its position for EndFrame, which fills in length
// and checksum of everything appended since.
size_t BeginFrame(ByteBuffer& out);
void EndFrame(ByteBuffer& out, size_t begin);
// One message as a frame of its own.
void AppendFrame(const google::protobuf::MessageLite& message, ByteBuffer& out);
// Appends `message` as the field `number` of the message whose bytes `out` ends with: repeated
// fields may be put together piece by piece (protobuf's encoding guide, "message merging").
void AppendField(int number, const google::protobuf::MessageLite& message, ByteBuffer& out);

enum class FrameError { kNone, kNeedMore, kBadMagic, kTooLarge, kCorrupt };
const char* Describe(FrameError error);

// Cuts a stream that starts with kMagic into frames.
class FrameReader {
 public:
  // `max_body_bytes` bounds each frame, and with it the memory used: a length is believed only as
  // far as its bytes have arrived.
  explicit FrameReader(size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  void set_max_body_bytes(size_t bytes) { max_body_bytes_ = bytes; }
  // Room for the next read; the caller fills some of it and says how much. Ends the validity of
  // earlier bodies.
  std::span<char> Prepare();
  void Commit(size_t n) { end_ += n; }
  // kNone: `body` is the next frame's. Errors other than kNeedMore are final.
  FrameError Next(std::string_view* body);
  // What has arrived and was not returned.
  std::string_view rest() const { return {data_.get() + begin_, end_ - begin_}; }
  void DiscardRest() { begin_ = end_; }
  // Whether the stream stopped in the middle of something.
  bool partial() const { return begin_ != end_ || !magic_seen_; }

 private:
  void Grow(size_t capacity);

  size_t max_body_bytes_;
  bool magic_seen_ = false;
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;   // of the first byte not yet returned
  size_t end_ = 0;     // of the bytes read
  size_t wanted_ = 0;  // bytes that the frame at begin_ has in all, once its header is there
};

}  // namespace raftkv::transport
