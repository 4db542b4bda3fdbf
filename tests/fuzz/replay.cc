// raftkv-fuzz-replay: runs every target on its seeds, on the files of its corpus, and on mutations
// of both, the same ones every time.
//
//   raftkv-fuzz-replay CORPORA [MUTATIONS]   all; mutations of each input (default 200)
//   raftkv-fuzz-replay --fresh SEED SECONDS CORPORA [TARGET...]
//                                            other mutations, as many as there is time for; what
//                                            breaks a target is in the file that is named
//   raftkv-fuzz-replay --run TARGET FILE...  what a fuzzer has found, again
//   raftkv-fuzz-replay --list                names of the targets
//   raftkv-fuzz-replay --seeds TARGET DIR    writes the target's seeds
//
// A broken promise ends it with SIGABRT, after the name of the input.

#include <google/protobuf/stubs/logging.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
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

using Inputs = std::vector<std::pair<std::string, std::string>>;  // name, bytes

// The files of the corpus and the seeds, always in the same order.
Inputs InputsOf(const Target& target, const fs::path& corpora) {
  Inputs inputs;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(corpora / target.name, none)) {
    inputs.emplace_back(entry.path(), Read(entry.path()));
  }
  std::ranges::sort(inputs);
  size_t seeds = 0;
  for (std::string& seed : target.seeds()) {
    inputs.emplace_back("seed " + std::to_string(seeds++), std::move(seed));
  }
  return inputs;
}

void Replay(const Target& target, const fs::path& corpora, int mutations) {
  const Inputs inputs = InputsOf(target, corpora);
  std::mt19937 random(1);
  for (const auto& [name, input] : inputs) {
    std::printf("\r%s: %s\033[K", target.name, name.c_str());
    std::fflush(stdout);
    target.run(input);
    for (int i = 0; i < mutations; ++i) target.run(Mutate(input, random));
  }
  std::printf("\r%s: %zu seeds and files, %d mutations of each\033[K\n", target.name, inputs.size(),
              mutations);
}

// The beginning of one and the end of another, every fourth time, and some edits.
std::string Cross(const Inputs& inputs, std::mt19937& random) {
  std::string input = inputs[random() % inputs.size()].second;
  if (random() % 4 == 0) {
    const std::string& other = inputs[random() % inputs.size()].second;
    input.resize(random() % (input.size() + 1));
    input += other.substr(random() % (other.size() + 1));
  }
  return Mutate(std::move(input), random);
}

// The same inputs for the same seed, further the more time there is.
void RunFresh(const Target& target, const fs::path& corpora, uint32_t seed, int seconds) {
  constexpr unsigned kPatienceSeconds = 60;
  const fs::path broken = fs::temp_directory_path() / ("raftkv-fuzz-" + std::to_string(getpid()) +
                                                       "-" + target.name + ".input");
  const Inputs inputs = InputsOf(target, corpora);
  std::mt19937 random(seed);
  std::printf("%s: seed %u; if it breaks: --run %s %s\n", target.name, seed, target.name,
              broken.c_str());
  std::fflush(stdout);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    const std::string input = Cross(inputs, random);
    std::ofstream(broken, std::ios::binary | std::ios::trunc) << input;
    alarm(kPatienceSeconds);  // its default ends us
    target.run(input);
  }
  alarm(0);
  fs::remove(broken);
  std::printf("%s: held for %llu inputs\n", target.name, static_cast<unsigned long long>(runs));
}

int Usage() {
  std::fprintf(stderr,
               "usage: raftkv-fuzz-replay CORPORA [MUTATIONS] | --fresh SEED SECONDS CORPORA "
               "[TARGET...] | --run TARGET FILE... | --list | --seeds TARGET DIR\n");
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
  const bool fresh = args[0] == "--fresh";
  if (fresh && args.size() < 4) return Usage();
  const fs::path corpora = args[fresh ? 3 : 0];
  if (const std::string wrong = Wrong(corpora); !wrong.empty()) {
    std::fprintf(stderr, "%s: %s", corpora.c_str(), wrong.c_str());
    return 1;
  }
  if (fresh) {
    const auto seed = static_cast<uint32_t>(std::strtoul(args[1].c_str(), nullptr, 10));
    for (const Target& target : Targets()) {
      const bool chosen =
          args.size() == 4 || std::find(args.begin() + 4, args.end(), target.name) != args.end();
      if (chosen) RunFresh(target, corpora, seed, std::atoi(args[2].c_str()));
    }
    return 0;
  }
  for (const Target& target : Targets()) {
    Replay(target, corpora, args.size() > 1 ? std::atoi(args[1].c_str()) : 200);
  }
  return 0;
}

}  // namespace
}  // namespace raftkv::fuzz

int main(int argc, char** argv) {
  return raftkv::fuzz::Main(std::vector<std::string>(argv + 1, argv + argc));
}
