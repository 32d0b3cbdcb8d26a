// Kernels for 64-bit ARM: four channels to a vector, bits are counted byte by byte.
#include <arm_neon.h>

#include "kernels/epilogue.h"

namespace bitat {
namespace {

struct Vector128 {
  static constexpr int width = 4;
  using Floats = float32x4_t;
  using Ints = int32x4_t;

  static float32x4_t load(const float* from) { return vld1q_f32(from); }
  static float32x4_t load_some(const float* from, int lanes) {
    float values[width] = {};
    for (int lane = 0; lane < lanes; ++lane) values[lane] = from[lane];
    return vld1q_f32(values);
  }
  static void store(float* to, float32x4_t value) { vst1q_f32(to, value); }
  static void store_some(float* to, float32x4_t value, int lanes) {
    float values[width];
    vst1q_f32(values, value);
    for (int lane = 0; lane < lanes; ++lane) to[lane] = values[lane];
  }
  static int32x4_t load_ints(const std::int32_t* from) { return vld1q_s32(from); }
  static float32x4_t splat(float value) { return vdupq_n_f32(value); }
  static int32x4_t splat(std::int32_t value) { return vdupq_n_s32(value); }
  static float32x4_t add(float32x4_t a, float32x4_t b) { return vaddq_f32(a, b); }
  static int32x4_t add(int32x4_t a, int32x4_t b) { return vaddq_s32(a, b); }
  static float32x4_t mul(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
  static int32x4_t min(int32x4_t a, int32x4_t b) { return vminq_s32(a, b); }
  static int32x4_t max(int32x4_t a, int32x4_t b) { return vmaxq_s32(a, b); }
  static float32x4_t to_floats(int32x4_t a) { return vcvtq_f32_s32(a); }
  static float32x4_t prelu(float32x4_t a, float32x4_t slope) { return vbslq_f32(vcltzq_f32(a), vmulq_f32(a, slope), a); }
  static std::uint32_t bits(uint32x4_t lanes) {
    static const std::uint32_t kPlaces[width] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(lanes, vld1q_u32(kPlaces)));
  }
  static std::uint32_t below_zero(float32x4_t a) { return bits(vcltzq_f32(a)); }
  static std::uint32_t above(int32x4_t a, int32x4_t b) { return bits(vcgtq_s32(a, b)); }
  static void store_int8(std::int8_t* to, float32x4_t value, int lanes) {
    std::int8_t bytes[8];
    const int16x4_t halves = vqmovn_s32(vcvtaq_s32_f32(value));  // ties away from zero; 0 for what is no number
    vst1_s8(bytes, vqmovn_s16(vcombine_s16(halves, halves)));
    for (int lane = 0; lane < lanes; ++lane) to[lane] = bytes[lane];
  }
};

constexpr int kWordsOfBytes = 31;  // words whose counts, at most 8 a byte, fit into a byte

inline int32x4_t widened(uint8x16_t bytes) { return vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(bytes))); }

struct Accumulate {
  // Half a block, 16 channels, at a time: its sums and weights stay in registers.
  template <int kPixels>
  static void half(const std::uint32_t* patches, std::size_t stride, int words, const std::uint32_t* weights,
                   std::int32_t* acc) {
    for (int first = 0; first < words; first += kWordsOfBytes) {
      const int end = std::min(words, first + kWordsOfBytes);
      uint8x16_t sums[kPixels][4];
#pragma GCC unroll 4
      for (int pixel = 0; pixel < kPixels; ++pixel) {
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) sums[pixel][part] = vdupq_n_u8(0);
      }
      for (int word = first; word < end; ++word) {
        uint8x16_t one[4];
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) {
          one[part] = vreinterpretq_u8_u32(vld1q_u32(weights + static_cast<std::size_t>(word) * kBlockChannels + part * 4));
        }
#pragma GCC unroll 4
        for (int pixel = 0; pixel < kPixels; ++pixel) {
          const uint8x16_t bits = vreinterpretq_u8_u32(vld1q_dup_u32(patches + pixel * stride + word));
#pragma GCC unroll 4
          for (int part = 0; part < 4; ++part) {
            sums[pixel][part] = vaddq_u8(sums[pixel][part], vcntq_u8(veorq_u8(bits, one[part])));
          }
        }
      }
      for (int pixel = 0; pixel < kPixels; ++pixel) {
        for (int part = 0; part < 4; ++part) {
          std::int32_t* to = acc + pixel * kBlockChannels + part * 4;
          const int32x4_t counts = widened(sums[pixel][part]);
          vst1q_s32(to, first == 0 ? counts : vaddq_s32(vld1q_s32(to), counts));
        }
      }
    }
  }

  template <int kPixels>
  static void run(const std::uint32_t* patches, std::size_t stride, int words, const std::uint32_t* weights,
                  std::int32_t* acc) {
    constexpr int kTogether = kPixels < 4 ? kPixels : 4;
    for (int pixel = 0; pixel < kPixels; pixel += kTogether) {
      half<kTogether>(patches + pixel * stride, stride, words, weights, acc + pixel * kBlockChannels);
      half<kTogether>(patches + pixel * stride, stride, words, weights + 16, acc + pixel * kBlockChannels + 16);
    }
  }
};

void convolve(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue, void*) {
  convolve_tiles<Vector128, Accumulate>(patches, static_cast<const std::uint32_t*>(packed), block_begin, block_end, epilogue);
}

}  // namespace

const Kernels kNeonKernels = {
    "neon",     interleaved_bytes, interleave,               pixels_for_cache,
    no_scratch, convolve,          quantize_rows<Vector128>, quantize_int8_rows,
};

}  // namespace bitat
