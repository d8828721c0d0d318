// Threads of a block as fibers of one thread, in an order of our choice: what is right whatever
// the order, and only that, gives the same results in all of them.
#pragma once
#include <csetjmp>
#include <random>
#include <sys/mman.h>
#include <ucontext.h>

namespace shim {

constexpr size_t STACK = 256 << 10;
// Where shared memory lies among what else is zero at the start (ELF): see `poison`.
extern "C" __attribute__((visibility("hidden"))) char __bss_start[], _end[];

struct Fiber {
  ucontext_t first;
  jmp_buf at;
  bool started;
};

struct Scheduler {
  jmp_buf at;
  Thread *running = nullptr;
  std::vector<Fiber *> fibers;
  void (*kernel)(void **) = nullptr;
  void **args = nullptr;
  Order order = ASCENDING;
  std::mt19937 random;
  const char *error = nullptr;
};

// Not among the zeros.
__attribute__((section(".data.shim"))) static Scheduler *scheduler = nullptr;

inline Thread &self() { return *scheduler->running; }
inline bool copies_end_late() { return scheduler->order == SHUFFLED; }
inline const char *fail(const char *what) {
  if (!scheduler->error) scheduler->error = what;
  return what;
}

// Back to the scheduler; returns when it continues this fiber.
inline void pause(Fiber &own) {
  if (!_setjmp(own.at)) _longjmp(scheduler->at, 1);
}

inline Fiber &own_fiber() {
  Thread &thread = self();
  return *scheduler->fibers[&thread - thread.of->threads.data()];
}

inline bool waits(const Thread &t) { return t.waits_at && t.waits_at->generation == t.generation; }

inline void release(Barrier &b) { b.arrived = 0, b.generation++; }

inline void wait(Barrier &at, int line) {
  Thread &thread = self();
  if (at.arrived && at.line != line) fail("threads wait for each other at different places");
  at.line = line;
  if (++at.arrived >= at.expected) return release(at);
  thread.waits_at = &at, thread.generation = at.generation;
  pause(own_fiber());
}

inline void leave(Barrier &at) {
  if (--at.expected && at.arrived >= at.expected) release(at);
}

// A fiber lives on when its thread has returned, to be the next one.
inline void live() {
  for (;;) {
    scheduler->kernel(scheduler->args);
    Thread &thread = self();
    thread.done = true;
    leave(thread.of->barrier), leave(thread.of->warps[thread.warp].barrier);
    pause(own_fiber());
  }
}

inline Fiber *new_fiber() {
  auto *fiber = new Fiber();
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  getcontext(&fiber->first);
  fiber->first.uc_stack.ss_sp = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
  fiber->first.uc_stack.ss_size = STACK;
  makecontext(&fiber->first, live, 0);
  return fiber;
}

// Runs a thread until it waits or returns; false if it cannot go on.
inline bool step(Thread &thread) {
  if (thread.done || waits(thread)) return false;
  Fiber &fiber = *scheduler->fibers[&thread - thread.of->threads.data()];
  scheduler->running = &thread;
  thread.waits_at = nullptr;
  if (!_setjmp(scheduler->at)) {
    if (fiber.started) _longjmp(fiber.at, 1);
    fiber.started = true;
    setcontext(&fiber.first);
  }
  return true;
}

// Each warp goes on as far as it can, its threads one by one, before the next one does.
inline bool warp_by_warp(Block &block) {
  unsigned count = block.threads.size(), warps = block.warps.size();
  bool down = scheduler->order == DESCENDING, any = false;
  for (unsigned w = 0; w < warps; w++) {
    unsigned first = (down ? warps - 1 - w : w) * WARP;
    unsigned lanes = count - first < WARP ? count - first : WARP;
    for (bool on = true; on;) {
      on = false;
      for (unsigned i = 0; i < lanes; i++) on |= step(block.threads[first + (down ? lanes - 1 - i : i)]);
      any |= on;
    }
  }
  return any;
}

inline bool one_by_one(Block &block, std::vector<unsigned> &shuffled) {
  bool any = false;
  std::shuffle(shuffled.begin(), shuffled.end(), scheduler->random);
  for (unsigned i : shuffled) any |= step(block.threads[i]);
  return any;
}

// Shared memory holds anything when a block starts.
inline void poison() { memset(__bss_start, 0xFF, _end - __bss_start); }

inline const char *run(void (*kernel)(void **), void **args, Index blocks, Index threads, Order order) {
  if (!scheduler) scheduler = new Scheduler();
  scheduler->kernel = kernel, scheduler->args = args, scheduler->order = order;
  scheduler->error = nullptr, scheduler->random.seed(order);
  unsigned count = threads.x * threads.y * threads.z, all = blocks.x * blocks.y * blocks.z;
  while (scheduler->fibers.size() < count) scheduler->fibers.push_back(new_fiber());
  std::vector<unsigned> shuffled(count), numbers(all);
  for (unsigned i = 0; i < count; i++) shuffled[i] = i;
  for (unsigned i = 0; i < all; i++) numbers[i] = order == DESCENDING ? all - 1 - i : i;
  if (order == SHUFFLED) std::shuffle(numbers.begin(), numbers.end(), scheduler->random);
  Block block;
  for (unsigned number : numbers) {
    begin(block, number, blocks, threads);
    poison();
    bool on = true;
    while (on && !scheduler->error)
      on = order == SHUFFLED ? one_by_one(block, shuffled) : warp_by_warp(block);
    for (const Thread &t : block.threads)
      if (!t.done) fail("threads wait for others that never come");
    if (scheduler->error) {
      scheduler->fibers.clear(); // those that stand in a kernel are lost
      return scheduler->error;
    }
  }
  return nullptr;
}

} // namespace shim
