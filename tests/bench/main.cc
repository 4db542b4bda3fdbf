// raftkv-bench: the load generator's command line.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <map>

#include "tests/bench/load.h"
#include "tests/bench/report.h"

namespace raftkv::bench {
namespace {

struct Settings {
  LoadOptions load;
  std::vector<std::string> endpoints{"127.0.0.1:7070"};
  std::string consistency;
  double duration_s = 10;
  double timeout_s = 10;
  double warmup_s = 1;
  bool fill = false;
  bool json = false;
};

constexpr const char* kFooter = R"(
Latencies are counted for answers with a 2xx status; everything else is reported by kind.
With --rate the loop is open: latencies count from the time a request was due.
Exit status: 0 all requests succeeded; 1 some failed; 2 wrong usage or nothing could be run.)";

void AddOptions(CLI::App& app, Settings& s) {
  static const std::map<std::string, Workload> kWorkloads = {
      {"put", Workload::kPut}, {"get", Workload::kGet}, {"mixed", Workload::kMixed}};
  app.add_option("workload", s.load.workload, "put, get or mixed")
      ->required()
      ->transform(CLI::CheckedTransformer(kWorkloads))
      ->option_text("put|get|mixed");
  app.add_option("--endpoints", s.endpoints,
                 "HOST:PORT,...: clients are spread over them round robin")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("--clients", s.load.clients, "connections, each with one request under way")
      ->capture_default_str();
  app.add_option("--threads", s.load.threads, "threads of the generator")->capture_default_str();
  app.add_option("--rate", s.load.rate, "requests/s of all clients together; 0: closed loop")
      ->capture_default_str();
  app.add_option("--requests", s.load.requests, "end after so many requests; 0: no limit")
      ->capture_default_str();
  app.add_option("--duration", s.duration_s, "end after so many seconds; 0: no limit")
      ->capture_default_str();
  app.add_option("--timeout", s.timeout_s, "of one request, seconds")->capture_default_str();
  app.add_option("--warmup", s.warmup_s, "seconds of the same load before, not reported")
      ->capture_default_str();
  app.add_flag("--fill", s.fill, "put every key once first, not reported");
  app.add_option("--keys", s.load.keys, "number of different keys")->capture_default_str();
  app.add_option("--key-size", s.load.key_bytes, "bytes")->capture_default_str();
  app.add_option("--value-size", s.load.value_bytes, "bytes")->capture_default_str();
  app.add_option("--read-ratio", s.load.read_ratio, "share of gets in mixed, 0 to 1")
      ->capture_default_str();
  app.add_option("--consistency", s.consistency, "of gets: linearizable, lease or stale")
      ->check(CLI::IsMember({"linearizable", "lease", "stale"}));
  static const std::map<std::string, Protocol> kProtocols = {
      {"raftkv", Protocol::kRaftkv}, {"etcd-gateway", Protocol::kEtcdGateway}};
  app.add_option("--protocol", s.load.protocol, "raftkv, or etcd-gateway: etcd's JSON gateway")
      ->transform(CLI::CheckedTransformer(kProtocols))
      ->option_text("raftkv|etcd-gateway");
  app.add_option("--path-prefix", s.load.path_prefix, "before the key")->capture_default_str();
  app.add_option("--seed", s.load.seed, "of keys and values")->capture_default_str();
  app.add_flag("--json", s.json, "print one JSON object");
}

Status RunFirst(LoadOptions options, const char* what) {
  Result<LoadResult> result = RunLoad(options);
  if (!result) return result.error();
  if (result->succeeded() == 0)
    return Status(Code::kUnavailable, std::string("no request of the ") + what + " succeeded");
  return Status::Ok();
}

Result<LoadResult> RunAll(Settings& s) {
  for (const std::string& text : s.endpoints) {
    ASSIGN_OR_RETURN(Endpoint endpoint, ParseEndpoint(text));
    s.load.endpoints.push_back(endpoint);
  }
  using Seconds = std::chrono::duration<double>;
  s.load.duration = std::chrono::duration_cast<Duration>(Seconds(s.duration_s));
  s.load.timeout = std::chrono::duration_cast<Duration>(Seconds(s.timeout_s));
  s.load.stale = s.consistency == "stale";
  if (!s.consistency.empty()) s.load.get_query = "?consistency=" + s.consistency;
  if (s.fill) {
    LoadOptions fill = s.load;
    fill.workload = Workload::kFill;
    fill.rate = 0;
    fill.duration = Duration::zero();
    RETURN_UNEXPECTED_IF_ERROR(RunFirst(fill, "fill"));
  }
  if (s.warmup_s > 0) {
    LoadOptions warmup = s.load;
    warmup.requests = 0;
    warmup.duration = std::chrono::duration_cast<Duration>(Seconds(s.warmup_s));
    RETURN_UNEXPECTED_IF_ERROR(RunFirst(warmup, "warm-up"));
  }
  return RunLoad(s.load);
}

int Main(int argc, char** argv) {
  CLI::App app(
      "raftkv-bench: load over keep-alive HTTP/1.1 connections, and how long answers took");
  Settings settings;
  AddOptions(app, settings);
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  Result<LoadResult> result = RunAll(settings);
  if (!result) {
    std::fprintf(stderr, "raftkv-bench: %s\n", result.error().ToString().c_str());
    return 2;
  }
  std::string report =
      settings.json ? JsonReport(settings.load, *result) : TextReport(settings.load, *result);
  std::fputs(report.c_str(), stdout);
  return result->failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace raftkv::bench

int main(int argc, char** argv) { return raftkv::bench::Main(argc, argv); }
