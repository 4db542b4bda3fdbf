// SimDisk: what a host keeps when its process ends: the files of its data directory, log, state and
// checkpoints.
//
// The files are the real ones (storage::DataDir, runtime/rebuild.h) in a SimFiles. Of log and state
// they hold a mark that the directory is there.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "node/runtime/options.h"
#include "node/storage/data_dir.h"
#include "tests/simulation/scheduler.h"
#include "tests/simulation/sim_files.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_space.h"
#include "tests/simulation/sim_state.h"

namespace raftkv::sim {

class SimDisk {
 public:
  // A directory that was opened once: a new random member id, blank. `files`: what is there
  // already, which is no identity.
  SimDisk(const runtime::Options& options, Coverage* coverage, LogObserver* observer,
          Random& random, std::shared_ptr<SimFiles> files);

  // --- The process's side

  // As runtime::OpenMemberDir, and with the databases, but for the machine.
  Status Open(const runtime::Options& options, Random& random);
  // The one that is open.
  storage::DataDir& dir() { return *dir_; }
  SimFiles& files() { return *files_; }
  const std::shared_ptr<SimFiles>& shared_files() const { return files_; }
  // The process has ended. What identity the next one finds, this knows from now on.
  void Close();

  SimLog& log() { return log_; }
  const SimLog& log() const { return log_; }
  SimState& state() { return state_; }
  Checkpoints& checkpoints() { return checkpoints_; }
  SimSpace& space() { return space_; }
  const SimSpace& space() const { return space_; }

  // As the process knows it, or as the next one will find it.
  const v1::Identity& identity() const { return dir_ ? dir_->identity() : identity_; }
  raft::NodeId id() const { return raft::NodeId(identity().member_id()); }
  bool blank() const { return identity().cluster_id() == 0; }

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
  // The identity cannot be read either, or DIR/members is not there.
  void RotIdentity() { files_->Rot(path_ + "/identity"); }
  void LoseMembers() { files_->Erase(path_ + "/members"); }

  // A member has been given up here whose place is not taken yet (node/runtime/rebuild.h).
  bool rebuilds() const { return files_->Exists(path_ + "/rebuild"); }
  // Which member's data were moved aside when this disk began; 0: none.
  uint64_t place_of() const { return place_of_; }
  void BeginInPlaceOf(uint64_t member) { place_of_ = member; }

  // --- Copies

  struct Image {
    v1::Identity identity;
    std::string identity_file;
    SimLog::Image log;
    SimState::Image state;
    raft::Index config_index;  // of the configuration that the state has applied
    raft::EntryId applied;
  };
  // What a copy of all of it would hold, but for what is known of the machine.
  Image Copy() const;
  // Becomes what `image` is a copy of, on another host: two disks have this identity now.
  void LoadCopy(const Image& image);
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

  // Whose format the state has: this program's, or that of an older or a later one, until that one
  // goes on with it. The process must not run. False: nothing is stored yet, that has a format.
  enum class Format { kOwn, kOther, kOwnAgain };
  bool WriteInFormat(uint32_t format);
  void WriteInOwnFormat();
  Format format() const { return format_; }
  void ForgetFormat() { format_ = Format::kOwn; }

 private:
  // As opening a database: a new one, if that may be.
  Status OpenDatabase(const std::string& path, bool may_be_made, const std::function<void()>& make);

  const std::string path_;
  const std::shared_ptr<SimFiles> files_;
  std::unique_ptr<storage::DataDir> dir_;  // of the process
  v1::Identity identity_;                  // what was found last, when none runs
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
  uint64_t place_of_ = 0;
  bool copied_ = false;
  OldPart old_part_ = OldPart::kNone;
  Format format_ = Format::kOwn;
};

}  // namespace raftkv::sim
