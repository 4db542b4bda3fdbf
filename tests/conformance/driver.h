// What executes the directives of one kind of data-driven file.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tests/conformance/datadriven.h"

namespace raftkv::conformance {

// One instance runs one file: state carries over from directive to directive.
class Driver {
 public:
  virtual ~Driver() = default;
  // The output of the directive; what is wrong with it, if it cannot be executed.
  virtual std::string Run(const Directive& directive) = 0;
};

// Quorum arithmetic: `committed`, `vote`.
std::unique_ptr<Driver> MakeQuorumDriver();
// The configuration changer: `simple`, `enter-joint`, `leave-joint`.
std::unique_ptr<Driver> MakeConfChangeDriver();
// A group of raft nodes whose every step the file decides.
std::unique_ptr<Driver> MakeInteractionDriver();

// By the name of the folder that a file lies in; null if the folder is not one of a suite.
std::unique_ptr<Driver> MakeDriver(std::string_view folder);

}  // namespace raftkv::conformance
