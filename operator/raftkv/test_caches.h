// The caches of the kinds that the operator looks at, without the watches that fill them.
//
// Thread-safety: as of kube::Cache.
#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "operator/kube/api.h"
#include "operator/raftkv/observe.h"
#include "operator/raftkv/resource.h"

namespace raftkv::op {

// For fixtures, to be derived from.
class TestCaches {
 protected:
  // With all that is there by now.
  void FillFrom(kube::Api& api) {
    for (kube::Cache* cache : {&clusters_, &sets_, &pods_, &claims_, &services_, &accounts_,
                               &policies_, &budgets_, &kube_nodes_}) {
      kube::ObjectList all = *api.List(cache->resource(), {});
      // As the watches select them.
      std::erase_if(all.items, [&](const kube::Object& object) {
        return cache != &clusters_ && cache != &kube_nodes_ &&
               object.Label("app.kubernetes.io/name") != "raftkv";
      });
      EXPECT_TRUE(cache->Replace(std::move(all.items), all.resource_version).ok());
    }
  }

  kube::Cache clusters_{kRaftKvs};
  kube::Cache sets_{kube::resources::kStatefulSets};
  kube::Cache pods_{kube::resources::kPods};
  kube::Cache claims_{kube::resources::kClaims};
  kube::Cache services_{kube::resources::kServices};
  kube::Cache accounts_{kube::resources::kServiceAccounts};
  kube::Cache policies_{kube::resources::kNetworkPolicies};
  kube::Cache budgets_{kube::resources::kDisruptionBudgets};
  kube::Cache kube_nodes_{kube::resources::kNodes};
  Caches caches_{.clusters = &clusters_,
                 .stateful_sets = &sets_,
                 .pods = &pods_,
                 .claims = &claims_,
                 .services = &services_,
                 .accounts = &accounts_,
                 .policies = &policies_,
                 .budgets = &budgets_,
                 .nodes = &kube_nodes_};
};

}  // namespace raftkv::op
