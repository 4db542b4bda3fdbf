// SimDisk: what a host keeps when its process ends: identity, log, state and checkpoints.
//
// Thread-safety: none.
#pragma once

#include <memory>
#include <string>

#include "base/random.h"
#include "node/storage/data_dir.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_state.h"

namespace raftkv::sim {

class SimDisk final : public storage::DataDir {
 public:
  // A formatted disk: a new random member id, blank.
  SimDisk(std::string path, const std::string& name, Coverage* coverage, LogObserver* observer,
          Random& random)
      : path_(std::move(path)),
        log_(coverage, observer),
        state_(coverage, &checkpoints_, random.Next()) {
    identity_.set_format(storage::kDataFormat);
    // Never 0, nor one of the core's own numbers.
    identity_.set_member_id((random.Next() >> 1) | 1);
    identity_.set_name(name);
    log_.SetNode(raft::NodeId(identity_.member_id()));
  }

  SimLog& log() { return log_; }
  const SimLog& log() const { return log_; }
  SimState& state() { return state_; }
  Checkpoints& checkpoints() { return checkpoints_; }

  raft::NodeId id() const { return raft::NodeId(identity_.member_id()); }
  bool blank() const { return identity_.cluster_id() == 0; }
  // Damaged beyond what a node starts with.
  bool rotten() const { return rotten_; }
  void Rot() { rotten_ = true; }

  // --- Copies

  struct Image {
    v1::Identity identity;
    SimLog::Image log;
    SimState::Image state;
    raft::Index config_index;  // of the configuration that the state has applied
    raft::EntryId applied;
  };
  // Becomes what `image` is a copy of, on another host: two disks have this identity now.
  void LoadCopy(const Image& image) {
    identity_ = image.identity;
    log_.SetNode(id());
    log_.Load(image.log);
    state_.Load(image.state);
    copied_ = true;
  }
  bool copied() const { return copied_; }

  // A part of this disk that somebody has put back as it once was.
  enum class OldPart { kNone, kState, kLog };
  void LoadOldState(const Image& image) {
    state_.Load(image.state);
    old_part_ = OldPart::kState;
  }
  void LoadOldLog(const Image& image) {
    log_.Load(image.log);
    old_part_ = OldPart::kLog;
  }
  OldPart old_part() const { return old_part_; }
  void ForgetOldPart() { old_part_ = OldPart::kNone; }

  // --- DataDir

  const std::string& path() const override { return path_; }
  std::string log_path() const override { return path_ + "/log"; }
  std::string state_path() const override { return path_ + "/state"; }
  std::string snapshots_path() const override { return path_ + "/snapshots"; }
  const v1::Identity& identity() const override { return identity_; }
  Status SetIdentity(const v1::Identity& identity) override {
    identity_ = identity;
    return Status::Ok();
  }

 private:
  const std::string path_;
  v1::Identity identity_;
  Checkpoints checkpoints_;
  SimLog log_;
  SimState state_;
  bool rotten_ = false;
  bool copied_ = false;
  OldPart old_part_ = OldPart::kNone;
};

}  // namespace raftkv::sim
