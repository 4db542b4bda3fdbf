// An operator as a process, and what it says of itself at its health address.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace raftkv::kube {

class OperatorProcess {
 public:
  // The program with its arguments; its health address is 127.0.0.1:`port`.
  OperatorProcess(std::vector<std::string> command, int port);
  ~OperatorProcess();
  OperatorProcess(const OperatorProcess&) = delete;
  OperatorProcess& operator=(const OperatorProcess&) = delete;

  // The exit status, or -1.
  int End(int signal_number);

  // The body of GET `path`; empty: no answer.
  std::string Get(const std::string& path) const;
  // The sum of a metric's series whose lines contain `part`.
  double Metric(const std::string& name, const std::string& part = "") const;

 private:
  const int port_;
  pid_t pid_ = -1;
};

}  // namespace raftkv::kube
