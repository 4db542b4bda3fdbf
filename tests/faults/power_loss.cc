#include "tests/faults/power_loss.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <new>
#include <sstream>

#include "base/check.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSector = 512;

std::string KeyOf(const fs::path& path) {
  struct statx info{};
  CHECK(statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
              &info) == 0);
  return std::to_string(info.stx_ino) + "-" + std::to_string(info.stx_btime.tv_sec) + "-" +
         std::to_string(info.stx_btime.tv_nsec);
}

void WriteFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void SeedDirectory(const fs::path& directory, const fs::path& shadow) {
  std::string lines;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string key = KeyOf(entry.path());
    lines +=
        (entry.is_directory() ? "d " : "f ") + key + " " + entry.path().filename().string() + "\n";
    if (entry.is_directory()) {
      SeedDirectory(entry.path(), shadow);
    } else {
      fs::copy_file(entry.path(), shadow / "inodes" / key, fs::copy_options::overwrite_existing);
    }
  }
  WriteFile(shadow / "dirs" / KeyOf(directory), lines);
}

class Restorer {
 public:
  Restorer(const fs::path& data, fs::path shadow, Loss loss, std::mt19937_64* random)
      : shadow_(std::move(shadow)), loss_(loss), random_(random) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(data)) {
      if (entry.is_regular_file()) now_[KeyOf(entry.path())] = entry.path();
    }
  }

  void Directory(const std::string& key, const fs::path& to) {
    fs::create_directory(to);
    fs::permissions(to, fs::perms::owner_all);
    std::istringstream lines(testing::ReadFileOrEmpty(shadow_ / "dirs" / key));
    std::string kind;
    std::string child;
    std::string name;
    while (lines >> kind >> child && std::getline(lines >> std::ws, name)) {
      if (kind == "d") {
        Directory(child, to / name);
      } else {
        File(child, to / name);
      }
    }
  }

 private:
  void File(const std::string& key, const fs::path& to) {
    std::string bytes = testing::ReadFileOrEmpty(shadow_ / "inodes" / key);
    if (loss_ == Loss::kSome && now_.contains(key)) Mix(bytes, now_[key]);
    WriteFile(to, bytes);
    fs::permissions(to, fs::perms::owner_read | fs::perms::owner_write);
  }

  // Sectors that had reached the disk although nobody waited for them.
  void Mix(std::string& bytes, const fs::path& path) {
    const std::string written = testing::ReadFileOrEmpty(path);
    if (written.size() > bytes.size() && Coin()) bytes.resize(written.size());
    const size_t both = std::min(bytes.size(), written.size());
    for (size_t at = 0; at < both; at += kSector) {
      const size_t size = std::min(kSector, both - at);
      if (bytes.compare(at, size, written, at, size) != 0 && Coin()) {
        bytes.replace(at, size, written, at, size);
      }
    }
  }

  bool Coin() { return ((*random_)() & 1) != 0; }

  const fs::path shadow_;
  const Loss loss_;
  std::mt19937_64* const random_;
  std::map<std::string, fs::path> now_;
};

}  // namespace

Status SeedShadow(const fs::path& data, const fs::path& shadow) try {
  fs::remove_all(shadow);
  fs::create_directories(shadow / "inodes");
  fs::create_directories(shadow / "dirs");
  fs::create_directories(data);
  SeedDirectory(data, shadow);
  return Status::Ok();
} catch (const fs::filesystem_error& error) {
  return {Code::kIoError, error.what()};
}

Status LosePower(const fs::path& data, const fs::path& shadow, Loss loss,
                 std::mt19937_64& random) try {
  const fs::path after = data.string() + ".after";
  Restorer(data, shadow, loss, &random).Directory(KeyOf(data), after);
  fs::remove_all(data);
  fs::rename(after, data);
  return SeedShadow(data, shadow);
} catch (const fs::filesystem_error& error) {
  return {Code::kIoError, error.what()};
}

ShimFile::ShimFile(const fs::path& path) {
  fs::create_directories(path.parent_path());
  WriteFile(path, std::string(sizeof(ShimControl), '\0'));
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  void* map = mmap(nullptr, sizeof(ShimControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED, "a small file can be mapped");
  close(fd);
  control_ = new (map) ShimControl;
}

ShimFile::~ShimFile() { munmap(control_, sizeof(ShimControl)); }

}  // namespace raftkv::faults
