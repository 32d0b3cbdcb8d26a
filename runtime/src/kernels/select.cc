// Which kernels this processor can run.
#include <cstring>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace bitat {
namespace {

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> result = {&kPortableKernels};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) result.push_back(&kAvx2Kernels);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    result.push_back(&kAvx512Kernels);
    if (__builtin_cpu_supports("avx512vpopcntdq")) result.push_back(&kAvx512VpopcntKernels);
  }
#elif defined(__aarch64__)
  result.push_back(&kNeonKernels);
#endif
  return result;
}

const std::vector<const Kernels*>& families() {
  static const std::vector<const Kernels*> result = supported();
  return result;
}

}  // namespace

const char* kernel_families() {
  static const std::string names = [] {
    std::string joined;
    for (const Kernels* one : families()) joined += (joined.empty() ? "" : ",") + std::string(one->name);
    return joined;
  }();
  return names.c_str();
}

const Kernels* find_kernels(const char* name) {
  if (std::strcmp(name, "auto") == 0) return families().back();
  for (const Kernels* one : families()) {
    if (std::strcmp(name, one->name) == 0) return one;
  }
  return nullptr;
}

}  // namespace bitat
