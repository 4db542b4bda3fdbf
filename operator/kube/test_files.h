// FilesTest: a test with a folder of its own.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "operator/kube/test_timing.h"

namespace raftkv::kube {

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    char pattern[] = "/tmp/raftkv-kube-test-XXXXXX";
    folder_ = mkdtemp(pattern);
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& name, const std::string& content, bool executable = false) {
    std::string path = folder_ + "/" + name;
    // Renamed into place: no reader sees half of it.
    std::ofstream(path + "~", std::ios::binary | std::ios::trunc) << content;
    if (executable) chmod((path + "~").c_str(), 0755);
    std::filesystem::rename(path + "~", path);
    return path;
  }
  std::string Read(const std::string& name) {
    std::ifstream in(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string folder_;
  FakeTiming timing_{FakeTiming::Mode::kJump};
};

}  // namespace raftkv::kube
