// Which kernels this processor can run.
#include <cstring>
#include <string>
#include <vector>

#include "kernels/kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bitat {
namespace {

#if defined(__x86_64__)
// Linux gives the memory of AMX's tiles only to those who ask for it.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_amx() {
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;  // leaf 7: structured extended features
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  const bool tiles = edx >> 24 & 1, int8 = edx >> 25 & 1;
  return tiles && int8 && may_use_tiles();
}
#endif

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> result = {&kPortableKernels};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) result.push_back(&kAvx2Kernels);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    result.push_back(&kAvx512Kernels);
    if (__builtin_cpu_supports("avx512vpopcntdq")) {
      result.push_back(&kAvx512VpopcntKernels);
      if (has_amx()) result.push_back(&kAmxKernels);
    }
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
