// A block of CUDA threads on the CPU, and what its threads do together.
//
// Every thread is a fiber (fibers.h) that runs until it waits for others, so that a thread can be
// ahead of all others by as much as the barriers let it. With SHIM_THREADS they are real threads
// (threads.h), for a race detector.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace shim {

struct Index {
  unsigned x, y, z;
};

constexpr unsigned WARP = 32;
// Largest value that lanes exchange, in bytes.
constexpr unsigned LARGEST = 32;

// Threads that wait for each other. Those that have returned no longer count.
struct Barrier {
  unsigned expected = 0, arrived = 0, generation = 0;
  int line = 0; // where those that have arrived are
};

struct Warp {
  Barrier barrier;
  // What each lane gives to the others, twice: a lane can be one exchange ahead.
  alignas(16) unsigned char given[2][WARP][LARGEST];
};

// A copy to shared memory that has been started.
struct Copy {
  void *to;
  const void *from; // null: zeros
};

struct Block;

struct Thread {
  Index thread, block, threads, blocks;
  unsigned lane, warp, exchanges;
  Block *of;
  Barrier *waits_at;
  unsigned generation; // of that barrier when it began to wait
  bool done;
  std::vector<Copy> started;
  std::vector<size_t> groups; // how many copies each group has that is not there yet
  std::vector<std::pair<float *, float>> stores; // of matrices, that are not there yet
};

struct Block {
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<Thread> threads;
};

// The order of threads and blocks; the last of them ends copies as late as they may end.
enum Order { ASCENDING, DESCENDING, SHUFFLED };

inline const char *fail(const char *what);
inline Thread &self();
inline void wait(Barrier &at, int line);
inline void begin(Block &block, unsigned number, Index blocks, Index threads);

inline void sync_block(int line) { wait(self().of->barrier, line); }

template <class T> struct Lanes {
  T at[WARP];
};

// What every lane of the warp gives, to each of them.
template <class T> Lanes<T> exchange(const T &own, int line) {
  static_assert(sizeof(T) <= LARGEST);
  Thread &thread = self();
  Warp &warp = thread.of->warps[thread.warp];
  auto &given = warp.given[thread.exchanges++ % 2];
  memcpy(given[thread.lane], &own, sizeof(T));
  wait(warp.barrier, line);
  Lanes<T> all;
  for (unsigned lane = 0; lane < WARP; lane++) memcpy((void *)&all.at[lane], given[lane], sizeof(T));
  return all;
}

inline void copy(const Copy &c, size_t bytes) {
  if (c.from) memcpy(c.to, c.from, bytes);
  else memset(c.to, 0, bytes);
}

} // namespace shim

#ifdef SHIM_THREADS
#include "threads.h"
#else
#include "fibers.h"
#endif

namespace shim {

// Starts a copy of 16 bytes; it ends at once, or when its thread waits for it.
inline void start_copy(void *to, const void *from) {
  if (copies_end_late()) self().started.push_back({to, from});
  else copy({to, from}, 16);
}

inline void end_group() {
  Thread &thread = self();
  size_t before = 0;
  for (size_t n : thread.groups) before += n;
  thread.groups.push_back(thread.started.size() - before);
}

// Until all groups but the last `pending` are there.
inline void wait_groups(size_t pending) {
  Thread &thread = self();
  while (thread.groups.size() > pending) {
    for (size_t i = 0; i < thread.groups[0]; i++) copy(thread.started[i], 16);
    thread.started.erase(thread.started.begin(), thread.started.begin() + thread.groups[0]);
    thread.groups.erase(thread.groups.begin());
  }
}

// Sets up the threads of block number `number`.
inline void begin(Block &block, unsigned number, Index blocks, Index threads) {
  unsigned count = threads.x * threads.y * threads.z;
  block.barrier = {count};
  block.warps.resize((count + WARP - 1) / WARP);
  for (unsigned w = 0; w < block.warps.size(); w++) {
    block.warps[w].barrier = {count - w * WARP < WARP ? count - w * WARP : WARP};
    memset(block.warps[w].given, 0xFF, sizeof block.warps[w].given);
  }
  block.threads.resize(count);
  for (unsigned i = 0; i < count; i++) {
    Thread &t = block.threads[i];
    t.thread = {i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y)};
    t.block = {number % blocks.x, number / blocks.x % blocks.y, number / (blocks.x * blocks.y)};
    t.threads = threads, t.blocks = blocks;
    t.lane = i % WARP, t.warp = i / WARP, t.exchanges = 0;
    t.of = &block, t.waits_at = nullptr, t.done = false;
    t.started.clear(), t.groups.clear(), t.stores.clear();
  }
}

} // namespace shim
