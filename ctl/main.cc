#include <csignal>
#include <iostream>

#include "ctl/app.h"

int main(int argc, char** argv) {
  // A reader that goes away (a pager, head) is an error of the output, not a reason to die
  // silently.
  std::signal(SIGPIPE, SIG_IGN);
  std::ios::sync_with_stdio(false);
  return raftkv::ctl::Run({argv + 1, argv + argc}, std::cin, std::cout, std::cerr);
}
