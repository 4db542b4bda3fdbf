#include "operator/kube/ownership.h"

#include <gtest/gtest.h>

#include "operator/kube/test_api.h"

namespace raftkv::kube {
namespace {

constexpr Resource kRaftKv{"raftkv.dev", "v1alpha1", "raftkvs", "RaftKV"};

Object Owner(const std::string& uid) {
  Object owner(kRaftKv, {"n", "a"});
  owner.Set("/metadata/uid", uid);
  return owner;
}

Object Service() {
  Object service(resources::kServices, {"n", "a"});
  service.Set("/spec/clusterIP", "None");
  return service;
}

class OwnershipTest : public testing::Test {
 protected:
  Object Put(Object object) { return api_.Create(resources::kServices, object).value(); }
  bool Exists() { return api_.Get(resources::kServices, {"n", "a"}).has_value(); }
  size_t Writes() {
    size_t writes = 0;
    for (const std::string& call : api_.calls()) writes += !call.starts_with("GET");
    return writes;
  }

  MemoryApi api_;
  Object owner_ = Owner("new");
};

TEST_F(OwnershipTest, AppliesWithAControllerReference) {
  auto applied = ApplyOwned(api_, resources::kServices, Service(), owner_);
  ASSERT_TRUE(applied);
  EXPECT_TRUE(IsControlledBy(*applied, owner_));
  const Json& reference = applied->At("/metadata/ownerReferences/0");
  EXPECT_EQ(reference["blockOwnerDeletion"], true);
  EXPECT_EQ(reference["apiVersion"], "raftkv.dev/v1alpha1");
}

TEST_F(OwnershipTest, RefusesAnOwnerInAnotherNamespace) {
  Object service = Service();
  service.Set("/metadata/namespace", "elsewhere");
  EXPECT_DEATH(SetController(service, owner_), "in one namespace");
}

TEST_F(OwnershipTest, ASecondApplyWritesNoNewVersion) {
  auto first = ApplyOwned(api_, resources::kServices, Service(), owner_);
  auto second = ApplyOwned(api_, resources::kServices, Service(), owner_);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->resource_version(), second->resource_version());
}

TEST_F(OwnershipTest, RefusesWhatSomebodyElseMade) {
  Put(Service());
  auto applied = ApplyOwned(api_, resources::kServices, Service(), owner_);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().reason, Reason::kConflict);
  EXPECT_NE(applied.error().message.find("no controller"), std::string::npos);
  EXPECT_EQ(Writes(), 1u);
}

TEST_F(OwnershipTest, RefusesStaleOwner) {
  Object service = Service();
  SetController(service, Owner("old"));
  Put(service);
  auto applied = ApplyOwned(api_, resources::kServices, Service(), owner_);
  ASSERT_FALSE(applied);
  EXPECT_NE(applied.error().message.find("former object of the same name"), std::string::npos);
  EXPECT_EQ(Writes(), 1u);
}

TEST_F(OwnershipTest, RefusesWhatIsBeingDeleted) {
  Object service = Service();
  SetController(service, owner_);
  service.Set("/metadata/deletionTimestamp", "2026-01-01T00:00:00Z");
  Put(service);
  EXPECT_EQ(ApplyOwned(api_, resources::kServices, Service(), owner_).error().reason,
            Reason::kConflict);
}

TEST_F(OwnershipTest, DoesNotTakeOverWhatAppearsInBetween) {
  api_.before = [this](const std::string& call) -> ApiResult<void> {
    if (call == "CREATE services/a") {
      api_.before = nullptr;
      Put(Service());
    }
    return {};
  };
  EXPECT_EQ(ApplyOwned(api_, resources::kServices, Service(), owner_).error().reason,
            Reason::kAlreadyExists);
}

TEST_F(OwnershipTest, DeletesExactlyWhatWasSeen) {
  Object service = Service();
  SetController(service, owner_);
  Object seen = Put(service);
  EXPECT_TRUE(DeleteOwned(api_, resources::kServices, seen, owner_));
  EXPECT_FALSE(Exists());
  EXPECT_TRUE(DeleteOwned(api_, resources::kServices, seen, owner_)) << "gone is done";
}

TEST_F(OwnershipTest, LeavesANewIncarnationAlone) {
  Object service = Service();
  SetController(service, owner_);
  Object seen = Put(service);
  ASSERT_TRUE(api_.Delete(resources::kServices, {"n", "a"}, DeleteOptions::For(seen)));
  Put(service);
  EXPECT_TRUE(DeleteOwned(api_, resources::kServices, seen, owner_));
  EXPECT_TRUE(Exists());
}

TEST_F(OwnershipTest, LeavesWhatChangedHandsAlone) {
  Object service = Service();
  SetController(service, Owner("other"));
  Object seen = Put(service);
  EXPECT_EQ(DeleteOwned(api_, resources::kServices, seen, owner_).error().reason,
            Reason::kConflict);
  EXPECT_TRUE(Exists());
}

TEST_F(OwnershipTest, AWriteBetweenReadAndDeleteIsAConflict) {
  Object service = Service();
  SetController(service, owner_);
  Object seen = Put(service);
  api_.before = [this](const std::string& call) -> ApiResult<void> {
    if (call.starts_with("DELETE")) api_.Touch(resources::kServices, {"n", "a"});
    return {};
  };
  EXPECT_EQ(DeleteOwned(api_, resources::kServices, seen, owner_).error().reason,
            Reason::kConflict);
  EXPECT_TRUE(Exists());
}

}  // namespace
}  // namespace raftkv::kube
