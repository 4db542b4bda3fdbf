#include <cstdio>
#include <cstdlib>
#include "tests/simulation/simulation.h"
int main(int argc, char** argv) {
  raftkv::sim::RunOptions o;
  uint64_t from = strtoull(argv[1], nullptr, 10),
           to = argc > 2 ? strtoull(argv[2], nullptr, 10) : from;
  raftkv::sim::Coverage c;
  double sim = 0;
  for (uint64_t s = from; s <= to; ++s) {
    o.seed = s;
    o.print_events = getenv("EV") != nullptr;
    if (getenv("HI")) o.history_file = getenv("HI");
    auto r = raftkv::sim::Run(o);
    c.Add(r.coverage);
    sim += r.simulated.count() / 1e9;
    printf("%llu: n%llu %s at %.3f, %.1f s, %llu events, %llu ops hash %llx\n",
           (unsigned long long)s, (unsigned long long)r.members, r.failure.c_str(),
           r.failed_at.count() / 1e9, r.simulated.count() / 1e9, (unsigned long long)r.events,
           (unsigned long long)r.operations, (unsigned long long)r.hash);
    fflush(stdout);
  }
  printf("%s\n%.1f s simulated\n", c.Table().c_str(), sim);
}
