// ResponseParser: just enough of HTTP/1.1 (RFC 9112) to find the end of a response and its status
// at very little cost. Bodies are counted and dropped. Responses must have a Content-Length, or no
// body by their status; there is no pipelining, so bytes after the end are an error.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace raftkv::bench {

class ResponseParser {
 public:
  enum class State {
    kNeedMore,
    kDone,   // status(), body_bytes() and keep_alive() are valid
    kError,  // not a response that this parser understands; close the connection
  };

  // Takes the next bytes of the stream. Call Reset() before each response.
  State Feed(std::string_view bytes);
  void Reset();

  int status() const { return status_; }
  uint64_t body_bytes() const { return body_bytes_; }
  bool keep_alive() const { return keep_alive_; }

 private:
  static constexpr size_t kMaxHeadBytes = 16 << 10;

  // `head` ends with the empty line. False: malformed.
  bool ParseHead(std::string_view head);
  bool ParseField(std::string_view line);
  State TakeBody(size_t available);

  std::string partial_head_;  // only while a head is split over reads
  bool in_body_ = false;
  bool has_length_ = false;
  uint64_t body_bytes_ = 0;
  uint64_t body_left_ = 0;
  int status_ = 0;
  bool keep_alive_ = true;
};

}  // namespace raftkv::bench
