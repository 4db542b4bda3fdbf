#include "tests/kube/definition.h"

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
#include <string>

namespace raftkv::kube {
namespace {

Json FromYaml(const YAML::Node& node) {
  if (node.IsMap()) {
    Json out = Json::object();
    for (const auto& entry : node) out[entry.first.Scalar()] = FromYaml(entry.second);
    return out;
  }
  if (node.IsSequence()) {
    Json out = Json::array();
    for (const auto& item : node) out.push_back(FromYaml(item));
    return out;
  }
  if (!node.IsScalar()) return {};
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  Json scalar = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return scalar.is_number() || scalar.is_boolean() ? scalar : Json(text);
}

}  // namespace

const Json& Definition() {
  static const Json definition = FromYaml(YAML::LoadFile(RAFTKV_CRD));
  return definition;
}

}  // namespace raftkv::kube
