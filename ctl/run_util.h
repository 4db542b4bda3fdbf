// Runs commands as a script does, for tests: arguments and input in; output and exit status out.
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ctl/app.h"

namespace raftkv::ctl {

struct Outcome {
  int status;
  std::string out;
  std::string err;
};

inline Outcome RunWith(const std::string& input, std::vector<std::string> args) {
  std::istringstream in(input);
  std::ostringstream out, err;
  int status = Run(args, in, out, err);
  return {status, out.str(), err.str()};
}
inline Outcome RunArgs(std::vector<std::string> args) { return RunWith("", std::move(args)); }

}  // namespace raftkv::ctl
