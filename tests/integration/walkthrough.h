// Runs the walk-throughs of README.md word for word: what a reader types is what is tested.
//
// A walk-through is a shell block after a line `<!-- walk-through: NAME -->`. In it
//   COMMAND &          starts a node in the background, as job %1, %2, ... in order
//   kill [-9] %N       ends job N
//   wait %N            job N must end by itself, with exit status 0
//   anything else      is run until it succeeds and prints exactly the lines that follow as `# ...`
//                      (a reader, too, waits a moment until nodes have found each other)
// Port numbers are replaced by free ones; `raftkv-node` is the one built beside the test.
//
// Thread-safety: none.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace raftkv::testing {

class Walkthrough {
 public:
  // `readme` is the text of README.md.
  explicit Walkthrough(std::string readme);

  // Runs a block. `words` are replaced in it first (what a reader fills in). Returns what went
  // wrong; empty if nothing did.
  std::string Run(const std::string& name, const std::map<std::string, std::string>& words = {});

  // The free port that stands for this port of the README.
  int Port(int port);
  // Job %N, from 1.
  Process& Job(size_t number) { return *jobs_.at(number - 1); }
  const std::string& directory() const { return directory_.path(); }
  // The logs of all jobs.
  std::string Logs() const;

 private:
  struct Step {
    std::string command;
    std::string output;
  };
  std::vector<Step> ParseBlock(const std::string& name) const;
  std::string ReplacePorts(const std::string& text);
  std::string RunStep(const Step& step);
  void StartJob(const std::string& command);

  const std::string readme_;
  TempDir directory_;
  std::map<int, int> ports_;
  std::vector<std::unique_ptr<Process>> jobs_;
};

}  // namespace raftkv::testing
