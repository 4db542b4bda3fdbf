#include "tests/kube/operator_process.h"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include <sstream>

#include "operator/kube/http_connection.h"
#include "operator/kube/tls_stream.h"

extern char** environ;

namespace raftkv::kube {

OperatorProcess::OperatorProcess(std::vector<std::string> command, int port) : port_(port) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ), 0);
}

OperatorProcess::~OperatorProcess() {
  if (pid_ > 0) End(SIGKILL);
}

int OperatorProcess::End(int signal_number) {
  kill(pid_, signal_number);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string OperatorProcess::Get(const std::string& path) const {
  Wait wait = Wait::For(std::chrono::seconds(5));
  auto stream = TlsStream::Connect("127.0.0.1", static_cast<uint16_t>(port_), "", nullptr, wait);
  if (!stream) return "";
  HttpConnection connection(std::move(*stream), {});
  HttpCall call{.method = "GET", .target = path, .headers = {{"Host", "h"}}, .body = ""};
  if (!connection.Send(call, wait)) return "";
  return connection.ReadAll(wait).value_or("");
}

double OperatorProcess::Metric(const std::string& name, const std::string& part) const {
  std::istringstream lines(Get("/metrics"));
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    bool ours = line.starts_with(name) && (line[name.size()] == ' ' || line[name.size()] == '{');
    if (ours && line.find(part) != std::string::npos) {
      sum += std::stod(line.substr(line.rfind(' ')));
    }
  }
  return sum;
}

}  // namespace raftkv::kube
