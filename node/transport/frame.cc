#include "node/transport/frame.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message_lite.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/mutations.h"
#include "node/storage/codec.h"

namespace raftkv::transport {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kKeepReadBytes = 1 << 20;

void StoreLittleEndian32(uint32_t value, char* out) {
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap32(value);
  std::memcpy(out, &value, sizeof(value));
}

uint32_t LoadLittleEndian32(const char* in) {
  uint32_t value;
  std::memcpy(&value, in, sizeof(value));
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap32(value);
  return value;
}

uint8_t* Bytes(char* p) { return reinterpret_cast<uint8_t*>(p); }

}  // namespace

char* ByteBuffer::Extend(size_t n) {
  if (capacity_ - size_ < n) {
    const size_t capacity = std::max({capacity_ * 2, size_ + n, size_t{4096}});
    auto grown = std::make_unique_for_overwrite<char[]>(capacity);
    if (size_ > 0) std::memcpy(grown.get(), data_.get(), size_);
    data_ = std::move(grown);
    capacity_ = capacity;
  }
  char* const added = data_.get() + size_;
  size_ += n;
  return added;
}

void ByteBuffer::Append(std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(Extend(bytes.size()), bytes.data(), bytes.size());
}

void ByteBuffer::Clear(size_t keep_bytes) {
  size_ = 0;
  if (capacity_ <= keep_bytes) return;
  data_.reset();
  capacity_ = 0;
}

size_t BeginFrame(ByteBuffer& out) {
  const size_t begin = out.size();
  out.Extend(kFrameHeaderBytes);
  return begin;
}

void EndFrame(ByteBuffer& out, size_t begin) {
  const std::string_view body = out.view().substr(begin + kFrameHeaderBytes);
  char* const header = out.data() + begin;
  StoreLittleEndian32(static_cast<uint32_t>(body.size()), header);
  StoreLittleEndian32(storage::Crc32c(body), header + 4);
}

void AppendFrame(const google::protobuf::MessageLite& message, ByteBuffer& out) {
  const size_t begin = BeginFrame(out);
  const size_t size = message.ByteSizeLong();
  message.SerializeWithCachedSizesToArray(Bytes(out.Extend(size)));
  EndFrame(out, begin);
}

void AppendField(int number, const google::protobuf::MessageLite& message, ByteBuffer& out) {
  constexpr uint32_t kLengthDelimited = 2;
  const uint32_t tag = (static_cast<uint32_t>(number) << 3) | kLengthDelimited;
  const auto size = static_cast<uint32_t>(message.ByteSizeLong());
  const size_t all =
      CodedOutputStream::VarintSize32(tag) + CodedOutputStream::VarintSize32(size) + size;
  uint8_t* p = Bytes(out.Extend(all));
  p = CodedOutputStream::WriteVarint32ToArray(tag, p);
  p = CodedOutputStream::WriteVarint32ToArray(size, p);
  message.SerializeWithCachedSizesToArray(p);
}

const char* Describe(FrameError error) {
  switch (error) {
    case FrameError::kNone:
      return "ok";
    case FrameError::kNeedMore:
      return "incomplete";
    case FrameError::kBadMagic:
      return "does not speak the peer protocol";
    case FrameError::kTooLarge:
      return "frame too large";
    case FrameError::kCorrupt:
      return "frame checksum does not match";
  }
  return "unknown";
}

std::span<char> FrameReader::Prepare() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > kKeepReadBytes) Grow(0);
  }
  const size_t waiting = end_ - begin_;
  if (begin_ > 0 && (begin_ + wanted_ > capacity_ || capacity_ - end_ < kReadBytes / 4)) {
    std::memmove(data_.get(), data_.get() + begin_, waiting);
    begin_ = 0;
    end_ = waiting;
  }
  // No more than twice what has arrived: an announced length alone must not cost memory.
  const size_t capacity =
      std::min(std::max(wanted_, kReadBytes), std::max(2 * waiting, kReadBytes));
  if (capacity > capacity_) Grow(capacity);
  CHECK(end_ < capacity_);
  return {data_.get() + end_, capacity_ - end_};
}

void FrameReader::Grow(size_t capacity) {
  auto grown = capacity == 0 ? nullptr : std::make_unique_for_overwrite<char[]>(capacity);
  if (end_ > 0) std::memcpy(grown.get(), data_.get(), end_);
  data_ = std::move(grown);
  capacity_ = capacity;
}

FrameError FrameReader::Next(std::string_view* body) {
  std::string_view bytes{data_.get() + begin_, end_ - begin_};
  if (!magic_seen_) {
    const size_t n = std::min(bytes.size(), kMagic.size());
    if (bytes.substr(0, n) != kMagic.substr(0, n)) return FrameError::kBadMagic;
    if (n < kMagic.size()) return FrameError::kNeedMore;
    magic_seen_ = true;
    begin_ += n;
    bytes.remove_prefix(n);
  }
  wanted_ = 0;
  if (bytes.size() < kFrameHeaderBytes) return FrameError::kNeedMore;
  const size_t length = LoadLittleEndian32(bytes.data());
  if (length > max_body_bytes_) return FrameError::kTooLarge;
  wanted_ = kFrameHeaderBytes + length;
  if (bytes.size() < wanted_) return FrameError::kNeedMore;
  *body = bytes.substr(kFrameHeaderBytes, length);
  if (storage::Crc32c(*body) != LoadLittleEndian32(bytes.data() + 4) &&
      !MUTATION(ignore_frame_checksum)) {
    return FrameError::kCorrupt;
  }
  begin_ += std::exchange(wanted_, 0);
  return FrameError::kNone;
}

}  // namespace raftkv::transport
