// raftkvctl: the command line of raftkv.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "base/status.h"

namespace raftkv::ctl {

// The exit status that scripts see; docs/ctl.md has the table.
int ExitStatus(Code code);

// Runs one command. `args` without the program's name. Returns the exit status.
int Run(const std::vector<std::string>& args, std::istream& in, std::ostream& out,
        std::ostream& err);

}  // namespace raftkv::ctl
