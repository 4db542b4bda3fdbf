#include "tests/kube/cluster.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/random.h"

namespace raftkv::kube {
namespace {

class OwnControlPlane final : public testing::Environment {
 public:
  // Its kubeconfig's path; empty if it does not start.
  std::string Start() {
    FILE* out = popen(RAFTKV_KUBE " up 0", "r");
    if (out == nullptr) return "";
    std::string printed;
    char buffer[256];
    while (fgets(buffer, sizeof(buffer), out) != nullptr) printed = buffer;
    if (pclose(out) != 0) return "";
    started_ = true;
    return printed.substr(0, printed.find('\n'));
  }
  void TearDown() override {
    if (started_ && std::system(RAFTKV_KUBE " down") != 0) {
      std::fprintf(stderr, "the test cluster did not stop; see " RAFTKV_KUBE "\n");
    }
  }

 private:
  bool started_ = false;
};

ClientConfig Connect() {
  if (std::getenv("KUBECONFIG") == nullptr) {
    auto* own = new OwnControlPlane;
    testing::AddGlobalTestEnvironment(own);  // owned by GoogleTest
    std::string path = own->Start();
    if (path.empty()) {
      std::fprintf(stderr, "no cluster: set KUBECONFIG, or see what '" RAFTKV_KUBE
                           " up 0' needs (root, Go)\n");
      std::exit(1);
    }
    setenv("KUBECONFIG", path.c_str(), 1);
  }
  auto config = DefaultConfig();
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().message().c_str());
    std::exit(1);
  }
  return *config;
}

}  // namespace

const ClientConfig& TestCluster() {
  static const ClientConfig config = Connect();
  return config;
}

void ClusterTest::SetUp() {
  api_ = std::make_unique<RestClient>(TestCluster(), RestOptions{}, &Timing::System());
  ns_ = "raftkv-test-" + std::to_string(SystemEntropy() % 1'000'000'000);
  auto made = api_->Create(resources::kNamespaces, Object(resources::kNamespaces, {"", ns_}));
  ASSERT_TRUE(made) << made.error().ToString();
}

void ClusterTest::TearDown() {
  auto made = api_->Get(resources::kNamespaces, {"", ns_});
  if (made) (void)api_->Delete(resources::kNamespaces, {"", ns_}, DeleteOptions::For(*made, false));
}

Object ClusterTest::ConfigMap(const std::string& name, const std::string& value) {
  Object map(resources::kConfigMaps, {ns_, name});
  map.Set("/data/value", value);
  return map;
}

bool ClusterTest::Soon(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return condition();
}

}  // namespace raftkv::kube
