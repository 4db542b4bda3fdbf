// raftkv-fuzz-replay: runs every target on its seeds, on the files of its corpus, and on mutations
// of both, the same ones every time.
//
//   raftkv-fuzz-replay CORPORA [MUTATIONS]   all; mutations of each input (default 200)
//   raftkv-fuzz-replay --run TARGET FILE...  what a fuzzer has found, again
//   raftkv-fuzz-replay --list                names of the targets
//   raftkv-fuzz-replay --seeds TARGET DIR    writes the target's seeds
//
// A broken promise ends it with SIGABRT, after the name of the input.

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/log.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// A few edits: flipped bits, bytes changed, taken out, repeated.
std::string Mutate(std::string input, std::mt19937& random) {
  for (size_t edits = 1 + random() % 4; edits > 0 && !input.empty(); --edits) {
    const size_t at = random() % input.size();
    const size_t size = std::min<size_t>(1 + random() % 8, input.size() - at);
    switch (random() % 4) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ (1 << random() % 8));
        break;
      case 1:
        input[at] = static_cast<char>(random());
        break;
      case 2:
        input.erase(at, size);
        break;
      default:
        input.insert(at, input.substr(at, size));
    }
  }
  return input;
}

// What is wrong with the corpora: each target has one with something in it, and there is none of a
// target that is no more.
std::string Wrong(const fs::path& corpora) {
  std::string wrong;
  std::error_code none;
  for (const Target& target : Targets()) {
    if (fs::directory_iterator(corpora / target.name, none) == fs::directory_iterator()) {
      wrong += std::string(target.name) + " has no corpus\n";
    }
    if (target.seeds().empty()) wrong += std::string(target.name) + " has no seeds\n";
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(corpora, none)) {
    const std::string name = entry.path().filename();
    if (FindTarget(name) == nullptr) wrong += name + " is a corpus of no target\n";
  }
  return wrong;
}

void Replay(const Target& target, const fs::path& corpora, int mutations) {
  std::vector<std::pair<std::string, std::string>> inputs;
  for (std::string& seed : target.seeds()) {
    inputs.emplace_back("seed " + std::to_string(inputs.size()), std::move(seed));
  }
  const size_t seeds = inputs.size();
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(corpora / target.name, none)) {
    inputs.emplace_back(entry.path(), Read(entry.path()));
  }
  std::ranges::sort(inputs);
  std::mt19937 random(1);
  for (const auto& [name, input] : inputs) {
    std::printf("\r%s: %s\033[K", target.name, name.c_str());
    std::fflush(stdout);
    target.run(input);
    for (int i = 0; i < mutations; ++i) target.run(Mutate(input, random));
  }
  std::printf("\r%s: %zu seeds, %zu files, %d mutations of each\033[K\n", target.name, seeds,
              inputs.size() - seeds, mutations);
}

int Usage() {
  std::fprintf(stderr,
               "usage: raftkv-fuzz-replay CORPORA [MUTATIONS] | --run TARGET FILE... | --list | "
               "--seeds TARGET DIR\n");
  return 2;
}

int Main(const std::vector<std::string>& args) {
  log::SetLevel(log::ParseLevel("off").value());
  google::protobuf::SetLogHandler(nullptr);
  if (args.empty()) return Usage();
  if (args[0] == "--list") {
    for (const Target& target : Targets()) std::printf("%s\n", target.name);
    return 0;
  }
  if (args[0] == "--run" || args[0] == "--seeds") {
    const Target* target = args.size() < 3 ? nullptr : FindTarget(args[1]);
    if (target == nullptr) return Usage();
    if (args[0] == "--run") {
      for (size_t i = 2; i < args.size(); ++i) target->run(Read(args[i]));
      return 0;
    }
    fs::create_directories(args[2]);
    size_t number = 0;
    for (const std::string& seed : target->seeds()) {
      std::ofstream(fs::path(args[2]) / ("seed-" + std::to_string(number++)), std::ios::binary)
          << seed;
    }
    return 0;
  }
  if (const std::string wrong = Wrong(args[0]); !wrong.empty()) {
    std::fprintf(stderr, "%s: %s", args[0].c_str(), wrong.c_str());
    return 1;
  }
  for (const Target& target : Targets()) {
    Replay(target, args[0], args.size() > 1 ? std::atoi(args[1].c_str()) : 200);
  }
  return 0;
}

}  // namespace
}  // namespace raftkv::fuzz

int main(int argc, char** argv) {
  return raftkv::fuzz::Main(std::vector<std::string>(argv + 1, argv + argc));
}
