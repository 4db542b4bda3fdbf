#include "base/host_port.h"

#include <algorithm>
#include <charconv>

namespace raftkv {
namespace {

constexpr size_t kMaxHostBytes = 253;  // of a name in the DNS (RFC 1035, section 2.3.4)

}  // namespace

std::string HostPort::ToString() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool HostPort::IsWildcard() const { return host.empty() || host == "0.0.0.0" || host == "::"; }

Result<HostPort> ParseHostPort(std::string_view text) {
  const std::unexpected<Status> wrong = Error(
      Code::kInvalidArgument,
      "expected host:port such as 127.0.0.1:7071 or [::1]:7071, not '" + std::string(text) + "'");
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong;
  HostPort address;
  const std::string_view port = text.substr(colon + 1);
  const char* end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, address.port);
  if (error != std::errc() || stop != end) return wrong;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    if (host.size() == 2) return wrong;
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong;
  }
  // Names outside of ASCII are written in Punycode (RFC 3492).
  const auto forbidden = [](char c) { return c <= ' ' || c >= 0x7f || c == '/' || c == '@'; };
  if (host.size() > kMaxHostBytes || std::ranges::any_of(host, forbidden) ||
      host.find_first_of("[]") != std::string_view::npos) {
    return wrong;
  }
  address.host = std::string(host);
  return address;
}

}  // namespace raftkv
