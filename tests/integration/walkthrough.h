// Runs the walk-throughs of README.md word for word: what a reader pastes is what is tested.
//
// A walk-through is a shell block after a line `<!-- walk-through: NAME -->`. Its lines go one
// after the other, each once, to one interactive-like bash (with job control: `&`, `kill %N`, `wait
// %N`). Each must succeed and print exactly the lines that follow it behind `# `, or nothing (of
// raftkvctl, which waits for a node, only the exit status counts); before the line `# ...` it has
// to print something. Port numbers are replaced by free ones; `raftkv-node` and `raftkvctl` are
// those built beside the test.
//
// Thread-safety: none.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace raftkv::testing {

class Walkthrough {
 public:
  // `readme` is the text of README.md.
  explicit Walkthrough(std::string readme);
  // Ends the nodes that still run, also if the test itself is killed.
  ~Walkthrough();
  Walkthrough(const Walkthrough&) = delete;
  Walkthrough& operator=(const Walkthrough&) = delete;

  // Runs a block. `words` are replaced in it first (what a reader fills in). Returns what went
  // wrong; empty if nothing did.
  std::string Run(const std::string& name, const std::map<std::string, std::string>& words = {});

  // The free port that stands for this port of the README.
  int Port(int port);
  const std::string& directory() const { return directory_.path(); }
  // What the shell and the nodes said.
  std::string Logs() const;

 private:
  struct Step {
    std::string command;
    std::string output;
  };
  std::vector<Step> ParseBlock(const std::string& name) const;
  std::string ReplacePorts(const std::string& text);
  std::string RunStep(const Step& step);
  // Has the shell run one line; its exit status, nothing if it does not end.
  std::optional<int> Type(const std::string& line, const std::string& output_file);

  const std::string readme_;
  TempDir tools_;  // what the shell needs beside the reader's folder
  TempDir directory_;
  std::map<int, int> ports_;
  std::unique_ptr<Process> shell_;
  int input_ = -1;  // the shell's
  int lines_ = 0;
};

}  // namespace raftkv::testing
