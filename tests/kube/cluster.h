// The Kubernetes that the tests of this folder run against, and a namespace of their own in it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "operator/kube/rest_client.h"

namespace raftkv::kube {

// The cluster in $KUBECONFIG; without one, a control plane that is started at the first use and
// stopped at the end of the program.
const ClientConfig& TestCluster();

// A namespace for each test, deleted at its end.
class ClusterTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  Object ConfigMap(const std::string& name, const std::string& value);
  // Polls until `condition` holds; false after a minute.
  static bool Soon(const std::function<bool()>& condition);

  std::string ns_;
  std::unique_ptr<RestClient> api_;
};

}  // namespace raftkv::kube
