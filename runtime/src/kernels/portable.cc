// Kernels in plain C++: for processors without others, and what the others are compared with.
#include <cmath>
#include <cstring>

#include "kernels/epilogue.h"

namespace bitat {
namespace {

struct Scalar {
  static constexpr int width = 1;
  using Floats = float;
  using Ints = std::int32_t;

  static float load(const float* from) { return *from; }
  static float load_some(const float* from, int) { return *from; }
  static void store(float* to, float value) { *to = value; }
  static void store_some(float* to, float value, int) { *to = value; }
  static std::int32_t load_ints(const std::int32_t* from) { return *from; }
  static float splat(float value) { return value; }
  static std::int32_t splat(std::int32_t value) { return value; }
  static float add(float a, float b) { return a + b; }
  static std::int32_t add(std::int32_t a, std::int32_t b) { return a + b; }
  static float mul(float a, float b) { return a * b; }
  static std::int32_t min(std::int32_t a, std::int32_t b) { return a < b ? a : b; }
  static std::int32_t max(std::int32_t a, std::int32_t b) { return a > b ? a : b; }
  static float to_floats(std::int32_t a) { return static_cast<float>(a); }
  static float prelu(float a, float slope) { return a < 0 ? a * slope : a; }
  static std::uint32_t below_zero(float a) { return a < 0; }
  static std::uint32_t above(std::int32_t a, std::int32_t b) { return a > b; }
  static void store_int8(std::int8_t* to, float value, int) {
    const float rounded = std::round(value == value ? value : 0.0f);
    *to = static_cast<std::int8_t>(rounded > 127.0f ? 127.0f : rounded > -128.0f ? rounded : -128.0f);
  }
};

inline int popcount(std::uint32_t word) { return __builtin_popcount(word); }

struct Accumulate {
  template <int kPixels>
  static void run(const std::uint32_t* patches, std::size_t stride, int words, const std::uint32_t* weights,
                  std::int32_t* acc) {
    std::memset(acc, 0, sizeof(std::int32_t) * kPixels * kBlockChannels);
    for (int word = 0; word < words; ++word, weights += kBlockChannels) {
      for (int pixel = 0; pixel < kPixels; ++pixel) {
        const std::uint32_t bits = patches[pixel * stride + word];
        std::int32_t* sums = acc + pixel * kBlockChannels;
        for (int channel = 0; channel < kBlockChannels; ++channel) sums[channel] += popcount(bits ^ weights[channel]);
      }
    }
  }
};

void convolve(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue, void*) {
  convolve_tiles<Scalar, Accumulate>(patches, static_cast<const std::uint32_t*>(packed), block_begin, block_end, epilogue);
}

}  // namespace

const Kernels kPortableKernels = {
    "portable", interleaved_bytes, interleave,  pixels_for_cache,
    no_scratch, convolve,          quantize_rows<Scalar>, quantize_int8_rows,
};

}  // namespace bitat
