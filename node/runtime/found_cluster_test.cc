// What a new cluster takes over from a snapshot of another one.

#include <gtest/gtest.h>

#include <algorithm>

#include "node/runtime/restore.h"
#include "node/storage/test_util.h"

namespace raftkv::runtime {
namespace {

OpenedStorage Open(const std::string& dir) {
  Options options;
  options.name = "n1";
  options.data_dir = dir;
  Result<OpenedStorage> opened = OpenStorage(options, {});
  EXPECT_TRUE(opened) << opened.error().ToString();
  return std::move(*opened);
}

v1::ClusterState OldCluster() {
  v1::ClusterState state;
  state.set_cluster_id(7);
  state.set_config_index(1);
  for (const uint64_t id : {20, 30, 40}) {
    state.mutable_conf()->add_voters(id);
    v1::Member* member = state.add_members();
    member->set_id(id);
    member->set_name("m" + std::to_string(id));
    member->set_peer_address("127.0.0.1:" + std::to_string(id));
  }
  state.add_removed_ids(25);
  state.add_removed_ids(50);
  return state;
}

// The state machine looks for removed ids with a binary search: members of the old cluster, put
// behind those that it had removed, were not found and could have come back.
TEST(FoundClusterTest, MembersOfTheOldClusterAreAmongTheRemovedInTheirOrder) {
  storage::TempDir temp;
  OpenedStorage old = Open(temp / "old");
  ASSERT_TRUE(old.machine->InitializeCluster(OldCluster()).ok());
  const std::string checkpoint = temp / "checkpoint";
  ASSERT_TRUE(old.store->Checkpoint(checkpoint).ok());

  OpenedStorage fresh = Open(temp / "fresh");
  Options options;
  options.name = "n1";
  options.peer_advertise = "127.0.0.1:1";
  const Status founded = FoundCluster(options, checkpoint, 8, fresh.parts());
  ASSERT_TRUE(founded.ok()) << founded.ToString();
  const auto cluster = fresh.machine->cluster();
  EXPECT_EQ(cluster->cluster_id(), 8u);
  EXPECT_EQ(cluster->members_size(), 1);
  const auto& removed = cluster->removed_ids();
  EXPECT_EQ(std::vector<uint64_t>(removed.begin(), removed.end()),
            (std::vector<uint64_t>{20, 25, 30, 40, 50}));
}

}  // namespace
}  // namespace raftkv::runtime
