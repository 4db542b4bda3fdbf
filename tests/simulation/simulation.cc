#include "tests/simulation/simulation.h"

#include <algorithm>
#include "base/log.h"
#include "tests/linearizability/checker.h"
#include "tests/simulation/answers.h"
#include "tests/simulation/clients.h"
#include "tests/simulation/liveness.h"
#include "tests/simulation/profiles.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

constexpr size_t kHosts = 7;
// From the end of the faults until everything works again: many election timeouts, and the waits of
// redials, calls and transfers.
constexpr Duration kHealWithin = std::chrono::seconds(90);
constexpr uint64_t kCheckSteps = 20'000'000;
constexpr Duration kHashEvery = std::chrono::seconds(7);

// What a seed stands for, beside the runs' own numbers.
struct Plan {
  explicit Plan(const RunOptions& run);
  void Swarm(Random& random, FaultOptions* fault_options);
  void Follow(const Profile& profile, Random& random, FaultOptions* fault_options);
  void BusyClients(Random& random);
  void SlowLinks(Random& random, uint64_t most_append_bytes);
  void ShortLog(Random& random);

  uint64_t world_seed = 0;
  size_t first_members = 3;
  runtime::Options options;
  uint64_t flush_every = 0;
  int64_t max_drift_ppm = 0;
  ClientOptions clients;
  LinkProfile network;
  AmbushOptions ambushes;
  std::vector<Fault> faults;
  SimTime faults_end{0};
};

Plan::Plan(const RunOptions& run) {
  SeededRandom random(run.seed);
  world_seed = random.Next();
  constexpr size_t kSizes[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 5};
  first_members = kSizes[random.Uniform(std::size(kSizes))];
  // Small numbers, so that limits and snapshots are met all the time.
  options.log_keep_entries = 10 + random.Uniform(150);
  options.flush_after_bytes = 1000 + random.Uniform(20'000);
  options.max_append_bytes = random.Uniform(3) == 0 ? 200 + random.Uniform(2000) : 1 << 20;
  options.max_inflight_appends =
      random.Uniform(3) == 0 ? 1 + static_cast<int>(random.Uniform(8)) : 256;
  options.max_apply_bytes = random.Uniform(3) == 0 ? 100 + random.Uniform(2000) : 4 << 20;
  options.compact_keep_revisions = 0;
  options.compact_keep_age = Duration(0);
  flush_every = 1 + random.Uniform(60);
  max_drift_ppm = random.Uniform(2) == 0 ? 0 : static_cast<int64_t>(random.Uniform(20'000));
  clients.clients = 1 + random.Uniform(6);
  clients.keys = 1 + random.Uniform(6);
  clients.think_time = std::chrono::milliseconds(100 + random.Uniform(1500));
  FaultOptions fault_options;
  fault_options.end = std::chrono::seconds(30 + random.Uniform(90));
  fault_options.mean_gap = std::chrono::milliseconds(300 + random.Uniform(4000));
  const std::span<const Profile> profiles = Profiles();
  const uint64_t choice = random.Uniform(2 * profiles.size());
  const Profile* profile = choice < profiles.size() ? &profiles[choice] : nullptr;
  if (!run.profile.empty()) profile = FindProfile(run.profile);
  if (profile != nullptr) {
    Follow(*profile, random, &fault_options);
  } else {
    Swarm(random, &fault_options);
  }
  faults = DrawFaults(random, fault_options);
  faults_end = fault_options.end;
}

// What makes runs unlike each other (swarm testing: Groce et al., ISSTA 2012): each turns some
// knobs to an extreme, because what needs two rare things is never found where everything is
// average.
void Plan::Swarm(Random& random, FaultOptions* fault_options) {
  const auto once_in = [&random](uint64_t n) { return random.Uniform(n) == 0; };
  ambushes = DrawAmbushOptions(random);
  if (once_in(3)) BusyClients(random);
  if (once_in(2)) clients.to_leaders_percent = 30 + random.Uniform(71);
  if (once_in(3)) {
    for (size_t i = 0; i < Operation::kKinds; ++i) {
      clients.weights.push_back(once_in(2) ? 0 : 1 + random.Uniform(30));
    }
    clients.weights.front() = 5;  // something is written
  }
  if (once_in(4)) SlowLinks(random, 500);
  if (once_in(4)) ShortLog(random);
  const size_t favourites = random.Uniform(4);
  for (size_t i = 0; i < favourites; ++i) {
    fault_options->favourites.push_back(
        static_cast<FaultKind>(random.Uniform(static_cast<uint64_t>(FaultKind::kCount))));
  }
  if (once_in(3)) fault_options->favourites.push_back(FaultKind::k_ambush);
  if (once_in(4)) fault_options->favourites.push_back(FaultKind::k_change);
}

void Plan::Follow(const Profile& profile, Random& random, FaultOptions* fault_options) {
  ambushes = profile.ambushes;
  fault_options->favourites = profile.favourites;
  fault_options->mean_gap = std::chrono::milliseconds(200 + random.Uniform(2000));
  if (profile.five) first_members = 5;
  if (profile.slow_links) SlowLinks(random, 1);
  if (profile.short_log) ShortLog(random);
  if (profile.busy) {
    BusyClients(random);
    clients.to_leaders_percent = 60 + random.Uniform(40);
  }
  if (profile.leases > 0) {
    using Kind = Operation::Kind;
    clients.weights.assign(Operation::kKinds, 0);
    clients.weights[static_cast<size_t>(Kind::kPut)] = 5;
    clients.weights[static_cast<size_t>(Kind::kLeaseGet)] = 5 * profile.leases;
    clients.weights[static_cast<size_t>(Kind::kGet)] = 1;
  }
}

// Whoever reads a little too early is seen only by a write that was acknowledged just before.
void Plan::BusyClients(Random& random) {
  clients.clients = 4 + random.Uniform(8);
  clients.think_time = std::chrono::milliseconds(20 + random.Uniform(100));
  clients.keys = 1 + random.Uniform(2);
}

// An election or a crash falls between one message and the next.
void Plan::SlowLinks(Random& random, uint64_t most_append_bytes) {
  network.delay_min = std::chrono::milliseconds(random.Uniform(20));
  network.delay_spread = std::chrono::milliseconds(1 + random.Uniform(60));
  options.max_append_bytes = 1 + random.Uniform(most_append_bytes);
}

void Plan::ShortLog(Random& random) {
  options.log_keep_entries = random.Uniform(10);
  options.flush_after_bytes = 100 + random.Uniform(1000);
  flush_every = 1 + random.Uniform(4);
}

class Simulation {
 public:
  explicit Simulation(const RunOptions& options);

  RunResult Run();

 private:
  // Until `end`, a failure, or `done`.
  void RunUntil(SimTime end, const std::function<bool()>& done = [] { return false; });
  void InjectFaults();
  void CompareStatesNowAndThen();
  void Heal();
  linearizability::History Answers() const {
    return ToAnswers(clients_->history().operations(), world_.checker, world_.scheduler.now());
  }
  void CheckAnswers();

  const RunOptions options_;
  const Plan plan_;
  World world_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<Clients> clients_;
  std::unique_ptr<Injector> injector_;
  std::unique_ptr<Liveness> liveness_;
  bool healing_ = false;
};

Simulation::Simulation(const RunOptions& options)
    : options_(options), plan_(options), world_(plan_.world_seed, kHosts) {
  world_.options = plan_.options;
  world_.flush_every = plan_.flush_every;
  world_.max_drift_ppm = plan_.max_drift_ppm;
  world_.print_events = options.print_events;
  for (size_t host = 0; host < kHosts; ++host) {
    world_.nodes.push_back(std::make_unique<SimNode>(&world_, host));
  }
  operator_ = std::make_unique<Operator>(&world_, plan_.first_members);
  clients_ = std::make_unique<Clients>(&world_, plan_.clients);
  injector_ = std::make_unique<Injector>(&world_, operator_.get(), clients_.get(), plan_.ambushes);
  world_.usual_network = plan_.network;
  world_.network.SetProfile(plan_.network);
  liveness_ = std::make_unique<Liveness>(&world_, operator_.get());
  world_.on_process_end = [this](SimNode& node) { clients_->OnProcessEnd(node); };
}

void Simulation::RunUntil(SimTime end, const std::function<bool()>& done) {
  while (!world_.checker.failed() && !done() && world_.scheduler.RunOne(end)) {
  }
}

void Simulation::InjectFaults() {
  for (size_t i = 0; i < plan_.faults.size(); ++i) {
    if (options_.keep && !std::ranges::binary_search(*options_.keep, i)) continue;
    const Fault& fault = plan_.faults[i];
    world_.scheduler.At(fault.at, [this, &fault] {
      if (!healing_) injector_->Inject(fault);
    });
  }
}

void Simulation::CompareStatesNowAndThen() {
  world_.scheduler.After(kHashEvery, [this] {
    liveness_->CompareStates();
    CompareStatesNowAndThen();
  });
}

void Simulation::Heal() {
  healing_ = true;
  injector_->HealAll();
  const SimTime bound = world_.scheduler.now() + kHealWithin;
  // Clients go on for a while: getting well must not need silence.
  RunUntil(world_.scheduler.now() + std::chrono::seconds(5));
  clients_->Stop();
  std::string missing = "nothing was looked at";
  while (!world_.checker.failed() && world_.scheduler.now() < bound && !missing.empty()) {
    RunUntil(world_.scheduler.now() + std::chrono::milliseconds(250));
    missing = liveness_->Missing();
  }
  if (!missing.empty()) {
    return world_.checker.Fail("liveness: " + missing + '\n' + liveness_->Describe());
  }
  liveness_->CompareStates();
  RunUntil(world_.scheduler.now() + std::chrono::seconds(10), [this] { return clients_->idle(); });
  liveness_->AskEveryMember();
  RunUntil(world_.scheduler.now() + std::chrono::seconds(10),
           [this] { return liveness_->Unanswered().empty(); });
  const std::string unanswered = liveness_->Unanswered();
  if (!unanswered.empty()) world_.checker.Fail("liveness: " + unanswered);
}

// Beside the witness (history.h): the same from the answers alone.
void Simulation::CheckAnswers() {
  linearizability::Limits limits;
  limits.max_time = std::chrono::hours(1);  // steps alone are the same everywhere
  limits.max_steps = kCheckSteps;
  const Result<linearizability::Report> report = linearizability::Check(Answers(), limits);
  if (!report) return world_.checker.Fail("linearizability checker: " + report.error().ToString());
  world_.coverage.Hit(Path::answers_checked);
  if (report->verdict != linearizability::Verdict::kLinearizable) {
    world_.checker.Fail(
        "linearizability checker: " + std::string(linearizability::VerdictName(report->verdict)) +
        ": " + report->reason);
  }
}

RunResult Simulation::Run() {
  operator_->Start();
  operator_->StartRepairs();
  clients_->Start();
  InjectFaults();
  CompareStatesNowAndThen();
  RunUntil(plan_.faults_end);
  if (!world_.checker.failed()) Heal();
  if (!world_.checker.failed()) CheckAnswers();

  RunResult result;
  result.failure = world_.checker.failure();
  result.failed_at = result.simulated = world_.scheduler.now();
  result.hash = world_.scheduler.hash();
  result.events = world_.scheduler.events();
  result.operations = clients_->history().operations().size();
  result.members = plan_.first_members;
  result.faults = plan_.faults.size();
  result.coverage = world_.coverage;
  if (!options_.history_file.empty()) {
    const Status written = linearizability::WriteHistory(Answers(), options_.history_file);
    if (!written.ok()) result.failure += '\n' + written.ToString();
  }
  return result;
}

}  // namespace

RunResult Run(const RunOptions& options) {
  if (!options.print_events) log::SetLevel(log::Level::kOff);
  Simulation simulation(options);
  return simulation.Run();
}

std::vector<Fault> FaultsOf(const RunOptions& options) { return Plan(options).faults; }

}  // namespace raftkv::sim
