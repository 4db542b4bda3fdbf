#include "tests/simulation/sim_node.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "node/runtime/rebuild.h"
#include "node/runtime/recovery.h"
#include "node/runtime/restore.h"
#include "node/storage/write_behind.h"

namespace raftkv::sim {
namespace {

// Little, so that both what is gathered and what was written are often there.
const storage::WriteBehindOptions kGathered{.changes = 16, .bytes = 4096, .on_write = {}};
// What opening the databases writes, of a SimSpace.
constexpr uint64_t kOpening = 16;
// That a process has for its end, if the hand-over has not taken it.
constexpr Duration kShutdown = std::chrono::seconds(1);

}  // namespace

SimNode::SimNode(World* world, size_t host)
    : world_(world),
      host_(host),
      random_(world->random.Next()),
      clock_(&world->scheduler, random_, world->max_drift_ppm),
      options_(world->options) {
  options_.name = "n" + std::to_string(host + 1);
  options_.peer_advertise = options_.name + ":1";
  options_.data_dir = "/" + options_.name;
  Format();
}

SimNode::~SimNode() = default;

void SimNode::Format(std::shared_ptr<SimFiles> files) {
  CHECK(!running(), "a disk is not wiped under its process");
  // The member whose disk was copied lives on elsewhere.
  if (disk_ && !disk_->copied()) world_->checker.OnLost(id());
  ++formats_;
  disk_ = std::make_unique<SimDisk>(options_, &world_->coverage, &world_->checker, random_,
                                    std::move(files));
  disk_->state().SetFlushEvery(world_->flush_every);
  disk_->files().SetBeforeChange([this] {
    if (!world_->crashes_in_files || random_.Uniform(damaged() ? 40 : 100) > 0) return;
    world_->coverage.Hit(Path::crash_in_files);
    if (damaged()) world_->coverage.Hit(Path::set_aside_interrupted);
    throw ProcessEnds();
  });
  // Whoever starts this host may want to care for its damage alone.
  options_.rebuild_damaged = random_.Uniform(4) > 0;
}

void SimNode::FormatAs(const SimDisk::Image& image) {
  Format();
  disk_->LoadCopy(image);
}

void SimNode::KeepCopy() {
  (void)store_->View();  // writes what is gathered
  SimDisk::Image image = disk_->Copy();
  // The machine may be ahead of what its store has.
  storage::MemoryState store;
  store.Install(image.state.contents);
  const auto held = kv::StateMachine::Open(&store);
  CHECK(held.has_value(), "what a node has written can be read");
  image.config_index = raft::Index((*held)->cluster()->config_index());
  image.applied = {(*held)->applied().term, (*held)->applied().index};
  kept_copy_ = std::move(image);
}

// --- The process ---------------------------------------------------------------------------------

bool SimNode::Boot(runtime::Bootstrap bootstrap) {
  if (running() || damaged() || disk_->identity().removed()) return false;
  options_.bootstrap = std::move(bootstrap);
  try {
    if (Started()) return true;
  } catch (const ProcessEnds&) {  // NOLINT(bugprone-empty-catch): what follows is the end
  }
  AbandonStart();
  return false;
}

// As Node::Start, with runtime::OpenDirectory in it.
bool SimNode::Started() {
  const Result<std::optional<v1::MemberNote>> given_up =
      runtime::FinishSetAside(options_.data_dir, disk_->files());
  CHECK(given_up.has_value(), "DIR/rebuild is whole or not there");
  if (*given_up && (*given_up)->member_id() == id().value) MovedAside(id().value);
  if (disk_->rotten()) {
    StartDamaged();
    return false;
  }
  if (!MakeRoom()) return false;
  if (disk_->format() == SimDisk::Format::kOther) {
    const SimState::Image before = disk_->state().Copy();
    CheckRefusal(Open(), before);
    return false;
  }
  if (!Opened(Open())) return false;
  const Status place =
      runtime::TakePlaceOf(*given_up, disk_->identity(), &options_, disk_->files());
  CHECK(place.ok(), "the files of a directory can be written");
  if (options_.bootstrap.mode == runtime::Bootstrap::Mode::kRestore && disk_->blank() &&
      !options_.replaces) {
    if (!BeginFrom(*world_->begun_from).ok()) {
      world_->coverage.Hit(Path::restore_interrupted);
      return false;
    }
  }
  StartLoop();
  return true;
}

// The process ended before it ran.
void SimNode::AbandonStart() {
  if (damaged()) return;
  ++incarnation_;
  loop_.reset();
  machine_.reset();
  disk_->log().Crash(random_);
  LoseState();
  disk_->files().Crash(random_);
  disk_->Close();
}

// As Node::Start: the reserve goes if it must; with next to nothing left the databases do not open.
bool SimNode::MakeRoom() {
  SimSpace& space = disk_->space();
  space_guard_.emplace(
      options_.data_dir,
      runtime::SpaceGuard::Limits{.min_free_bytes = options_.min_free_bytes,
                                  .quota_bytes = options_.quota_bytes,
                                  .reserve_bytes = options_.reserve_bytes},
      &clock_, [&space] { return std::optional(space.free()); },
      runtime::SpaceGuard::Reserve{
          .held = [&space] { return space.reserve(); },
          .make = [&space](uint64_t bytes) { return space.MakeReserve(bytes); },
          .give_back =
              [this, &space] {
                world_->coverage.Hit(Path::reserve_given_back);
                space.GiveBackReserve();
              }});
  space_guard_->MakeRoom();
  if (space.Fits(kOpening)) return true;
  world_->coverage.Hit(Path::too_full_to_start);
  return false;
}

void SimNode::CheckRefusal(const Status& opened, const SimState::Image& before) {
  const SimState::Image after = disk_->state().Copy();
  const bool kept = after.contents == before.contents && after.installing == before.installing;
  if (opened.code() == Code::kFailedPrecondition && kept) {
    world_->coverage.Hit(Path::other_format_refused);
    return;
  }
  world_->checker.Fail("recovery: member " + HexId(id().value) +
                       " met a state that another program wrote: " + opened.ToString() +
                       (kept ? "" : ", and changed it"));
}

// Whether the process goes on, and whether that is right.
bool SimNode::Opened(const Status& opened) {
  const SimDisk::OldPart old = disk_->old_part();
  disk_->ForgetOldPart();
  if (opened.ok()) {
    if (disk_->format() == SimDisk::Format::kOwnAgain) {
      world_->coverage.Hit(Path::other_program_back);
      disk_->ForgetFormat();
    }
    if (old == SimDisk::OldPart::kState) world_->coverage.Hit(Path::old_state_replayed);
    if (old != SimDisk::OldPart::kLog) return true;
    world_->checker.Fail("recovery: member " + HexId(id().value) +
                         " starts, though its log lacks what its state has applied");
    return false;
  }
  const bool expected = opened.code() == Code::kCorruption && old != SimDisk::OldPart::kNone;
  if (expected) {
    world_->coverage.Hit(old == SimDisk::OldPart::kLog ? Path::old_log_refused
                                                       : Path::old_state_refused);
    disk_->Rot(world_->scheduler.now());
    return false;
  }
  world_->checker.Fail("recovery: member " + HexId(id().value) +
                       " does not start: " + opened.ToString());
  return false;
}

// As runtime::RestoreSnapshot, after the file is unpacked; a crash may come in between.
Status SimNode::BeginFrom(const Backup& backup) {
  const std::string incoming = disk_->dir().snapshots_path() + "/incoming";
  disk_->checkpoints()[incoming] = backup.contents;
  const Status crash{Code::kIoError, "the process ends here"};
  if (random_.Uniform(4) == 0) disk_->log().FailNext(crash);
  if (random_.Uniform(4) == 0) disk_->state().FailNext(crash);
  RETURN_IF_ERROR(
      runtime::FoundCluster(options_, incoming, random_.Next() | 1,
                            {&disk_->dir(), &disk_->log(), store_.get(), machine_.get()}));
  disk_->state().Confirm();
  world_->checker.OnClusterState(id(), *machine_->cluster());
  world_->coverage.Hit(Path::cluster_restored);
  return Status::Ok();
}

// As runtime::OpenStorage.
Status SimNode::Open() {
  disk_->checkpoints().clear();
  RETURN_IF_ERROR(disk_->Open(options_, random_));
  store_ = storage::WriteBehind(&disk_->state(), kGathered);
  const raft::EntryId log_begins = disk_->log().compacted();
  ASSIGN_OR_RETURN_STATUS(std::unique_ptr<kv::StateMachine> machine,
                          runtime::OpenMachine(disk_->dir(), &disk_->log(), store_.get()));
  if (disk_->log().compacted() != log_begins) world_->coverage.Hit(Path::reconciled);
  machine_ = std::make_unique<ProbedMachine>(
      &disk_->log(), id(), std::move(machine), &world_->checker, &world_->coverage,
      [this] { return apply_delay_ == Duration(0) && random_.Uniform(2) == 0; },
      [this](const v1::ClusterState& before, const v1::ClusterState& state) {
        CountRebuilt(before, state);
        const bool joint = !state.conf().voters_outgoing().empty();
        Announce(joint ? Moment::joint_entered : Moment::joint_left);
      });
  return Status::Ok();
}

void SimNode::StartLoop() {
  const runtime::FatalFn fatal = [](const Status&) { throw ProcessEnds(); };
  core_random_ = std::make_unique<SeededRandom>(random_.Next());
  runtime::NodeLoop::Env env;
  env.options = &options_;
  env.clock = &clock_;
  env.random = core_random_.get();
  env.files = &disk_->files();
  env.storage = {
      .dir = &disk_->dir(), .log = &disk_->log(), .store = store_.get(), .machine = machine_.get()};
  env.space = &*space_guard_;
  env.logger = &logger_;
  env.threads = this;
  env.append.done = [this](size_t jobs, std::vector<raft::Message> responses) {
    appended_.push_back({jobs, std::move(responses)});
  };
  env.append.fatal = [this](const Status&) {
    world_->coverage.Hit(Path::fsync_failed);
    throw ProcessEnds();
  };
  env.apply.done = [this](runtime::ApplyDone done) {
    applied_.push_back(std::move(done));
    // Not of the apply thread's turn, at whose end it is told otherwise.
    if (!apply_busy_) TellApplied();
  };
  env.apply.fatal = fatal;
  env.apply.on_batch = [this](Duration, size_t) {
    if (!ComesToCrashPoint(EventKind::kApplied)) return;
    world_->coverage.Hit(Path::crash_after_apply);
    throw ProcessEnds();
  };
  env.sleep = [this](Duration duration) { SleepForSpace(*running_thread_, duration); };
  env.on_removed = [this] { removed_ = true; };
  env.fatal = fatal;
  env.first_request_id = random_.Next() | 1;
  env.describe = [this](const std::string& dir, uint64_t cluster, uint64_t snapshot) {
    return Describe(dir, cluster, snapshot);
  };
  env.remove_dir = [this](const std::string& dir) { disk_->checkpoints().erase(dir); };
  loop_ = std::make_unique<runtime::NodeLoop>(std::move(env));
  loop_->LookAtDisk();
  loop_->Start(this);
  ScheduleLook();
  ScheduleTick();
  AfterEvent(EventKind::kTick);
}

void SimNode::Crash() {
  if (!running() && !damaged()) return;
  if (disk_->files().has_unsynced()) disk_->files().Crash(random_);
  if (damaged()) return End();
  if (append_thread_.asleep() || apply_thread_.asleep()) {
    world_->coverage.Hit(Path::ended_without_room);
  }
  append_thread_.Cancel();
  apply_thread_.Cancel();
  disk_->log().Crash(random_);
  LoseState();
  End();
}

void SimNode::LoseState() {
  // What was gathered is not written any more.
  disk_->state().FailNext({Code::kIoError, "the process is gone"});
  store_.reset();
  disk_->state().Crash();
}

void SimNode::Shutdown() {
  if (!running()) return;
  OnRaftThread([](runtime::Replica& replica) { replica.HandOver("this node stops"); });
  Schedule(EventKind::kTimer, Jitter(1'000'000), [this] {
    loop_->RefuseRequests();
    const bool in_time = random_.Uniform(4) > 0;
    loop_->FinishWork(Now() + (in_time ? kShutdown : Duration(0)));
    loop_->AnswerAll();
    throw ProcessEnds();
  });
}

void SimNode::CountLateReadAnswers() {
  const uint64_t late = replica().counters().read_answers_late.load();
  for (; late_answers_seen_ < late; ++late_answers_seen_) {
    world_->coverage.Hit(Path::read_index_stale);
  }
}

void SimNode::End() {
  ++incarnation_;
  late_answers_seen_ = 0;
  paused_ = false;
  crash_point_.reset();
  damaged_.reset();
  loop_.reset();
  machine_.reset();
  space_guard_.reset();
  store_.reset();
  disk_->Close();
  identity_ = {};
  streams_.clear();
  calls_.clear();
  transfers_.clear();
  receiving_from_ = SIZE_MAX;
  for (const auto& node : world_->nodes) {
    if (node->receiving_from_ == host_) node->receiving_from_ = SIZE_MAX;
  }
  removed_ = append_busy_ = apply_busy_ = false;
  ending_ = starts_again_ = false;
  appended_.clear();
  applied_.clear();
  backlog_.clear();
  world_->on_process_end(*this);
}

void SimNode::Pause() {
  if (!running() || paused_) return;
  paused_ = true;
  world_->coverage.Hit(Path::node_paused);
}

void SimNode::Resume() {
  if (!paused_) return;
  paused_ = false;
  std::vector<std::pair<EventKind, Work>> backlog = std::exchange(backlog_, {});
  const uint64_t incarnation = incarnation_;
  for (auto& [kind, work] : backlog) Fire(incarnation, kind, std::move(work));
}

void SimNode::FailNextSync() { disk_->log().FailNext({Code::kIoError, "the disk does not write"}); }

void SimNode::ClearFaults() {
  crash_point_.reset();
  disk_->log().FailNext(Status::Ok());
  disk_->state().FailNext(Status::Ok());
  disk_delay_ = apply_delay_ = Duration(0);
  disk_->space().Clear();
  clock_.SetUsualSpeed();
  Resume();
}

// --- Events --------------------------------------------------------------------------------------

Scheduler::Event SimNode::Firing(EventKind kind, Work work) {
  return [this, incarnation = incarnation_, kind, work = std::move(work)]() mutable {
    Fire(incarnation, kind, std::move(work));
  };
}

void SimNode::Schedule(EventKind kind, Duration delay, Work work) {
  world_->scheduler.After(delay, Firing(kind, std::move(work)));
}

void SimNode::ScheduleLocal(EventKind kind, Duration delay, Work work) {
  clock_.After(delay, Jitter(200), Firing(kind, std::move(work)));
}

void SimNode::Post(EventKind kind, Work work) {
  last_post_ = std::max(last_post_, world_->scheduler.now() + Jitter(50));
  Schedule(kind, last_post_ - world_->scheduler.now(), std::move(work));
}

void SimNode::Fire(uint64_t incarnation, EventKind kind, Work work) {
  if (incarnation != incarnation_) return;
  if (paused_) return backlog_.emplace_back(kind, std::move(work)), void();
  Run(kind, work);
}

bool SimNode::ComesToCrashPoint(EventKind kind) {
  if (!crash_point_ || crash_point_->kind != kind || --crash_point_->left > 0) return false;
  world_->coverage.Hit(Path::crash_at_point);
  return true;
}

void SimNode::Run(EventKind kind, const Work& work) {
  bool crash = false;
  if (ComesToCrashPoint(kind)) {
    if (crash_point_->before) return Crash();
    crash = true;
  }
  try {
    work();
  } catch (const ProcessEnds&) {
    return Crash();
  }
  if (running()) AfterEvent(kind);
  if (crash) return Crash();
  if (starts_again_) {
    End();
    Boot(options_.bootstrap);
  }
}

void SimNode::AfterEvent(EventKind kind) {
  Scheduler& scheduler = world_->scheduler;
  scheduler.Trace((host_ << 8) | static_cast<uint64_t>(kind));
  if (const raft::Core* core = replica().core()) {
    scheduler.Trace(core->term().value);
    scheduler.Trace(core->committed().value);
    scheduler.Trace(core->last_index().value);
    if (disk_->copied()) {
      world_->checker.OnStepOfCopy(id(), *core);
    } else if (world_->checker.OnStep(id(), *core, disk_->log())) {
      if (core->role() == raft::Role::kLeader) {
        Announce(Moment::leader_elected);
      } else if (core->role() != raft::Role::kFollower) {
        Announce(Moment::campaign);
      }
    }
    if (world_->print_events) {
      std::fprintf(stderr, "%12.6f %s kind %d role %d term %llu commit %llu last %llu\n",
                   static_cast<double>(scheduler.now().count()) / 1e9, options_.name.c_str(),
                   static_cast<int>(kind), static_cast<int>(core->role()),
                   static_cast<unsigned long long>(core->term().value),
                   static_cast<unsigned long long>(core->committed().value),
                   static_cast<unsigned long long>(core->last_index().value));
    }
  }
  if (waits_for_space() && leads() && replica().core()->transferee() != raft::kNone) {
    world_->coverage.Hit(Path::leader_hands_over);
  }
  // What is being answered still goes out.
  if (removed_ && !std::exchange(ending_, true)) {
    world_->coverage.Hit(Path::node_tombstoned);
    Schedule(EventKind::kTimer, Jitter(50'000), [this] {
      world_->on_removed(*this);
      throw ProcessEnds();
    });
  }
}

void SimNode::Announce(Moment moment) {
  world_->scheduler.After(Duration(0), [this, incarnation = incarnation_, moment] {
    if (incarnation == incarnation_ && running()) world_->on_moment(moment, *this);
  });
}

void SimNode::PostReady() {
  Post(EventKind::kReady, [this] {
    loop_->ProcessReady();
    CountLateReadAnswers();
  });
}

void SimNode::PostRequests() {
  Post(EventKind::kRequest, [this] { loop_->DrainRequests(); });
}

void SimNode::Post(Work work) {
  Post(EventKind::kPost, [this, work = std::move(work)] { loop_->Run(work); });
}

void SimNode::PostAfter(Duration delay, Work work) {
  ScheduleLocal(EventKind::kTimer, delay, [this, work = std::move(work)] { loop_->Run(work); });
}

void SimNode::ScheduleTick() {
  ScheduleLocal(EventKind::kTick, options_.tick, [this] {
    if (damaged()) {
      damaged_->OnTick();
    } else {
      MaintainStreams();
      loop_->OnTick();
    }
    ScheduleTick();
  });
}

// --- Requests ------------------------------------------------------------------------------------

uint64_t SimNode::Write(v1::Command command, Duration timeout, runtime::WriteCallback done) {
  return loop_->Write(std::move(command), Now() + timeout, std::move(done));
}

void SimNode::Read(runtime::Consistency consistency, Duration timeout,
                   runtime::BarrierCallback done) {
  loop_->Read(consistency, Now() + timeout, std::move(done));
}

void SimNode::Request(Work work) { Fire(incarnation_, EventKind::kRequest, std::move(work)); }

void SimNode::Later(Duration delay, Work work) {
  Schedule(EventKind::kRequest, delay, std::move(work));
}

void SimNode::OnRaftThread(std::function<void(runtime::Replica&)> work) {
  Post(EventKind::kRequest,
       [this, work = std::move(work)] { loop_->Run([&] { work(loop_->replica()); }); });
}

}  // namespace raftkv::sim
