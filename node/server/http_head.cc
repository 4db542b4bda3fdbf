#include "node/server/http_head.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "node/server/text.h"

namespace raftkv::server {
namespace {

std::unexpected<HeadError> Refuse(int status, std::string detail) {
  return std::unexpected(HeadError{status, std::move(detail)});
}

std::expected<void, HeadError> ParseTarget(std::string_view target, HttpRequest* request) {
  for (char c : target) {
    if (c <= ' ' || c > '~' || c == '#') {
      return Refuse(400,
                    "The request target has a byte that must be percent-encoded (visible ASCII "
                    "without '#' may stand as it is).");
    }
  }
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!StartsWithIgnoreCase(target, scheme)) continue;
    size_t path = target.find_first_of("/?", scheme.size());
    // RFC 9110, section 4.2.1: an URI without a host is invalid.
    if (path == scheme.size() || target.size() == scheme.size()) {
      return Refuse(400, "The request target is an URI without a host.");
    }
    target = path == target.npos ? std::string_view("/") : target.substr(path);
  }
  // RFC 9112, section 3.2.4: the asterisk form is for OPTIONS alone.
  const bool asterisk = target == "*" && request->method == "OPTIONS";
  if (!asterisk && !target.starts_with('/')) {
    return Refuse(400, "The request target must start with '/'.");
  }
  request->target = target;
  size_t query = target.find('?');
  request->raw_path = target.substr(0, query);
  if (query != target.npos) request->raw_query = target.substr(query + 1);
  return {};
}

std::expected<void, HeadError> ParseRequestLine(std::string_view line, RequestHead* head) {
  size_t first = line.find(' ');
  size_t last = line.rfind(' ');
  if (first == line.npos || first == last) {
    return Refuse(400, "The request line must be METHOD TARGET HTTP/1.1.");
  }
  head->request.method = line.substr(0, first);
  std::string_view version = line.substr(last + 1);
  if (!IsToken(head->request.method)) return Refuse(400, "The method is not a token.");
  if (version.size() != 8 || !version.starts_with("HTTP/") || !IsDigit(version[5]) ||
      version[6] != '.' || !IsDigit(version[7])) {
    return Refuse(400, "The request line must end in HTTP/1.1 or HTTP/1.0.");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Refuse(505, "This server speaks HTTP/1.1 and HTTP/1.0 only.");
  }
  head->http10 = version == "HTTP/1.0";
  head->keep_alive = !head->http10;
  static constexpr std::string_view kMethods[] = {"GET",   "HEAD",  "PUT",     "POST",   "DELETE",
                                                  "PATCH", "TRACE", "OPTIONS", "CONNECT"};
  if (std::ranges::find(kMethods, head->request.method) == std::end(kMethods)) {
    return Refuse(501, "The method is unknown. Methods are upper-case words such as GET or PUT.");
  }
  return ParseTarget(line.substr(first + 1, last - first - 1), &head->request);
}

std::expected<HttpHeader, HeadError> ParseHeader(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') {
    return Refuse(400, "A header line is continued on the next line, which is not allowed.");
  }
  size_t colon = line.find(':');
  if (colon == line.npos || !IsToken(line.substr(0, colon))) {
    return Refuse(400, "A header line is not 'Name: value'.");
  }
  std::string_view value = TrimWhiteSpace(line.substr(colon + 1));
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
      return Refuse(400, "A header value has a control character.");
    }
  }
  return HttpHeader{line.substr(0, colon), value};
}

// What the headers say about where the request ends and what follows.
class Framing {
 public:
  std::expected<void, HeadError> Take(const HttpHeader& header, RequestHead* head) {
    // The length tells most of the headers that do not concern us apart.
    switch (header.name.size()) {
      case 4:
        return EqualsIgnoreCase(header.name, "host") ? Host(header.value) : Ok();
      case 6:
        return EqualsIgnoreCase(header.name, "expect") ? Expect(header.value, head) : Ok();
      case 10:
        if (EqualsIgnoreCase(header.name, "connection")) Connection(header.value, head);
        return {};
      case 12:
        return EqualsIgnoreCase(header.name, "content-type") ? Type(header.value) : Ok();
      case 14:
        return EqualsIgnoreCase(header.name, "content-length") ? Length(header.value) : Ok();
      case 16:
        return EqualsIgnoreCase(header.name, "content-encoding") ? Encoding(header.value) : Ok();
      case 17:
        if (EqualsIgnoreCase(header.name, "transfer-encoding")) transfer_encoding_ = header.value;
        return {};
      default:
        return {};
    }
  }

  std::expected<void, HeadError> Finish(const Limits& limits, RequestHead* head) const {
    if (transfer_encoding_) return RefuseTransferEncoding(*head);
    if (!host_ && !head->http10) return Refuse(400, "The Host header is missing.");
    std::string_view method = head->request.method;
    bool may_have_body = method == "PUT" || method == "POST" || method == "PATCH";
    if (!may_have_body && length_.value_or(0) > 0) {
      return Refuse(400, "This method takes no body; leave the body and Content-Length out.");
    }
    if (length_.value_or(0) > limits.max_body_bytes) {
      return Refuse(
          413, "The body may have at most " + std::to_string(limits.max_body_bytes) + " bytes.");
    }
    // RFC 9112, section 6.3: without a length the body is empty. Routes that mean one ask for it.
    head->content_length = length_.value_or(0);
    head->request.has_length = length_.has_value();
    return {};
  }

 private:
  static std::expected<void, HeadError> Ok() { return {}; }

  std::expected<void, HeadError> Host(std::string_view value) {
    if (host_) return Refuse(400, "There is more than one Host header.");
    if (value.find_first_of(" \t,/@?#") != value.npos) {
      return Refuse(400, "The Host header is not a host and port.");
    }
    host_ = true;
    return {};
  }

  std::expected<void, HeadError> Expect(std::string_view value, RequestHead* head) {
    if (!EqualsIgnoreCase(value, "100-continue")) {
      return Refuse(417, "The only expectation that can be met is 100-continue.");
    }
    head->expect_continue = !head->http10;
    return {};
  }

  void Connection(std::string_view value, RequestHead* head) {
    while (!value.empty()) {
      size_t comma = std::min(value.find(','), value.size());
      std::string_view option = TrimWhiteSpace(value.substr(0, comma));
      if (EqualsIgnoreCase(option, "close")) close_ = true;
      if (EqualsIgnoreCase(option, "keep-alive")) head->keep_alive = true;
      value.remove_prefix(std::min(comma + 1, value.size()));
    }
    if (close_) head->keep_alive = false;
  }

  std::expected<void, HeadError> Type(std::string_view value) {
    if (!StartsWithIgnoreCase(value, "multipart/")) return {};
    return Refuse(415, "Multipart bodies are not understood; send the value itself as the body.");
  }

  std::expected<void, HeadError> Encoding(std::string_view value) {
    if (EqualsIgnoreCase(value, "identity")) return {};
    return Refuse(415, "Compressed bodies are not understood; send the body as it is.");
  }

  std::expected<void, HeadError> Length(std::string_view value) {
    if (length_) return Refuse(400, "There is more than one Content-Length.");
    if (value.empty() || !std::ranges::all_of(value, IsDigit)) {
      return Refuse(400, "Content-Length must be a number of bytes.");
    }
    uint64_t bytes = 0;
    if (std::from_chars(value.begin(), value.end(), bytes).ec != std::errc()) {
      return Refuse(413, "Content-Length is larger than any body can be.");
    }
    length_ = bytes;
    return {};
  }

  std::expected<void, HeadError> RefuseTransferEncoding(const RequestHead& head) const {
    if (length_ || head.http10) {
      return Refuse(400, "Transfer-Encoding cannot stand beside Content-Length or in HTTP/1.0.");
    }
    if (EqualsIgnoreCase(*transfer_encoding_, "chunked")) {
      return Refuse(411, "Chunked bodies are not taken; send the body with a Content-Length.");
    }
    return Refuse(501, "Transfer-Encoding is not understood; send the body with a Content-Length.");
  }

  bool host_ = false;
  bool close_ = false;
  std::optional<uint64_t> length_;
  std::optional<std::string_view> transfer_encoding_;
};

}  // namespace

std::expected<void, HeadError> HeadScanner::CheckLine(size_t bytes) const {
  if (lines_ == 0 && bytes > limits_->max_line_bytes) {
    return Refuse(414, "The request line may have at most " +
                           std::to_string(limits_->max_line_bytes) + " bytes.");
  }
  if (lines_ > 0 && bytes > limits_->max_header_bytes) {
    return Refuse(431, "A header line may have at most " +
                           std::to_string(limits_->max_header_bytes) + " bytes.");
  }
  return {};
}

std::expected<size_t, HeadError> HeadScanner::Scan(std::string_view buffer) {
  // Something that is no HTTP at all (a TLS handshake, say) is not waited for.
  if (scanned_ == 0 && !buffer.empty() && !IsTokenChar(buffer[0])) {
    return Refuse(400, "This is not an HTTP request.");
  }
  for (;;) {
    size_t newline = buffer.find('\n', scanned_);
    size_t line_end = newline == buffer.npos ? buffer.size() : newline;
    if (auto fits = CheckLine(line_end - line_start_); !fits) return std::unexpected(fits.error());
    if (line_end > limits_->max_head_bytes) {
      return Refuse(431, "Request line and headers may have at most " +
                             std::to_string(limits_->max_head_bytes) + " bytes.");
    }
    scanned_ = line_end;
    if (newline == buffer.npos) return 0;
    if (newline == line_start_ || buffer[newline - 1] != '\r') {
      return Refuse(400, "Lines must end in CR LF.");
    }
    if (newline - line_start_ == 1) return newline + 1;
    if (++lines_ > limits_->max_headers + 1) {
      return Refuse(
          431, "There may be at most " + std::to_string(limits_->max_headers) + " header lines.");
    }
    line_start_ = scanned_ = newline + 1;
  }
}

std::expected<RequestHead, HeadError> ParseHead(std::string_view head, const Limits& limits) {
  RequestHead result;
  size_t end = head.find("\r\n");
  if (auto line = ParseRequestLine(head.substr(0, end), &result); !line) {
    return std::unexpected(line.error());
  }
  Framing framing;
  result.request.headers.reserve(8);
  for (size_t start = end + 2; (end = head.find("\r\n", start)) != start; start = end + 2) {
    auto header = ParseHeader(head.substr(start, end - start));
    if (!header) return std::unexpected(header.error());
    if (auto taken = framing.Take(*header, &result); !taken) return std::unexpected(taken.error());
    result.request.headers.push_back(*header);
  }
  if (auto framed = framing.Finish(limits, &result); !framed) {
    return std::unexpected(framed.error());
  }
  return result;
}

}  // namespace raftkv::server
