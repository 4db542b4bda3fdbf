// Base64 (RFC 4648 section 4), as kubeconfig files and Secrets hold it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace raftkv::kube {

// White space is skipped; nullopt if anything else is not of the alphabet or the padding is wrong.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace raftkv::kube
