// SimDisk: what a host keeps when its process ends: identity, log, state and checkpoints.
//
// Thread-safety: none.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "node/storage/data_dir.h"
#include "tests/simulation/scheduler.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_space.h"
#include "tests/simulation/sim_state.h"

namespace raftkv::sim {

class SimDisk final : public storage::DataDir {
 public:
  // A formatted disk: a new random member id, blank.
  SimDisk(std::string path, const std::string& name, Coverage* coverage, LogObserver* observer,
          Random& random)
      : path_(std::move(path)),
        log_(coverage, observer),
        state_(coverage, &checkpoints_, random.Next()),
        space_([this] { return log_.stored_bytes() + state_.stored_bytes(); }) {
    log_.SetSpace(&space_);
    state_.SetSpace(&space_);
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
  SimSpace& space() { return space_; }
  const SimSpace& space() const { return space_; }

  raft::NodeId id() const { return raft::NodeId(identity_.member_id()); }
  bool blank() const { return identity_.cluster_id() == 0; }

  // --- Damage

  // Damaged beyond what a node starts with.
  bool rotten() const { return damage_ != Damage::kNone; }
  // ... but some time later it can be read again, as it was.
  bool rotten_for_now() const { return damage_ == Damage::kForNow; }
  SimTime rotten_since() const { return rotten_since_; }
  void Rot(SimTime now) { Damaged(Damage::kForGood, now); }
  void RotForNow(SimTime now) {
    if (!rotten()) Damaged(Damage::kForNow, now);
  }
  void Mend() { damage_ = Damage::kNone; }
  // The identity cannot be read either.
  void RotIdentity() { identity_rotten_ = true; }
  std::optional<v1::Identity> readable_identity() const {
    return identity_rotten_ ? std::nullopt : std::optional(identity_);
  }

  // DIR/members and DIR/rebuild (node/runtime/rebuild.h).
  std::optional<v1::MemberNote>& members() { return members_; }
  std::optional<v1::MemberNote>& rebuild() { return rebuild_; }
  const std::optional<v1::MemberNote>& rebuild() const { return rebuild_; }
  // Which member's data were moved aside when this disk began; 0: none.
  uint64_t place_of() const { return place_of_; }
  void BeginInPlaceOf(const v1::MemberNote& given_up) {
    rebuild_ = given_up;
    place_of_ = given_up.member_id();
  }

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
  SimSpace space_;
  enum class Damage { kNone, kForGood, kForNow };
  void Damaged(Damage damage, SimTime now) {
    damage_ = damage;
    rotten_since_ = now;
  }
  Damage damage_ = Damage::kNone;
  SimTime rotten_since_{0};
  bool identity_rotten_ = false;
  std::optional<v1::MemberNote> members_;
  std::optional<v1::MemberNote> rebuild_;
  uint64_t place_of_ = 0;
  bool copied_ = false;
  OldPart old_part_ = OldPart::kNone;
};

}  // namespace raftkv::sim
