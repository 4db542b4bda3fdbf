// The operator's looks and acts on a RaftKV, "db", whose objects a real API server holds. No pod
// runs, so no node answers.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/kube/timing.h"
#include "operator/raftkv/act.h"
#include "operator/raftkv/resource.h"
#include "operator/raftkv/test_caches.h"
#include "tests/kube/cluster.h"
#include "tests/kube/definition.h"

namespace raftkv::op {

using kube::Json;
using kube::Object;
using kube::Resource;
namespace resources = kube::resources;

class NoNodes final : public NodeApi {
 public:
  std::map<int, NodeStatus> Statuses(const std::map<int, std::string>&) override { return {}; }
  Status SendInitialize(const std::string&, const Initialize&) override { return Nobody(); }
  Status SendMembership(const std::string&, const ChangeMembership&) override { return Nobody(); }
  Status SendTransfer(const std::string&, const TransferLeadership&) override { return Nobody(); }

 private:
  static Status Nobody() { return {Code::kUnavailable, "no node runs"}; }
};

class ObjectsOnServer : public kube::ClusterTest, protected TestCaches {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    ASSERT_TRUE(api_->Apply(resources::kCustomResourceDefinitions, Object(kube::Definition())));
    ASSERT_TRUE(Soon([&] { return api_->List(kRaftKvs, {.ns = ns_}).has_value(); }));
    Object resource(kRaftKvs, {ns_, "db"});
    resource.Set("/spec", {{"replicas", 1}});
    ASSERT_TRUE(api_->Create(kRaftKvs, resource));
    observer_ = std::make_unique<Observer>(api_.get(), caches_, &nodes_, settings_,
                                           &kube::Timing::System());
    actor_ = std::make_unique<Actor>(api_.get(), &nodes_, observer_.get(), caches_, settings_);
  }

  Seen Look() {
    auto seen = observer_->LookLive({ns_, "db"}, 1);
    EXPECT_TRUE(seen) << seen.error().ToString();
    return *seen;
  }

  NoNodes nodes_;
  ObjectSettings settings_{.default_image = "node:1", .operator_namespace = "system"};
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Actor> actor_;
};

}  // namespace raftkv::op
