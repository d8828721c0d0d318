// Kernels by name, for a program that has loaded them.
#pragma once

namespace shim {

template <auto kernel> struct Call;
template <class... Args, void (*kernel)(Args...)> struct Call<kernel> {
  template <size_t... I> static void with(void **args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<Args> *>(args[I])...);
  }
  static void go(void **args) { with(args, std::index_sequence_for<Args...>()); }
};

struct Kernel {
  const char *name;
  void (*call)(void **);
};

} // namespace shim

#define KERNEL(NAME) {#NAME, shim::Call<NAME>::go}

// Defines `launch`, which runs one of the kernels; it returns null, or what is wrong.
#define KERNELS(...)                                                                               \
  static const shim::Kernel all_kernels[] = {__VA_ARGS__};                                         \
  extern "C" const char *launch(const char *name, const unsigned *blocks, const unsigned *threads, \
                                void **args, unsigned order) {                                     \
    for (const shim::Kernel &kernel : all_kernels)                                                 \
      if (!strcmp(kernel.name, name))                                                              \
        return shim::run(kernel.call, args, {blocks[0], blocks[1], blocks[2]},                     \
                         {threads[0], threads[1], threads[2]}, shim::Order(order));                \
    return "no such kernel";                                                                       \
  }
