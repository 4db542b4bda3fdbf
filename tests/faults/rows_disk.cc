#include <algorithm>
#include <fstream>
#include <iterator>

#include "node/storage/wal_check.h"
#include "tests/faults/rows.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr int kMostRounds = 10;  // to find a table to damage

std::vector<fs::path> FilesBelow(const fs::path& directory, const std::string& suffix) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (entry.is_regular_file() && name.ends_with(suffix)) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

// Where the last record ends: behind it are zeros, or what the file held before it was recycled.
size_t EndOfRecords(const fs::path& log) {
  const std::string bytes = testing::ReadFileOrEmpty(log);
  return storage::JudgeWal(bytes, std::stoull(log.stem().string())).end;
}

Result<size_t> Follower(Bed& bed) {
  ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
  return bed.Other(leader);
}

// What an interrupted write may leave behind the last record of a log.
enum class Tail { kGarbage, kPartOfRecord, kZeroedRecord, kNothing };
constexpr Tail kTails[] = {Tail::kGarbage, Tail::kPartOfRecord, Tail::kZeroedRecord,
                           Tail::kNothing};

// The first record of a log: what a record of it looks like.
std::string FirstRecord(const std::string& log) {
  constexpr size_t kHeader = 7;
  constexpr size_t kRecyclableHeader = 11;  // the log's number, too
  constexpr char kFirstRecyclable = 5;
  if (log.size() < kRecyclableHeader) return log;
  const size_t length = static_cast<unsigned char>(log[4]) |
                        static_cast<size_t>(static_cast<unsigned char>(log[5])) << 8;
  return log.substr(0, length + (log[6] >= kFirstRecyclable ? kRecyclableHeader : kHeader));
}

// Nobody has acknowledged what is behind `end`.
void LeaveTail(Bed& bed, const fs::path& log, Tail tail) {
  const size_t end = EndOfRecords(log);
  std::string record = FirstRecord(testing::ReadFileOrEmpty(log));
  const size_t part = 1 + bed.Pick(record.size() - 1);
  switch (tail) {
    case Tail::kGarbage: {
      std::string garbage(1 + bed.Pick(300), '\0');
      for (char& c : garbage) c = static_cast<char>(1 + bed.Pick(255));
      Overwrite(log, end, garbage);
      break;
    }
    case Tail::kPartOfRecord:
      // The file ends in it.
      Overwrite(log, end, record.substr(0, part));
      fs::resize_file(log, end + part);
      break;
    case Tail::kZeroedRecord:
      // The sectors behind some place never reached the disk.
      std::fill(record.begin() + static_cast<std::ptrdiff_t>(part), record.end(), '\0');
      Overwrite(log, end, record);
      break;
    case Tail::kNothing:
      fs::resize_file(log, end);
      break;
  }
}

Status TearTail(Bed& bed) {
  size_t torn = 0;
  while (!bed.Over() || torn < std::size(kTails)) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    bed.Kill(victim);
    bed.BeginFault();
    const std::vector<fs::path> logs = FilesBelow(bed.data(victim) / "log", ".log");
    RETURN_IF_ERROR(Expect(!logs.empty(), "there is a write-ahead log"));
    LeaveTail(bed, logs.back(), kTails[torn % std::size(kTails)]);
    bed.Restart(victim);
    RETURN_IF_ERROR(ReadyAsBefore(bed, victim));
    RETURN_IF_ERROR(bed.EndFault());
    ++torn;
  }
  bed.Note(std::to_string(torn) + " torn tails");
  return Status::Ok();
}

// The start meets the damage.
Status ExpectRebuild(Bed& bed, size_t victim, const fs::path& file) {
  const size_t before = bed.node(victim).Log().size();
  bed.Restart(victim);
  return AwaitRebuild(bed, victim, file, before);
}

Status RebuildUnderFault(Bed& bed, size_t victim, const fs::path& file) {
  bed.BeginFault();
  RETURN_IF_ERROR(ExpectRebuild(bed, victim, file));
  return bed.EndFault();
}

Status FlipLog(Bed& bed) {
  int flips = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress(200));
    ASSIGN_OR_RETURN_STATUS(const size_t victim, Follower(bed));
    bed.Kill(victim);
    const std::vector<fs::path> logs = FilesBelow(bed.data(victim) / "log", ".log");
    RETURN_IF_ERROR(Expect(!logs.empty(), "there is a write-ahead log"));
    const size_t end = EndOfRecords(logs.back());
    // Damage to the last record is a torn write to anybody who looks.
    RETURN_IF_ERROR(Expect(end > 4096, "the log has some records"));
    FlipBit(logs.back(), bed.Pick(end - 2048), bed.Pick(8));
    RETURN_IF_ERROR(RebuildUnderFault(bed, victim, logs.back()));
    ++flips;
  }
  bed.Note(std::to_string(flips) + " named the file and were rebuilt");
  return Status::Ok();
}

// Of two of three. Nobody can tell which of them has what was acknowledged, so that neither is
// rebuilt; when the bits are right again all is as it was.
Status FlipLogsOfMajority(Bed& bed) {
  int rounds = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress(300));
    const size_t left = bed.Pick(bed.size());
    struct Flipped {
      size_t node;
      fs::path file;
      size_t at;
      size_t bit;
    };
    std::vector<Flipped> flips;
    for (size_t i = 0; i < bed.size(); ++i) {
      if (i != left) bed.Kill(i);
    }
    bed.BeginOutage();
    for (size_t i = 0; i < bed.size(); ++i) {
      if (i == left) continue;
      const fs::path file = FilesBelow(bed.data(i) / "log", ".log").back();
      const size_t end = EndOfRecords(file);
      RETURN_IF_ERROR(Expect(end > 4096, "the log has some records"));
      flips.push_back({i, file, bed.Pick(end - 2048), bed.Pick(8)});
      FlipBit(file, flips.back().at, flips.back().bit);
      bed.Restart(i);
    }
    for (const Flipped& flip : flips) {
      RETURN_IF_ERROR(bed.WaitFor("word of the damage, and that nobody agrees to a rebuild", [&] {
        const std::optional<v1::StatusResponse> status = bed.node(flip.node).Status();
        return status && status->role() == v1::StatusResponse::DAMAGED &&
               status->warnings_size() >= 2 &&
               status->warnings(0).find(flip.file.filename()) != std::string::npos;
      }));
      for (const char* path : {"/kv/k0", "/kv/k0?consistency=stale"}) {
        RETURN_IF_ERROR(Expect(bed.node(flip.node).Client("GET", path).status == 503,
                               "a damaged member serves nobody"));
      }
      RETURN_IF_ERROR(Expect(!bed.node(flip.node).IsReady(), "it is not ready"));
    }
    RETURN_IF_ERROR(ExpectMinority(bed, {left}));
    for (const Flipped& flip : flips) {
      bed.Kill(flip.node);
      RETURN_IF_ERROR(Expect(fs::exists(flip.file), "its data stay where they are"));
      FlipBit(flip.file, flip.at, flip.bit);
    }
    RETURN_IF_ERROR(bed.EndOutage());
    for (const Flipped& flip : flips) bed.Restart(flip.node);
    for (const Flipped& flip : flips) RETURN_IF_ERROR(ReadyAsBefore(bed, flip.node));
    ++rounds;
  }
  bed.Note(std::to_string(rounds) + " times a majority was damaged");
  return Status::Ok();
}

Status FlipIdentity(Bed& bed) {
  int flips = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t victim, Follower(bed));
    // Written in the first moments of a member; with neither of the two it can only say so.
    RETURN_IF_ERROR(bed.WaitFor("the note of the members",
                                [&] { return fs::exists(bed.data(victim) / "members"); }));
    bed.Kill(victim);
    const fs::path file = bed.data(victim) / "identity";
    FlipBit(file, bed.Pick(fs::file_size(file)), bed.Pick(8));
    RETURN_IF_ERROR(RebuildUnderFault(bed, victim, file));
    ++flips;
  }
  bed.Note(std::to_string(flips) + " named the file and were rebuilt");
  return Status::Ok();
}

// There is one, or it is made.
Status AwaitTable(Bed& bed, size_t node, const std::string& database) {
  const auto has_table = [&] { return !FilesBelow(bed.data(node) / database, ".sst").empty(); };
  if (database == "state") {
    return bed.WaitFor("a flush", [&] {
      (void)bed.node(node).Admin("POST", "/admin/snapshot");
      return has_table();
    });
  }
  // What an opening finds in the write-ahead log goes to a table.
  bed.Kill(node);
  bed.Restart(node);
  RETURN_IF_ERROR(bed.Ready(node));
  return Expect(has_table(), "a start writes a table of the log");
}

// A table of the log is read as a whole at the start. One of the state is read when it is needed:
// the member is made to, and ends when it meets the damage; the next start reads everything.
Status FlipTable(Bed& bed, const std::string& database) {
  int at_start = 0;
  int ended = 0;
  int rounds = 0;
  do {
    RETURN_IF_ERROR(bed.Progress(100));
    ASSIGN_OR_RETURN_STATUS(const size_t victim, Follower(bed));
    RETURN_IF_ERROR(AwaitTable(bed, victim, database));
    bed.Kill(victim);
    ++rounds;
    const std::vector<fs::path> tables = FilesBelow(bed.data(victim) / database, ".sst");
    if (tables.empty()) {
      // A compaction has just taken the only one away.
      bed.Restart(victim);
      RETURN_IF_ERROR(bed.Ready(victim));
      continue;
    }
    const fs::path& file = tables[bed.Pick(tables.size())];
    FlipBitOfData(file, bed.random());
    const size_t before = bed.node(victim).Log().size();
    bed.Restart(victim);
    bed.BeginFault();
    RETURN_IF_ERROR(bed.WaitFor("it answers, or ends", [&] {
      return bed.node(victim).Status().has_value() || !bed.node(victim).process()->IsRunning();
    }));
    // What the kill kept a compaction from removing is no part of the database: the start does it.
    const bool was_part = fs::exists(file);
    if (!was_part && bed.node(victim).Log().find(file.filename(), before) == std::string::npos) {
      RETURN_IF_ERROR(bed.Ready(victim));
      RETURN_IF_ERROR(bed.EndFault());
      continue;
    }
    // Whatever it answers from now on has to be right: its reads are in the history.
    RETURN_IF_ERROR(AwaitDamageMet(bed, victim, file.filename(), before));
    if (bed.node(victim).process()->IsRunning()) {
      ++at_start;
      RETURN_IF_ERROR(AwaitRebuild(bed, victim, file, before));
    } else {
      RETURN_IF_ERROR(EndByDamage(bed, victim, file, before));
      RETURN_IF_ERROR(ExpectRebuild(bed, victim, file));
      ++ended;
    }
    RETURN_IF_ERROR(bed.EndFault());
  } while (!bed.Over() || (at_start + ended == 0 && rounds < kMostRounds));
  bed.Note(std::to_string(at_start) + " met it at the start, " + std::to_string(ended) +
           " ended when they met it; all were rebuilt");
  return Expect(at_start + ended > 0, "a damaged table was met");
}

constexpr uint64_t kDiskBytes = uint64_t{64} << 20;

// A file that leaves `free` bytes of the disk at `directory`.
void Fill(const fs::path& directory, uint64_t free) {
  std::error_code error;
  const fs::space_info space = fs::space(directory, error);
  std::ofstream file(directory / "filler", std::ios::binary);
  const std::string block(size_t{64} << 10, 'x');
  for (uint64_t left = space.available; left > free + block.size(); left -= block.size()) {
    file << block;
  }
}

void Free(const fs::path& directory) { fs::remove(directory / "filler"); }

Status MountAll(Bed& bed, uint64_t bytes) {
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(bed.sandbox().MountTmpfs(bed.directory(i) / "data", bytes));
  }
  return Status::Ok();
}

Status FillAll(Bed& bed) {
  int rounds = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const uint64_t refused = bed.load().counts().out_of_space;
    for (size_t i = 0; i < bed.size(); ++i) Fill(bed.data(i), uint64_t{5} << 20);
    bed.BeginFault();
    RETURN_IF_ERROR(bed.WaitFor("puts are refused with 507",
                                [&] { return bed.load().counts().out_of_space > refused; }));
    RETURN_IF_ERROR(bed.Progress());
    const int read = bed.node(0).Client("GET", "/kv/k1").status;
    RETURN_IF_ERROR(Expect(read == 200 || read == 404, "reads go on"));
    const int removed = bed.node(0).Client("DELETE", "/kv/other").status;
    RETURN_IF_ERROR(Expect(removed == 204 || removed == 404, "deletes go on"));
    RETURN_IF_ERROR(bed.EndFault());
    // As a member that it was, on a disk that is as full as it was.
    const size_t victim = bed.Pick(bed.size());
    bed.Kill(victim);
    bed.Restart(victim);
    RETURN_IF_ERROR(bed.Ready(victim));
    for (size_t i = 0; i < bed.size(); ++i) Free(bed.data(i));
    RETURN_IF_ERROR(bed.WaitFor("puts are taken again", [&] {
      return bed.node(0)
                 .Client("PUT", "/kv/" + std::string("k0"), "", {{"If-Match", "\"1\""}})
                 .status == 412;
    }));
    ++rounds;
  }
  bed.Note(std::to_string(rounds) + " times full, a node started again in each, " +
           std::to_string(bed.load().counts().out_of_space) + " answers with 507");
  return Status::Ok();
}

Status FillOneToTheLastByte(Bed& bed) {
  int ended = 0;
  int rounds = 0;
  int mib = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    Fill(bed.data(victim), 0);
    bed.BeginFault();
    // Conditions that never hold: the log grows, and nothing is changed that the history does not
    // know of. What a log of this size reuses is not enough for these.
    const std::string value(size_t{256} << 10, 'v');
    int grown = 0;
    for (int i = 0; i < 100; ++i) {
      const size_t other = bed.Other(victim);
      grown +=
          bed.node(other).Client("PUT", "/kv/large", value, {{"If-Match", "\"1\""}}).status == 412
              ? 1
              : 0;
    }
    mib += grown / 4;
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(bed.EndFault());
    Free(bed.data(victim));
    if (!bed.node(victim).process()->IsRunning()) {
      RETURN_IF_ERROR(EndWithIoError(bed, victim));
      ++ended;
    } else {
      bed.Kill(victim);
    }
    bed.Restart(victim);
    RETURN_IF_ERROR(bed.Ready(victim));
    ++rounds;
  }
  bed.Note(std::to_string(rounds) + " times full while the log grew by " + std::to_string(mib) +
           " MiB, " + std::to_string(ended) +
           " times the node ended with 74; each time it was started again with space");
  return Status::Ok();
}

}  // namespace

std::vector<Row> DiskRows() {
  return {
      {.name = "torn-tail",
       .injected =
           "SIGKILL, then what an interrupted write leaves behind the log's last record, in "
           "turn: garbage, a part of a record with which the file ends, a record whose end "
           "is zeros, and nothing at all",
       .promised = "the tail is cut, the node starts as the member that it was",
       .run = TearTail},
      {.name = "flip-log",
       .injected = "a flipped bit in the write-ahead log of a follower",
       .promised =
           "it serves nobody, names the file, and is rebuilt from the others without a hand",
       .gaps = kNoElection,
       .run = FlipLog},
      {.name = "flip-log-majority",
       .injected =
           "a flipped bit in the write-ahead logs of two of three nodes, later flipped back",
       .promised =
           "they name the file, serve nobody and keep their data, and are not rebuilt by "
           "themselves; the third refuses reads and writes; nothing is lost when the bits are "
           "right again",
       .gaps = kAfterOutage,
       .run = FlipLogsOfMajority},
      {.name = "flip-table",
       .injected = "a flipped bit in a table file of a follower's state",
       .promised = "no wrong answer; it is met at the latest by a compaction: the node names the "
                   "file and ends, and is rebuilt at its next start without a hand",
       .gaps = kNoElection,
       .why_errors = kMeetsDamage,
       .run = [](Bed& bed) { return FlipTable(bed, "state"); }},
      {.name = "flip-log-table",
       .injected = "a flipped bit in a table file of a follower's log",
       .promised = "the start meets it: it serves nobody, names the file, and is rebuilt",
       .gaps = kNoElection,
       .run = [](Bed& bed) { return FlipTable(bed, "log"); }},
      {.name = "flip-identity",
       .injected = "a flipped bit in the identity file of a follower",
       .promised =
           "it serves nobody, names the file, and is rebuilt from the others without a hand",
       .gaps = kNoElection,
       .run = FlipIdentity},
      {.name = "disk-full",
       .injected = "the disks of all nodes filled up to 5 MiB, then freed",
       .promised = "puts are refused with 507, reads and deletes go on; puts again when freed",
       .run = FillAll,
       .prepare =
           [](BedOptions& options) {
             options.before = [](Bed& bed) { return MountAll(bed, kDiskBytes); };
             options.space_flags = {"--storage-reserve-bytes", "4MiB", "--limits-min-free-bytes",
                                    "12MiB"};
           },
       .isolated = true},
      {.name = "disk-full-hard",
       .injected = "the disk of one node filled to the last byte, without limits or reserve",
       .promised = "it waits (at worst it ends with 74); the others go on; it serves when there is "
                   "space, also on a disk that is no larger than the log wants to be",
       .run = FillOneToTheLastByte,
       .prepare =
           [](BedOptions& options) {
             options.before = [](Bed& bed) { return MountAll(bed, kDiskBytes); };
           },
       .isolated = true},
  };
}

}  // namespace raftkv::faults
