#include "tests/bench/response_parser.h"

#include <strings.h>

#include <charconv>

namespace raftkv::bench {
namespace {

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view Trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

template <typename Int>
bool ParseNumber(std::string_view s, Int* out) {
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), *out);
  return error == std::errc() && end == s.data() + s.size();
}

}  // namespace

void ResponseParser::Reset() {
  partial_head_.clear();
  in_body_ = false;
  has_length_ = false;
  body_bytes_ = body_left_ = 0;
  status_ = 0;
  keep_alive_ = true;
}

ResponseParser::State ResponseParser::Feed(std::string_view bytes) {
  if (in_body_) return TakeBody(bytes.size());
  std::string_view head = bytes;
  if (!partial_head_.empty()) {
    partial_head_.append(bytes);
    head = partial_head_;
  }
  size_t end = head.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    if (head.size() > kMaxHeadBytes) return State::kError;
    if (partial_head_.empty()) partial_head_.assign(bytes);
    return State::kNeedMore;
  }
  if (!ParseHead(head.substr(0, end + 2))) return State::kError;
  // Interim responses (RFC 9110 section 15.2) answer an Expect header, which is never sent.
  if (status_ < 200) return State::kError;
  in_body_ = true;
  return TakeBody(head.size() - (end + 4));
}

bool ResponseParser::ParseHead(std::string_view head) {
  if (!head.starts_with("HTTP/1.1 ") || head.size() < 12) return false;
  if (!ParseNumber(head.substr(9, 3), &status_)) return false;
  head.remove_prefix(head.find("\r\n") + 2);
  while (!head.empty()) {
    size_t end = head.find("\r\n");
    if (!ParseField(head.substr(0, end))) return false;
    head.remove_prefix(end + 2);
  }
  bool bodiless = status_ == 204 || status_ == 304;
  if (bodiless) body_bytes_ = 0;
  body_left_ = body_bytes_;
  return bodiless || has_length_;
}

bool ResponseParser::ParseField(std::string_view line) {
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  std::string_view name = line.substr(0, colon);
  // Comparing lengths first skips nearly all fields without looking at their text.
  if (name.size() == 14 && EqualsIgnoringCase(name, "content-length")) {
    has_length_ = true;
    return ParseNumber(Trim(line.substr(colon + 1)), &body_bytes_);
  }
  if (name.size() == 10 && EqualsIgnoringCase(name, "connection")) {
    if (EqualsIgnoringCase(Trim(line.substr(colon + 1)), "close")) keep_alive_ = false;
  }
  return true;
}

ResponseParser::State ResponseParser::TakeBody(size_t available) {
  if (available > body_left_) return State::kError;
  body_left_ -= available;
  return body_left_ == 0 ? State::kDone : State::kNeedMore;
}

}  // namespace raftkv::bench
