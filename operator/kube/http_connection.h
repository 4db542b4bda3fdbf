// One HTTP/1.1 connection to the API server.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "operator/kube/byte_stream.h"

namespace raftkv::kube {

struct HttpLimits {
  // Of an answer's head, with the interim ones (1xx) before it; and of its trailers.
  size_t max_head_bytes = 64 << 10;
  size_t max_body_bytes = 64 << 20;  // of one answer; a watch has no limit but one per event
};

struct HttpCall {
  std::string_view method;
  std::string target;
  std::vector<std::pair<std::string_view, std::string>> headers;
  std::string body;
};

struct HttpHead {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string_view Header(std::string_view lower_case_name) const;
};

// True for what can stand in a header: it has no control character, above all no line break, which
// would begin another header.
bool IsHeaderText(std::string_view text);

class HttpConnection {
 public:
  HttpConnection(std::unique_ptr<ByteStream> stream, HttpLimits limits)
      : stream_(std::move(stream)), limits_(limits) {}

  // Sends the call and reads the answer's head. After an error the connection is of no more use;
  // ApiError::may_have_happened tells whether a write may have reached the server.
  ApiResult<HttpHead> Send(const HttpCall& call, const Wait& wait);
  // The next piece of the body, at most as much as has arrived; empty at its end. kConnection if
  // the connection ends before the body does, kMalformed if the server breaks HTTP's rules. After
  // kDeadline it may be called again and goes on where it was. The piece is valid until the next
  // call.
  ApiResult<std::string_view> ReadSome(const Wait& wait);
  // The whole body; kTooLarge over the limit.
  ApiResult<std::string> ReadAll(const Wait& wait);

  // The body was read to its end, nothing came after it and the server keeps the connection.
  bool reusable() const {
    return body_ == Body::kDone && keep_alive_ && consumed_ == in_.size() && !stream_->IsStale();
  }
  // What has been received and is kept: at most a head and one read of 16 KiB.
  size_t buffered_bytes() const { return in_.size(); }

 private:
  enum class Body { kDone, kLength, kChunked, kTrailers, kUntilClose };

  ApiResult<void> Fill(const Wait& wait, bool* ended);
  ApiResult<HttpHead> ReadHead(const Wait& wait);
  ApiResult<HttpHead> ParseHead(std::string_view text);
  ApiResult<std::string> ReadLine(const Wait& wait);
  ApiResult<void> ChooseBody(const HttpHead& head);
  ApiResult<std::string_view> ReadChunked(const Wait& wait);
  ApiResult<std::string_view> ReadTrailers(const Wait& wait);
  ApiResult<std::string_view> Take(uint64_t limit, const Wait& wait);

  std::unique_ptr<ByteStream> stream_;
  const HttpLimits limits_;
  std::string in_;  // received, from consumed_ on not yet used
  size_t consumed_ = 0;
  Body body_ = Body::kDone;
  uint64_t left_ = 0;        // of the body, or of the chunk
  bool chunk_open_ = false;  // the line break after the chunk is yet to come
  size_t trailer_bytes_ = 0;
  bool keep_alive_ = false;
  std::string method_;
};

}  // namespace raftkv::kube
