#include "operator/kube/base64.h"

#include "base/encoding.h"

namespace raftkv::kube {

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string digits;
  digits.reserve(text.size());
  for (char c : text) {
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') digits.push_back(c);
  }
  auto bytes = Base64Decode(digits);
  if (!bytes) return std::nullopt;
  return *std::move(bytes);
}

}  // namespace raftkv::kube
