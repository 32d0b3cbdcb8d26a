// Kernels for AVX-512 with VPOPCNTDQ: 16 channels to a vector, one instruction counts the bits of 16 words.
#include "kernels/epilogue.h"
#include "kernels/vector512.h"

namespace bitat {
namespace {

struct Accumulate {
  template <int kPixels>
  static void run(const std::uint32_t* patches, std::size_t stride, int words, const std::uint32_t* weights,
                  std::int32_t* acc) {
    __m512i low[kPixels], high[kPixels];
    for (int pixel = 0; pixel < kPixels; ++pixel) low[pixel] = high[pixel] = _mm512_setzero_si512();
    for (int word = 0; word < words; ++word, weights += kBlockChannels) {
      const __m512i weights_low = _mm512_load_si512(weights);
      const __m512i weights_high = _mm512_load_si512(weights + 16);
#pragma GCC unroll 8
      for (int pixel = 0; pixel < kPixels; ++pixel) {
        const __m512i bits = _mm512_set1_epi32(static_cast<int>(patches[pixel * stride + word]));
        low[pixel] = _mm512_add_epi32(low[pixel], _mm512_popcnt_epi32(_mm512_xor_si512(bits, weights_low)));
        high[pixel] = _mm512_add_epi32(high[pixel], _mm512_popcnt_epi32(_mm512_xor_si512(bits, weights_high)));
      }
    }
#pragma GCC unroll 8
    for (int pixel = 0; pixel < kPixels; ++pixel) {
      _mm512_store_si512(acc + pixel * kBlockChannels, low[pixel]);
      _mm512_store_si512(acc + pixel * kBlockChannels + 16, high[pixel]);
    }
  }
};

void convolve(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue, void*) {
  convolve_tiles<Vector512, Accumulate>(patches, static_cast<const std::uint32_t*>(packed), block_begin, block_end, epilogue);
}

}  // namespace

const Kernels kAvx512VpopcntKernels = {
    "avx512_vpopcnt", interleaved_bytes, interleave,     pixels_for_cache,
    no_scratch,       convolve,          quantize_rows<Vector512>, quantize_int8_rows,
};

}  // namespace bitat
