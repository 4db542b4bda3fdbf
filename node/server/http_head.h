// The head of a request: where it ends, and what it says. Strict where leniency lets requests be
// smuggled (RFC 9112, sections 2.2, 3, 5, 6, 11.2).
//
// Thread-safety: none needed; no shared state.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "node/server/http.h"

namespace raftkv::server {

// A request that is refused before any handler sees it. The connection ends with the answer: what
// follows on it cannot be trusted to be where it seems to be.
struct HeadError {
  int status;
  std::string detail;
};

// Looks for the end of a head in a buffer that grows, reading each byte once.
class HeadScanner {
 public:
  explicit HeadScanner(const Limits& limits) : limits_(&limits) {}

  // The size of the head including its empty line; 0: not complete yet.
  std::expected<size_t, HeadError> Scan(std::string_view buffer);
  void Reset() { scanned_ = line_start_ = lines_ = 0; }

 private:
  std::expected<void, HeadError> CheckLine(size_t bytes) const;

  const Limits* limits_;
  size_t scanned_ = 0;
  size_t line_start_ = 0;
  size_t lines_ = 0;  // complete ones
};

struct RequestHead {
  HttpRequest request;  // without body and remote address; views into the head
  bool http10 = false;
  bool keep_alive = true;
  bool expect_continue = false;
  size_t content_length = 0;
};

// `head` as Scan found it.
std::expected<RequestHead, HeadError> ParseHead(std::string_view head, const Limits& limits);

}  // namespace raftkv::server
