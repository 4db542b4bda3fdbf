// The load generator: requests over many keep-alive HTTP/1.1 connections, and how long each took.
//
// Closed loop: every client sends its next request when the last was answered. Open loop (rate >
// 0): requests are due at fixed times whether or not the server keeps up, and each latency counts
// from the time it was due, so that a stall shows in every request it delayed (no coordinated
// omission).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/host_port.h"
#include "base/status.h"
#include "tests/bench/histogram.h"

namespace raftkv::bench {

using Endpoint = HostPort;

// "HOST:PORT", with or without http:// in front; a host is an IPv4 address or a name with one.
// kInvalidArgument otherwise.
Result<Endpoint> ParseEndpoint(const std::string& text);

enum class Workload {
  kPut,
  kGet,
  kMixed,
  kFill,  // puts each key once, in order, and ends
};

enum class Protocol {
  kRaftkv,       // PUT and GET of path_prefix + key
  kEtcdGateway,  // etcd's JSON gateway, for machines without etcd's own benchmark client
};

struct LoadOptions {
  Protocol protocol = Protocol::kRaftkv;
  std::vector<Endpoint> endpoints;  // clients are spread over them round robin
  Workload workload = Workload::kPut;
  double read_ratio = 0.5;           // of kMixed: share of gets, 0 to 1
  std::string path_prefix = "/kv/";  // before the key
  std::string get_query;             // after the key in gets, e.g. "?consistency=stale"
  bool stale = false;                // kEtcdGateway: serializable gets
  uint64_t keys = 100'000;           // numbers 0 to keys - 1, padded with zeros to key_bytes
  int key_bytes = 8;
  size_t value_bytes = 256;
  int clients = 1;        // connections; each has one request under way
  double rate = 0;        // requests/s of all clients together; 0: closed loop
  uint64_t requests = 0;  // end after so many; 0: no limit
  Duration duration = std::chrono::seconds(10);  // end after so long; 0: no limit
  Duration timeout = std::chrono::seconds(10);   // of one request; then the connection is closed
  int threads = 1;
  uint64_t seed = 1;
};

// kInvalidArgument with a sentence that names the setting.
Status Validate(const LoadOptions& options);

struct LoadResult {
  Histogram reads;                    // nanoseconds, of answers with a 2xx status
  Histogram writes;                   // likewise
  std::map<int, uint64_t> by_status;  // all answers
  uint64_t connect_errors = 0;        // could not connect
  uint64_t broken = 0;                // connection lost or unintelligible before the answer
  uint64_t timeouts = 0;
  uint64_t unsent = 0;     // open loop: due before the end, but every client was busy
  double seconds = 0;      // first request sent to last answer
  double cpu_seconds = 0;  // of this process, during the run

  uint64_t succeeded() const { return reads.count() + writes.count(); }
  uint64_t failed() const;  // other statuses, connect_errors, broken, timeouts
  void Merge(const LoadResult& other);
};

// Runs the load to its end: at most duration + timeout. Errors: kInvalidArgument (see Validate, or
// a host name without an address); kIoError when the process runs out of files.
Result<LoadResult> RunLoad(const LoadOptions& options);

}  // namespace raftkv::bench
