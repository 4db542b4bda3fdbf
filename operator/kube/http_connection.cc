#include "operator/kube/http_connection.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace raftkv::kube {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kMaxLineBytes = 1024;  // of a chunk's size or a trailer

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

std::unexpected<ApiError> Malformed(std::string what) {
  return Fail(Reason::kMalformed, "the server's answer is not HTTP/1.1: " + std::move(what));
}

bool ParseNumber(std::string_view text, int base, uint64_t* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

bool IsHeaderText(std::string_view text) {
  return std::ranges::none_of(
      text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

std::string_view HttpHead::Header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

ApiResult<HttpHead> HttpConnection::Send(const HttpCall& call, const Wait& wait) {
  method_ = call.method;
  std::string out;
  out.append(call.method).append(" ").append(call.target).append(" HTTP/1.1\r\n");
  for (const auto& [name, value] : call.headers) {
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (!call.body.empty() || call.method != "GET") {
    out += "Content-Length: " + std::to_string(call.body.size()) + "\r\n";
  }
  out += "\r\n";
  out += call.body;
  in_.clear();
  consumed_ = 0;
  auto written = stream_->Write(out, wait);
  auto head = written ? ReadHead(wait) : ApiResult<HttpHead>(std::unexpected(written.error()));
  // What has partly left may have arrived as a whole, for all we know.
  if (!head) head.error().may_have_happened = method_ != "GET";
  return head;
}

ApiResult<void> HttpConnection::Fill(const Wait& wait, bool* ended) {
  in_.erase(0, consumed_);
  consumed_ = 0;
  size_t size = in_.size();
  in_.resize(size + kReadBytes);
  auto got = stream_->Read(in_.data() + size, kReadBytes, wait);
  in_.resize(size + got.value_or(0));
  if (!got) return std::unexpected(got.error());
  *ended = *got == 0;
  return {};
}

ApiResult<HttpHead> HttpConnection::ReadHead(const Wait& wait) {
  size_t interim = 0;  // bytes of 100 Continue and the like
  size_t looked = 0;   // no end begins in so many bytes from consumed_ on
  while (true) {
    size_t end = in_.find("\r\n\r\n", consumed_ + looked);
    bool whole = end != std::string::npos;
    size_t size = (whole ? end + 4 : in_.size()) - consumed_;
    // The same for what came at once as for what came bit by bit.
    if (interim + size > limits_.max_head_bytes) return Malformed("its head is too long");
    if (whole) {
      auto head = ParseHead(std::string_view(in_).substr(consumed_, size - 2));
      consumed_ += size;
      if (!head || head->status >= 200) return head;
      interim += size;
      looked = 0;
      continue;
    }
    looked = size < 3 ? 0 : size - 3;
    bool ended = false;
    if (auto filled = Fill(wait, &ended); !filled) return std::unexpected(filled.error());
    if (ended) return Fail(Reason::kConnection, "the connection was closed without an answer");
  }
}

ApiResult<HttpHead> HttpConnection::ParseHead(std::string_view text) {
  HttpHead head;
  uint64_t status = 0;
  size_t line_end = text.find("\r\n");
  std::string_view first = text.substr(0, line_end);
  bool ok = first.size() >= 12 && first.starts_with("HTTP/1.") && first[8] == ' ' &&
            (first.size() == 12 || first[12] == ' ') &&
            ParseNumber(first.substr(9, 3), 10, &status) && status >= 100 && status < 600;
  if (!ok) return Malformed("it starts with '" + std::string(first.substr(0, 60)) + "'");
  head.status = static_cast<int>(status);
  keep_alive_ = !first.starts_with("HTTP/1.0");
  text.remove_prefix(line_end + 2);
  while (!text.empty()) {
    line_end = text.find("\r\n");
    std::string_view line = text.substr(0, line_end);
    text.remove_prefix(line_end + 2);
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) return Malformed("a header without ':'");
    std::string_view name = line.substr(0, colon);
    if (name.empty() || !IsHeaderText(name) || name.find(' ') != std::string_view::npos) {
      return Malformed("a header without a name");
    }
    head.headers.emplace_back(LowerCase(name), Trim(line.substr(colon + 1)));
  }
  if (LowerCase(head.Header("connection")) == "close") keep_alive_ = false;
  if (auto chosen = ChooseBody(head); !chosen) return std::unexpected(chosen.error());
  return head;
}

// Where the body ends (RFC 9112 section 6.3). What can be understood in two ways is refused: who
// reads it in the other way takes the end of this answer for the next one.
ApiResult<void> HttpConnection::ChooseBody(const HttpHead& head) {
  left_ = 0;
  chunk_open_ = false;
  trailer_bytes_ = 0;
  std::optional<std::string_view> length;
  std::optional<std::string_view> encoding;
  for (const auto& [name, value] : head.headers) {
    std::optional<std::string_view>* known = name == "content-length"      ? &length
                                             : name == "transfer-encoding" ? &encoding
                                                                           : nullptr;
    if (known == nullptr) continue;
    if (*known && **known != value) return Malformed("it has '" + name + "' twice");
    *known = value;
  }
  if (encoding && LowerCase(*encoding) != "chunked") {
    return Malformed("its Transfer-Encoding is not 'chunked'");
  }
  if (length && !ParseNumber(*length, 10, &left_)) {
    return Malformed("its Content-Length is no number");
  }
  bool none = method_ == "HEAD" || head.status == 204 || head.status == 304 || head.status < 200;
  if (none) {
    body_ = Body::kDone;
  } else if (encoding) {
    left_ = 0;
    body_ = Body::kChunked;
    if (length) keep_alive_ = false;
  } else if (length) {
    body_ = left_ == 0 ? Body::kDone : Body::kLength;
  } else {
    body_ = Body::kUntilClose;
    keep_alive_ = false;
  }
  return {};
}

ApiResult<std::string_view> HttpConnection::Take(uint64_t limit, const Wait& wait) {
  bool ended = false;
  if (consumed_ == in_.size()) {
    if (auto filled = Fill(wait, &ended); !filled) return std::unexpected(filled.error());
  }
  if (ended && body_ != Body::kUntilClose) {
    return Fail(Reason::kConnection, "the connection was closed in the middle of an answer");
  }
  if (ended) {
    body_ = Body::kDone;
    return std::string_view();
  }
  size_t size = std::min<uint64_t>(limit, in_.size() - consumed_);
  std::string_view piece = std::string_view(in_).substr(consumed_, size);
  consumed_ += size;
  return piece;
}

ApiResult<std::string_view> HttpConnection::ReadSome(const Wait& wait) {
  switch (body_) {
    case Body::kDone:
      return std::string_view();
    case Body::kUntilClose:
      return Take(UINT64_MAX, wait);
    case Body::kChunked:
      return ReadChunked(wait);
    case Body::kTrailers:
      return ReadTrailers(wait);
    case Body::kLength:
      break;
  }
  auto piece = Take(left_, wait);
  if (!piece) return piece;
  left_ -= piece->size();
  if (left_ == 0) body_ = Body::kDone;
  return piece;
}

ApiResult<std::string> HttpConnection::ReadLine(const Wait& wait) {
  while (true) {
    size_t end = in_.find("\r\n", consumed_);
    bool whole = end != std::string::npos;
    // Half of the line's end may have come.
    size_t size = whole ? end - consumed_ : std::max<size_t>(in_.size() - consumed_, 1) - 1;
    if (size > kMaxLineBytes) return Malformed("a chunk's head or a trailer is too long");
    if (whole) {
      std::string line = in_.substr(consumed_, size);
      consumed_ = end + 2;
      return line;
    }
    bool ended = false;
    if (auto filled = Fill(wait, &ended); !filled) return std::unexpected(filled.error());
    if (ended) {
      return Fail(Reason::kConnection, "the connection was closed in the middle of an answer");
    }
  }
}

ApiResult<std::string_view> HttpConnection::ReadChunked(const Wait& wait) {
  if (left_ == 0) {
    if (chunk_open_) {
      auto end = ReadLine(wait);
      if (!end) return std::unexpected(end.error());
      if (!end->empty()) return Malformed("a chunk is longer than it says");
      chunk_open_ = false;
    }
    auto line = ReadLine(wait);
    if (!line) return std::unexpected(line.error());
    std::string_view size = Trim(std::string_view(*line).substr(0, line->find(';')));
    if (!ParseNumber(size, 16, &left_)) return Malformed("a chunk without a size");
    if (left_ == 0) {
      body_ = Body::kTrailers;
      return ReadTrailers(wait);
    }
    chunk_open_ = true;
  }
  auto piece = Take(left_, wait);
  if (piece) left_ -= piece->size();
  return piece;
}

ApiResult<std::string_view> HttpConnection::ReadTrailers(const Wait& wait) {
  while (true) {
    auto line = ReadLine(wait);
    if (!line) return std::unexpected(line.error());
    if (line->empty()) break;
    trailer_bytes_ += line->size() + 2;
    if (trailer_bytes_ > limits_.max_head_bytes) return Malformed("its trailers are too long");
  }
  body_ = Body::kDone;
  return std::string_view();
}

ApiResult<std::string> HttpConnection::ReadAll(const Wait& wait) {
  std::string body;
  while (true) {
    auto piece = ReadSome(wait);
    if (!piece) {
      // The head has come, so the server has worked on the call.
      piece.error().may_have_happened = method_ != "GET";
      return std::unexpected(piece.error());
    }
    if (piece->empty()) return body;
    if (body.size() + piece->size() > limits_.max_body_bytes) {
      return std::unexpected(ApiError{.reason = Reason::kTooLarge,
                                      .message = "the answer is larger than " +
                                                 std::to_string(limits_.max_body_bytes) +
                                                 " bytes; use smaller pages or a selector",
                                      .may_have_happened = method_ != "GET"});
    }
    body += *piece;
  }
}

}  // namespace raftkv::kube
