// Numbers below the smallest normal one count as zero while one of these lives, on its thread: as TFLite's interpreter has it for
// the thread that calls it, so that signs do not depend on the thread that computes them.
#ifndef BITAT_CORE_DENORMALS_H_
#define BITAT_CORE_DENORMALS_H_

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bitat {

class DenormalsAreZero {
 public:
  DenormalsAreZero() : before_(get()) { set(before_ | kFlags); }
  ~DenormalsAreZero() { set(before_); }
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr std::uint64_t kFlags = 0x8040;  // flush to zero, denormals are zero
  static std::uint64_t get() { return _mm_getcsr(); }
  static void set(std::uint64_t flags) { _mm_setcsr(static_cast<unsigned>(flags)); }
#elif defined(__aarch64__)
  static constexpr std::uint64_t kFlags = std::uint64_t{1} << 24;  // FZ
  static std::uint64_t get() {
    std::uint64_t flags;
    asm volatile("mrs %0, fpcr" : "=r"(flags));
    return flags;
  }
  static void set(std::uint64_t flags) { asm volatile("msr fpcr, %0" ::"r"(flags)); }
#else
  static constexpr std::uint64_t kFlags = 0;
  static std::uint64_t get() { return 0; }
  static void set(std::uint64_t) {}
#endif
  std::uint64_t before_;
};

}  // namespace bitat

#endif  // BITAT_CORE_DENORMALS_H_
