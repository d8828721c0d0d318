// Kernels by name, for a program that has loaded them.
#pragma once
#include <tuple>
#include <type_traits>

namespace shim {

template <auto kernel> struct Call;
template <class... Args, void (*kernel)(Args...)> struct Call<kernel> {
#ifdef SHIM_METAL
  // Where the thread is comes last.
  static constexpr size_t BOUND = sizeof...(Args) - 5;
  template <class... Bound> static void call(Bound &...bound) {
    const Thread &t = self();
    kernel(bound..., t.block, t.thread, t.threads, t.lane, t.warp);
  }
#else
  static constexpr size_t BOUND = sizeof...(Args);
  template <class... Bound> static void call(Bound &...bound) { kernel(bound...); }
#endif
  template <size_t I>
  using Arg = std::remove_cvref_t<std::tuple_element_t<I, std::tuple<Args...>>>;
  template <size_t... I> static void with(void **args, std::index_sequence<I...>) {
    call(*static_cast<Arg<I> *>(args[I])...);
  }
  static void go(void **args) { with(args, std::make_index_sequence<BOUND>()); }
  // A bit for each argument that is the address of something to write.
  template <class T> static constexpr bool writes =
      std::is_pointer_v<T> && !std::is_const_v<std::remove_pointer_t<T>>;
  template <size_t... I> static constexpr unsigned mask(std::index_sequence<I...>) {
    return (0u | ... | (unsigned(writes<Arg<I>>) << I));
  }
  static constexpr unsigned WRITTEN = mask(std::make_index_sequence<BOUND>());
};

struct Kernel {
  const char *name;
  void (*call)(void **);
  unsigned written;
};

} // namespace shim

#define KERNEL(NAME) {#NAME, shim::Call<NAME>::go, shim::Call<NAME>::WRITTEN}

// Defines `launch`, which runs one of the kernels; it returns null, or what is wrong.
#define KERNELS(...)                                                                               \
  static const shim::Kernel all_kernels[] = {__VA_ARGS__};                                         \
  extern "C" const char *launch(const char *name, const unsigned *blocks, const unsigned *threads, \
                                void **args, unsigned order) {                                     \
    for (const shim::Kernel &entry : all_kernels)                                                  \
      if (!strcmp(entry.name, name))                                                              \
        return shim::run(entry.call, args, {blocks[0], blocks[1], blocks[2]},                     \
                         {threads[0], threads[1], threads[2]}, shim::Order(order));                \
    return "no such kernel";                                                                       \
  }                                                                                                \
  extern "C" unsigned written(const char *name) {                                                  \
    for (const shim::Kernel &entry : all_kernels)                                                  \
      if (!strcmp(entry.name, name)) return entry.written;                                       \
    return 0;                                                                                      \
  }
