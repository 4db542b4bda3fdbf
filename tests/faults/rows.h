// The rows of the fault matrix: what is done to a cluster under load, and what is promised of it.
//
// Thread-safety: none.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/faults/bed.h"

namespace raftkv::faults {

using std::chrono::seconds;
// Nobody is elected because of the fault; but the spare comes and goes, and on a machine that does
// much else a leader itself may stop for as long as an election takes.
inline constexpr Gaps kNoElection{.elections = 2};
// Somebody is, and the first attempt may fail. Another one for the same machine.
inline constexpr Gaps kElection{.elections = 3};
// From when there may be a majority again; nodes that start read their logs first.
inline constexpr Gaps kAfterOutage{.elections = 3, .beside = seconds(6)};

// Messages are lost or late at any time, those of elections as well.
inline constexpr Gaps kBadLinks{.elections = 3, .beside = seconds(4)};

// Of Row::why_errors, where the state itself is damaged.
inline constexpr const char* kMeetsDamage = "of reads that met the damaged block";

struct Row {
  std::string name;
  std::string injected;
  std::string promised;  // beside what Bed::Verify checks of every row
  Gaps gaps = kElection;
  // Why some requests may be answered with 500. Empty: one that is breaks the row.
  std::string why_errors;
  // What the row does between Bed::Start and Bed::Verify.
  std::function<Status(Bed&)> run;
  std::function<void(BedOptions&)> prepare;  // may be empty
  bool isolated = false;                     // needs Sandbox::isolated()
  bool shim = false;    // cannot run under sanitizers: preloads, or limits memory
  bool points = false;  // needs nodes with fault points
};

// In the order of the matrix.
std::vector<Row> AllRows();

std::vector<Row> ProcessRows();
std::vector<Row> NetworkRows();
std::vector<Row> PacketRows();
std::vector<Row> DiskRows();
std::vector<Row> ResourceRows();
std::vector<Row> HostileRows();
std::vector<Row> StarvedRows();
std::vector<Row> MemberRows();
std::vector<Row> OperatorRows();
std::vector<Row> ShimRows();
std::vector<Row> SnapshotRows();
std::vector<Row> PointRows();

// Logs so short that who was away for a moment needs a snapshot.
void ShortLogs(BedOptions& options);
// Which directions between a side and everybody else, the spare included, the proxies cut.
enum class Cut { kBoth, kFromIt, kToIt };
void CutAway(Bed& bed, const std::vector<size_t>& side, Cut cut);
// These nodes refuse what only a member of a majority may answer, writes and linearizable reads,
// and answer stale reads.
Status ExpectMinority(Bed& bed, const std::vector<size_t>& nodes);
// Node `i` has not heard `leader` for so long that it wants to lead, or follows another one.
Status AwaitLost(Bed& bed, size_t i, size_t leader);
// Node `i`, which was started again, serves as the member that it was: whoever finds its own data
// damaged is rebuilt as another one, and serves too.
Status ReadyAsBefore(Bed& bed, size_t i);
// Whether one and the same member leads, in the same term, before and after what a round does: who
// comes back disturbs nobody. A busy machine may stop a leader for as long as an election takes, so
// that two of three rounds count, and not each.
class Calm {
 public:
  explicit Calm(Bed& bed) : bed_(&bed) {}
  // Around what has to leave leader and term alone.
  Status BeginRound();
  Status EndRound();
  // Not enough calm rounds yet, but more may help.
  bool WantsMore() const { return rounds_ < kLeastRounds || (!Holds() && rounds_ < kMostRounds); }
  // What Verify of a row that promises calm demands.
  Status Judge();

 private:
  static constexpr int kLeastRounds = 3;
  static constexpr int kMostRounds = 12;
  struct Reign {
    size_t leader = 0;
    uint64_t term = 0;
    bool operator==(const Reign&) const = default;
  };
  Result<Reign> Now();
  bool Holds() const { return 3 * calm_ >= 2 * rounds_; }

  Bed* const bed_;
  Reign before_;
  int rounds_ = 0;
  int calm_ = 0;
};
// Health is not the clients' business: it has its own listener.
Status ExpectHealthy(Bed& bed);
// How often node `i` has installed a snapshot, as its log tells.
size_t Installations(Bed& bed, size_t i);
// Kills node `victim` and waits until the others' logs begin behind its end.
Status LeaveBehind(Bed& bed, size_t victim);
// It ends by itself, as by a disk that fails.
Status EndWithIoError(Bed& bed, size_t i);

// --- Damaged files of node `i`. `log_before`: as long was its log when the damage was made.

// It ends by itself, or names `file` and is not the member that it was: all of its state is read,
// sooner or later, because whatever it has not read otherwise is compacted.
Status AwaitDamageMet(Bed& bed, size_t i, const std::string& file, size_t log_before);
// It has ended, with 74, and said of `file` that it is damaged.
Status EndByDamage(Bed& bed, size_t i, const std::filesystem::path& file, size_t log_before);
// It says that `file` is damaged and serves nobody, until the leader has replaced it by a new
// member.
Status AwaitRebuild(Bed& bed, size_t i, const std::filesystem::path& file, size_t log_before);
void Overwrite(const std::filesystem::path& file, size_t at, const std::string& bytes);
void FlipBit(const std::filesystem::path& file, size_t at, size_t bit);
// Some bit of a table's data, which come first. What follows them, such as properties and filters,
// is passed over if it is damaged: nobody needs it.
void FlipBitOfData(const std::filesystem::path& table, std::mt19937_64& random);

}  // namespace raftkv::faults
