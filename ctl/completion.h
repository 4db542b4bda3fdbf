// Completion of commands and options in shells.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace raftkv::ctl {

// A script for "bash", "zsh" or "fish" that knows the commands and long options of `app`.
std::string CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace raftkv::ctl
