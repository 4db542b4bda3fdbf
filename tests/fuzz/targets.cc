#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

constexpr std::string_view kSeparator{"\xff\xfe", 2};

}  // namespace

const std::vector<Target>& Targets() {
  static const std::vector<Target> all = [] {
    std::vector<Target> targets;
    for (const auto group : {WireTargets, StorageTargets, HttpTargets, SettingsTargets, TextTargets,
                             StreamTargets, DialectTargets, OperatorTargets, KubeTargets}) {
      for (const Target& target : group()) targets.push_back(target);
    }
    return targets;
  }();
  return all;
}

const Target* FindTarget(std::string_view name) {
  for (const Target& target : Targets()) {
    if (name == target.name) return &target;
  }
  return nullptr;
}

std::vector<std::string_view> Split(std::string_view input) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = input.find(kSeparator);
    parts.push_back(input.substr(0, end));
    if (end == std::string_view::npos) return parts;
    input.remove_prefix(end + kSeparator.size());
  }
}

std::string Join(const std::vector<std::string>& parts) {
  std::string joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) joined += kSeparator;
    joined += parts[i];
  }
  return joined;
}

std::string QuotedForYaml(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7f || c == '"' || c == '\\') {
      quoted += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace raftkv::fuzz
