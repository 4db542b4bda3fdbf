// A server over a FakeNode on a fixed port, to measure the HTTP side alone
// (docs/performance-parts.md):
//   server_bench [host:port] and then e.g. wrk -c 64 -t 1 -d 5 'http://127.0.0.1:7070/kv/k'
#include <prometheus/registry.h>
#include <unistd.h>

#include <cstdio>
#include <semaphore>

#include "node/server/fake_node.h"
#include "node/server/server.h"

int main(int argc, char** argv) {
  raftkv::server::FakeNode node;
  std::binary_semaphore stored(0);
  node.Write(raftkv::kv::Put("k", std::string(256, 'v')), {},
             [&stored](auto) { stored.release(); });
  stored.acquire();
  prometheus::Registry registry;
  raftkv::server::ServerOptions options;
  options.client_listen = argc > 1 ? argv[1] : "127.0.0.1:7070";
  options.admin_listen = "127.0.0.1:0";
  auto server = raftkv::server::Server::Start(options, &node, &registry);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().message().c_str());
    return 1;
  }
  std::printf("admin port %u\n", (*server)->admin_port());
  std::fflush(stdout);
  pause();
}
