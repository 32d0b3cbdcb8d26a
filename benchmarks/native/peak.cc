// What this processor can do at best, for the roofline: bits counted in registers, and bytes that reach a core.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;

// The least seconds of some repetitions.
template <typename Work>
double least(int repetitions, Work work) {
  double result = 1e9;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = Clock::now();
    work();
    const double taken = std::chrono::duration<double>(Clock::now() - start).count();
    result = taken < result ? taken : result;
  }
  return result;
}

volatile std::uint64_t sink;

#if defined(__x86_64__)
constexpr int kSums = 16, kRounds = 1000000;

// xor, count and add on registers alone.
__attribute__((target("avx512f,avx512vpopcntdq"))) void count_bits() {
  __m512i sums[kSums], bits = _mm512_set1_epi32(0x12345678), weights = _mm512_set1_epi32(0x0f0f0f0f);
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+v"(bits));  // the compiler must not compute it once
      sums[i] = _mm512_add_epi32(sums[i], _mm512_popcnt_epi32(_mm512_xor_si512(bits, weights)));
    }
  }
  __m512i all = sums[0];
  for (int i = 1; i < kSums; ++i) all = _mm512_add_epi32(all, sums[i]);
  sink = _mm512_reduce_add_epi32(all);
}
#endif

}  // namespace

int main() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vpopcntdq")) {
    // Binary multiply-accumulates per second.
    std::printf("counting %.4g\n", 512.0 * kSums * kRounds / least(9, count_bits));
  }
#endif
  for (const std::size_t kilobytes : {24, 512, 1536, 6144, 65536}) {
    std::vector<std::uint64_t> from(kilobytes * 128, 1), to(kilobytes * 128);
    const int rounds = static_cast<int>(1 + 262144 / kilobytes);
    const double copied = least(5, [&] {
      for (int i = 0; i < rounds; ++i) {
        std::memcpy(to.data(), from.data(), from.size() * 8);
        sink = sink + to[i % to.size()];
      }
    });
    std::printf("copy %zu %.4g\n", kilobytes, 2.0 * from.size() * 8 * rounds / copied);
  }
  return 0;
}
