// What happens to a snapshot while it is on its way to a member.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/faults/rows.h"
#include "tests/faults/shims.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// Files of a snapshot that is on its way in; those that are there already.
std::vector<fs::path> ReceivedFiles(const fs::path& data) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(data / "snapshots", error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (it->path().parent_path().filename().string().starts_with("received-") &&
        fs::file_size(it->path(), gone) > 0 && !gone) {
      files.push_back(it->path());
    }
  }
  std::ranges::sort(files);
  return files;
}

// Whether the file that is open as `fd` has a name still.
bool HasName(int fd) {
  struct stat info{};
  return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

// A table, whose data are all read sooner or later. None: empty.
fs::path FlipReceivedTable(Bed& bed, size_t victim) {
  std::vector<fs::path> files = ReceivedFiles(bed.data(victim));
  std::erase_if(files, [](const fs::path& file) { return file.extension() != ".sst"; });
  if (files.empty()) return {};
  const fs::path& file = files[bed.Pick(files.size())];
  FlipBitOfData(file, bed.random());
  return file;
}

// What became of a flipped bit.
enum class Flip { kTooLate, kSentAgain, kMet };

// The node is killed, or stopped, while it receives. With slow syncs there is time: each received
// file is synced.
Result<Flip> FlipReceivedSnapshot(Bed& bed, Shims& shims, bool down) {
  RETURN_UNEXPECTED_IF_ERROR(bed.Progress());
  ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
  const size_t victim = bed.Other(leader);
  RETURN_UNEXPECTED_IF_ERROR(LeaveBehind(bed, victim));
  shims[victim]->sync_delay_ms = 100;
  const size_t log_before = bed.node(victim).Log().size();
  bed.Restart(victim);
  bed.BeginFault();
  const auto has_table = [&] {
    const std::vector<fs::path> files = ReceivedFiles(bed.data(victim));
    return std::ranges::any_of(files, [](const fs::path& f) { return f.extension() == ".sst"; });
  };
  (void)testing::WaitUntil([&] { return has_table() || bed.node(victim).IsReady(); }, seconds(30));
  down ? bed.Kill(victim) : bed.Pause(victim);
  // As of now: it may have gone on.
  const fs::path file = FlipReceivedTable(bed, victim);
  const int fd = file.empty() ? -1 : open(file.c_str(), O_RDONLY | O_CLOEXEC);
  shims.Reset();
  down ? bed.Restart(victim) : bed.Resume(victim);
  Flip flip = Flip::kTooLate;
  Status status = Status::Ok();
  if (fd >= 0 && down) {
    // What is there at a start is looked at before it is used.
    status = bed.Ready(victim);
    if (status.ok()) status = Expect(!HasName(fd), "the damaged file is sent again");
    flip = Flip::kSentAgain;
  } else if (fd >= 0) {
    // It was looked at as it came; it is used, unless the connection broke meanwhile.
    status = bed.WaitFor("the snapshot with the damage is used, or sent again", [&] {
      return !bed.node(victim).process()->IsRunning() || bed.node(victim).IsReady();
    });
    const bool installed = bed.node(victim).process()->IsRunning();
    const bool used = !installed || HasName(fd);
    flip = used ? Flip::kMet : Flip::kSentAgain;
    if (status.ok() && used) {
      status = AwaitDamageMet(bed, victim, file.filename(), log_before);
      if (status.ok()) status = EndByDamage(bed, victim, file, log_before);
      const size_t log_at_end = bed.node(victim).Log().size();
      if (status.ok()) bed.Restart(victim);
      // With its former state, if it met the damage before that was replaced.
      if (status.ok() && installed) status = AwaitRebuild(bed, victim, file, log_at_end);
    }
  }
  if (fd >= 0) close(fd);
  if (!status.ok()) return Error(std::move(status));
  RETURN_UNEXPECTED_IF_ERROR(bed.Ready(victim));
  RETURN_UNEXPECTED_IF_ERROR(bed.EndFault());
  return flip;
}

Status FlipReceivedSnapshots(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  constexpr int kMostRounds = 20;  // until both have come in time
  int sent_again = 0;
  int met = 0;
  int missed = 0;
  int rounds = 0;
  do {
    const bool down = rounds++ % 2 == 0;
    ASSIGN_OR_RETURN_STATUS(const Flip flip, FlipReceivedSnapshot(bed, shims, down));
    if (flip == Flip::kSentAgain) ++sent_again;
    if (flip == Flip::kMet) ++met;
    if (flip == Flip::kTooLate) ++missed;
  } while (!bed.Over() || ((sent_again == 0 || met == 0) && rounds < kMostRounds));
  bed.Note(std::to_string(sent_again) + " damaged files were sent again, " + std::to_string(met) +
           " were used, met, and their members rebuilt; " + std::to_string(missed) +
           " flips came too late");
  return Expect(sent_again > 0 && met > 0, "flips came in time");
}

// Whoever sends is killed when some of it has arrived: another one, or the same again, goes on or
// begins anew.
Status KillSenders(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  constexpr int kMostRounds = 20;
  int killed = 0;
  int rounds = 0;
  do {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t first, bed.Leader());
    const size_t victim = bed.Other(first);
    RETURN_IF_ERROR(LeaveBehind(bed, victim));
    const size_t installed = Installations(bed, victim);
    // With slow syncs there is time: each received file is synced.
    shims[victim]->sync_delay_ms = 150;
    bed.Restart(victim);
    bed.BeginFault();
    (void)testing::WaitUntil(
        [&] {
          return !ReceivedFiles(bed.data(victim)).empty() || Installations(bed, victim) > installed;
        },
        seconds(30));
    ASSIGN_OR_RETURN_STATUS(const size_t sender, bed.Leader());
    const bool arrives = !ReceivedFiles(bed.data(victim)).empty() && sender != victim;
    if (sender != victim) bed.Kill(sender);
    const bool in_time = arrives && Installations(bed, victim) == installed;
    if (in_time) ++killed;
    shims.Reset();
    RETURN_IF_ERROR(ReadyAsBefore(bed, victim));
    if (sender != victim) {
      // Two of three are enough.
      RETURN_IF_ERROR(bed.Progress());
      bed.Restart(sender);
      RETURN_IF_ERROR(ReadyAsBefore(bed, sender));
    }
    RETURN_IF_ERROR(bed.EndFault());
    RETURN_IF_ERROR(Expect(Installations(bed, victim) > installed, "a snapshot is installed"));
    ++rounds;
  } while (!bed.Over() || (killed == 0 && rounds < kMostRounds));
  bed.Note(std::to_string(killed) + " senders killed before the snapshot was installed, in " +
           std::to_string(rounds) + " rounds");
  return Expect(killed > 0, "a sender was killed in time");
}

}  // namespace

std::vector<Row> SnapshotRows() {
  return {
      {.name = "flip-snapshot",
       .injected =
           "a flipped bit in a file of a snapshot that is being received, of a node that is "
           "killed or stopped for that",
       .promised =
           "nothing wrong is served: what is there at a start is sent again if it is wrong; "
           "whoever meets the damage later names the file and ends with 74, and is rebuilt at its "
           "next start without a hand",
       .why_errors = kMeetsDamage,
       .run = FlipReceivedSnapshots,
       .prepare = ShortLogs,
       .shim = true},
      {.name = "kill-sender",
       .injected = "the member that sends a snapshot is killed when some of it has arrived",
       .promised =
           "another one sends it, and it is installed as a whole; who receives serves as the "
           "member that it was",
       .gaps = kAfterOutage,
       .run = KillSenders,
       .prepare = ShortLogs,
       .shim = true},
  };
}

}  // namespace raftkv::faults
