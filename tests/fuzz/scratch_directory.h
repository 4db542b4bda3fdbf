// ScratchDirectory: of a target that needs files; gone when the process ends.
//
// Thread-safety: none.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace raftkv::fuzz {

class ScratchDirectory {
 public:
  explicit ScratchDirectory(const std::string& name)
      : path_(std::filesystem::temp_directory_path() /
              ("raftkv-fuzz-" + std::to_string(getpid()) + "-" + name)) {}
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  // A target may have removed it.
  const std::filesystem::path& Made() const {
    std::filesystem::create_directories(path_);
    return path_;
  }

 private:
  const std::filesystem::path path_;
};

}  // namespace raftkv::fuzz
