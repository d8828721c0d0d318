// Threads of a block as real threads, so that a race detector sees what orders their accesses.
#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>

namespace shim {

static thread_local Thread *running;
static std::mutex mutex;
static std::condition_variable changed;

inline Thread &self() { return *running; }
inline bool copies_end_late() { return true; }
inline const char *fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  abort();
}

inline void release(Barrier &b) {
  b.arrived = 0, b.generation++;
  changed.notify_all();
}

inline void wait(Barrier &at, int line) {
  std::unique_lock<std::mutex> lock(mutex);
  if (at.arrived && at.line != line) fail("threads wait for each other at different places");
  at.line = line;
  unsigned generation = at.generation;
  if (++at.arrived >= at.expected) return release(at);
  changed.wait(lock, [&] { return at.generation != generation; });
}

inline void leave(Barrier &at) {
  std::unique_lock<std::mutex> lock(mutex);
  if (--at.expected && at.arrived >= at.expected) release(at);
}

inline const char *run(void (*kernel)(void **), void **args, Index blocks, Index threads, Order) {
  Block block;
  for (unsigned number = 0; number < blocks.x * blocks.y * blocks.z; number++) {
    begin(block, number, blocks, threads);
    std::vector<std::thread> all;
    for (Thread &t : block.threads)
      all.emplace_back([&] {
        running = &t;
        kernel(args);
        leave(block.barrier), leave(block.warps[t.warp].barrier);
      });
    for (std::thread &t : all) t.join();
  }
  return nullptr;
}

} // namespace shim
