#include "node/server/http.h"

#include <charconv>

#include "base/check.h"
#include "node/server/problem.h"
#include "node/server/text.h"

namespace raftkv::server {
namespace {

void AppendNumber(uint64_t value, std::string* out) {
  char digits[20];
  auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  out->append(digits, end);
}

bool HasNoBody(int status) { return status == 204 || status == 304; }

}  // namespace

std::optional<std::string_view> HttpRequest::Header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (EqualsIgnoreCase(header.name, name)) return header.value;
  }
  return std::nullopt;
}

HttpResponse& HttpResponse::Add(std::string_view name, std::string_view value) {
  CHECK(value.find_first_of("\r\n") == value.npos);
  headers.append(name).append(": ").append(value).append("\r\n");
  return *this;
}

HttpResponse& HttpResponse::Add(std::string_view name, uint64_t value) {
  headers.append(name).append(": ");
  AppendNumber(value, &headers);
  headers.append("\r\n");
  return *this;
}

void AppendResponseHead(const HttpResponse& response, const ResponseContext& context,
                        std::string* out) {
  out->append("HTTP/1.1 ");
  AppendNumber(static_cast<uint64_t>(response.status), out);
  out->append(" ").append(StatusText(response.status)).append("\r\n");
  out->append(response.headers);
  if (!HasNoBody(response.status) && !response.stream) {
    out->append("Content-Length: ");
    AppendNumber(response.body.size(), out);
    out->append("\r\n");
  }
  out->append("Date: ").append(context.date).append("\r\n");
  if (!context.keep_alive) {
    out->append("Connection: close\r\n");
  } else if (context.http10) {
    out->append("Connection: keep-alive\r\n");
  }
  out->append("\r\n");
}

bool MayHaveBody(const HttpResponse& response, const ResponseContext& context) {
  return !context.head_request && !HasNoBody(response.status);
}

}  // namespace raftkv::server
