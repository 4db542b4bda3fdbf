// SimNode: a host with a disk, and the process that runs on it: the node's own NodeLoop, with
// events of the simulation around it where NodeImpl has threads and sockets.
//
// A thread of the real node is a chain of events here: the raft thread's posts keep their order,
// the append and the apply worker run one job after the other, and each waits for a random moment.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "node/raft/logger.h"
#include "node/runtime/damaged_member.h"
#include "node/runtime/node_loop.h"
#include "node/transport/frame.h"
#include "tests/simulation/host_clock.h"
#include "tests/simulation/probed_machine.h"
#include "tests/simulation/sim_thread.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {

// Kinds of events of a node; a crash can be asked for at the n-th of a kind.
enum class EventKind : uint8_t {
  kTick,
  kReady,
  kMessages,
  kCall,
  kReply,
  kRequest,
  kPost,
  kAppendStart,
  kAppendEnd,
  kAppendDone,
  kApplyStart,
  kApplied,  // a batch, and nobody has been told: no event, only for CrashAt
  kApplyReplace,
  kApplyEnd,
  kJanitor,
  kLook,  // at the disk
  kSnapshotReceived,
  kSnapshotSent,
  kTimer,
  kCount,
};

class SimNode final : public transport::Transport, private runtime::NodeLoop::Threads {
 public:
  SimNode(World* world, size_t host);
  ~SimNode() override;

  // --- The host

  size_t host() const { return host_; }
  const runtime::Options& options() const { return options_; }
  const std::string& address() const { return options_.peer_advertise; }
  SimDisk& disk() { return *disk_; }
  const SimDisk& disk() const { return *disk_; }
  raft::NodeId id() const { return disk_->id(); }
  // A new, empty disk with a new identity; the process must not run.
  void Format() { Format(std::make_shared<SimFiles>(&world_->coverage)); }
  // Likewise, but as a copy of another host's disk.
  void FormatAs(const SimDisk::Image& image);
  // Keeps a copy of the disk as it is; what has been kept, if anything.
  void KeepCopy();
  const std::optional<SimDisk::Image>& kept_copy() const { return kept_copy_; }
  // How many disks it has had.
  uint64_t formats() const { return formats_; }

  // --- The process

  // Starts it with these bootstrap rules; false if the disk does not let it.
  bool Boot(runtime::Bootstrap bootstrap = {});
  // As a member, or blank; damaged(): in the place of a member whose disk is rotten.
  bool running() const { return loop_ != nullptr; }
  bool damaged() const { return damaged_ != nullptr; }
  // Whom it asks for its place, if its data are damaged or were moved aside; none: nobody.
  std::vector<std::string> asks_for_place() const;
  // Which process this is: changes whenever one ends.
  uint64_t incarnation() const { return incarnation_; }
  // Ends it at once.
  void Crash();
  // Hands leadership over, flushes if there is time, and ends, within a second.
  void Shutdown();
  // Nothing runs until Resume; what comes in meanwhile waits.
  void Pause();
  void Resume();
  bool paused() const { return paused_; }
  // Ends the process at the n-th next event of this kind, just before or just after it.
  void CrashAt(EventKind kind, uint64_t n, bool before) { crash_point_ = {kind, n, before}; }

  HostClock& clock() { return clock_; }

  // --- Its disk's faults

  void SlowDisk(Duration until_done) { disk_delay_ = until_done; }
  void SlowApply(Duration each) { apply_delay_ = each; }
  void FailNextSync();
  // Crash points, faults of the disk and of the clock, and pauses end.
  void ClearFaults();
  // Others fill the disk until so much is left; nullopt: they have gone.
  void SetFree(std::optional<uint64_t> bytes);
  // Some worker waits for space.
  bool waits_for_space() const { return loop_ && loop_->waits_for_space(); }

  // --- Requests, as from a client; each is answered once, or never if the process ends

  // Runs `work` as an event of the process: at once, or when it runs again after a pause.
  void Request(std::function<void()> work);
  void Later(Duration delay, std::function<void()> work);
  // Returns the request's id.
  uint64_t Write(v1::Command command, Duration timeout, runtime::WriteCallback done);
  void Read(runtime::Consistency consistency, Duration timeout, runtime::BarrierCallback done);
  // Runs `work` on the raft thread.
  void OnRaftThread(std::function<void(runtime::Replica&)> work);

  runtime::Replica& replica() { return loop_->replica(); }
  const runtime::Replica& replica() const { return loop_->replica(); }
  const ProbedMachine& machine() const { return *machine_; }
  bool leads() const { return running() && replica().is_leader(); }
  MonotonicTime Now() const { return clock_.Now(); }

  // --- What the network hands over (sim_transport.cc)

  void Arrive(raft::NodeId from, uint64_t cluster, std::vector<raft::Message> messages);

  // --- transport::Transport

  Status Start() override { return Status::Ok(); }
  uint16_t port() const override { return 1; }
  void Stop() override {}
  void SetIdentity(const transport::LocalIdentity& identity) override { identity_ = identity; }
  void SetPeers(const std::map<raft::NodeId, std::string>& peers) override;
  void Poke(raft::NodeId peer) override;
  void Send(std::vector<raft::Message> messages) override;
  void Call(raft::NodeId to, v1::PeerCall call,
            std::function<void(Result<v1::PeerReply>)> done) override;
  void Forward(raft::NodeId to, v1::PeerCall call,
               std::function<void(v1::PeerReply)> refused) override;
  void CallAddress(const std::string& address, v1::PeerCall call,
                   std::function<void(Result<v1::PeerReply>)> done) override;
  void SendSnapshot(raft::Message message, std::string dir) override;
  std::map<raft::NodeId, transport::PeerStats> stats() const override { return {}; }

 private:
  using Work = std::function<void()>;
  using Worker = runtime::NodeLoop::Worker;
  // Thrown where the real process would end; nothing catches it but the loop of events.
  struct ProcessEnds {};
  using CallDone = std::function<void(Result<v1::PeerReply>)>;

  // The host's own monotonic clock: begins anywhere, runs a little fast or slow.
  class SilentLogger final : public raft::Logger {
   public:
    bool Enabled(raft::LogLevel) const override { return false; }
    void Log(raft::LogLevel, std::string_view) override {}
  };
  struct Stream {
    std::string address;
    SimNode* target = nullptr;  // who listens there
    bool up = false;
    uint64_t target_incarnation = 0;
    SimTime next_dial{0};
    SimTime cut_since{-1};
  };
  struct CrashPoint {
    EventKind kind = EventKind::kTick;
    uint64_t left = 0;
    bool before = false;
  };

  // NodeLoop::Threads
  void PostReady() override;
  void PostRequests() override;
  void Post(Work work) override;
  void PostAfter(Duration delay, Work work) override;
  void Wake(Worker worker) override;
  void Finish(Worker worker) override;
  void PostToJanitor(Work job) override;

  // sim_node.cc
  void Format(std::shared_ptr<SimFiles> files);
  bool Started();
  void AbandonStart();
  bool MakeRoom();
  Status Open();
  bool Opened(const Status& opened);
  // Of a state that another program wrote: it is refused, not called damaged, and stays as it is.
  void CheckRefusal(const Status& opened, const SimState::Image& before);
  Status BeginFrom(const Backup& backup);
  void StartDamaged();
  Status SetAside();
  void MovedAside(uint64_t member);
  void CountRebuilt(const v1::ClusterState& before, const v1::ClusterState& after);
  void StartLoop();
  void CountLateReadAnswers();
  void End();
  void LoseState();
  // Runs `work` as an event of this process after `delay`.
  void Schedule(EventKind kind, Duration delay, Work work);
  // `delay` by the host's clock.
  void ScheduleLocal(EventKind kind, Duration delay, Work work);
  Scheduler::Event Firing(EventKind kind, Work work);
  // Likewise, in the order of the calls: what the raft thread is posted.
  void Post(EventKind kind, Work work);
  void Fire(uint64_t incarnation, EventKind kind, Work work);
  bool ComesToCrashPoint(EventKind kind);
  void Run(EventKind kind, const Work& work);
  void AfterEvent(EventKind kind);
  // After the event under way, if the process lives on.
  void Announce(Moment moment);
  void ScheduleTick();
  Result<v1::SnapshotManifest> Describe(const std::string& dir, uint64_t cluster,
                                        uint64_t snapshot) const;
  void StartAppend();
  void RunAppend();
  void AfterAppend(bool ended);
  void FinishAppend();
  void TellAppended();
  void StartApply();
  void AfterApply(bool ended);
  void FinishApply();
  void TellApplied();
  // Runs a worker as far as it comes: true if it has ended, false if it waits for space.
  bool RunWorker(SimThread& thread, const Work& run);
  bool Resume(SimThread& thread);
  void SleepForSpace(SimThread& thread, Duration duration);
  // The worker of `thread` sleeps; `after` is called when it has gone on.
  void AwaitSpace(SimThread& thread, void (SimNode::*after)(bool ended));
  void ScheduleLook();
  Duration Jitter(uint64_t max_us) { return std::chrono::microseconds(random_.Uniform(max_us)); }
  Duration DiskTime(uint64_t usual_us);

  // sim_transport.cc
  bool listens() const { return running() || (damaged_ && damaged_->asks()); }
  transport::Handler& handler() const {
    return damaged_ ? static_cast<transport::Handler&>(*damaged_) : loop_->replica();
  }
  transport::ReplyFn CheckAgreement(uint64_t damaged, transport::ReplyFn reply);
  void MaintainStreams();
  void Dial(raft::NodeId peer, Stream& stream);
  v1::HelloReply Judge(const SimNode& dialer, v1::Hello::Purpose purpose,
                       raft::NodeId target) const;
  void Trace(const raft::Message& message);
  void SendOn(const Stream& stream, std::vector<raft::Message> messages, SimTime arrival);
  void CallOver(raft::NodeId to, v1::PeerCall call, CallDone done, bool only_refusals);
  void Deliver(SimNode* target, EventKind kind, SimTime arrival,
               std::function<void(SimNode&)> work);
  uint64_t Expect(CallDone done);
  void Answer(uint64_t call, Result<v1::PeerReply> reply);
  transport::ReplyFn ReplyTo(SimNode* caller, uint64_t call);
  void FinishSnapshot(SimNode* target, uint64_t transfer, const raft::Message& message,
                      const std::string& dir);
  void SnapshotOver(raft::NodeId to, uint64_t transfer, bool ok, Duration delay);

  World* const world_;
  const size_t host_;
  SeededRandom random_;
  HostClock clock_;
  runtime::Options options_;
  std::unique_ptr<SimDisk> disk_;
  std::optional<SimDisk::Image> kept_copy_;
  uint64_t formats_ = 0;
  uint64_t incarnation_ = 1;
  bool paused_ = false;
  Duration disk_delay_{0};
  Duration apply_delay_{0};
  std::optional<CrashPoint> crash_point_;

  // The process; reset when it ends.
  std::unique_ptr<storage::StateStore> store_;
  std::unique_ptr<ProbedMachine> machine_;
  std::optional<runtime::SpaceGuard> space_guard_;
  std::unique_ptr<SeededRandom> core_random_;
  std::unique_ptr<runtime::NodeLoop> loop_;
  std::unique_ptr<runtime::DamagedMember> damaged_;  // in its place
  SilentLogger logger_;
  transport::LocalIdentity identity_;
  std::map<raft::NodeId, Stream> streams_;
  transport::ByteBuffer wire_;  // of the message that is traced
  std::map<uint64_t, CallDone> calls_;
  uint64_t next_call_ = 1;
  std::map<raft::NodeId, uint64_t> transfers_;  // the newest of each peer
  uint64_t next_transfer_ = 1;
  size_t receiving_from_ = SIZE_MAX;  // host
  bool removed_ = false;
  bool ending_ = false;        // ... and about to stop
  bool starts_again_ = false;  // the data of the damaged member are moved aside
  uint64_t late_answers_seen_ = 0;
  SimTime last_post_{0};
  SimThread append_thread_;
  SimThread apply_thread_;
  SimThread* running_thread_ = nullptr;  // which of them it is, while one runs
  uint64_t conflicts_seen_ = 0;          // of all nodes, when the append worker began
  bool append_busy_ = false;
  bool apply_busy_ = false;
  struct Appended {
    size_t jobs;
    std::vector<raft::Message> responses;
  };
  std::vector<Appended> appended_;
  std::vector<runtime::ApplyDone> applied_;
  std::vector<std::pair<EventKind, Work>> backlog_;  // of a paused process
};

}  // namespace raftkv::sim
