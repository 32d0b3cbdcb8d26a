// Kernels for AVX-512 without a popcount of vectors (F, BW, VL, DQ): bits are counted by table, 64 channels to a vector.
#include "kernels/epilogue.h"
#include "kernels/lookup.h"
#include "kernels/vector512.h"

namespace bitat {
namespace {

constexpr int kPixels = 8;

inline void widen(__m512i bytes, std::int32_t* low, std::int32_t* high, bool first) {
  const __m128i parts[] = {_mm512_castsi512_si128(bytes), _mm512_extracti32x4_epi32(bytes, 1),
                           _mm512_extracti32x4_epi32(bytes, 2), _mm512_extracti32x4_epi32(bytes, 3)};
  for (int part = 0; part < 4; ++part) {
    std::int32_t* to = (part < 2 ? low : high) + part % 2 * 16;
    const __m512i counts = _mm512_cvtepu8_epi32(parts[part]);
    _mm512_store_si512(to, first ? counts : _mm512_add_epi32(_mm512_load_si512(to), counts));
  }
}

// Sums for kCount pixels and two blocks of channels: acc is [block][pixel][32]. With one block only, the second is the first.
template <int kCount>
void accumulate(const std::uint8_t* offsets, std::size_t stride, int words, const std::uint8_t* first,
                const std::uint8_t* second, std::int32_t* acc) {
  for (int word = 0; word < words; word += kWordsOfBytes) {
    const int nibbles = std::min(kWordsOfBytes, words - word) * kNibbles;
    const std::uint8_t* part = offsets + word * kNibbles;
    const std::size_t skipped = static_cast<std::size_t>(word) * kNibbles * kBlockChannels;
    __m512i sums[kCount];
#pragma GCC unroll 8
    for (int pixel = 0; pixel < kCount; ++pixel) sums[pixel] = _mm512_setzero_si512();
    for (int nibble = 0; nibble < nibbles; ++nibble) {
      const std::size_t at = skipped + nibble * kBlockChannels;
      const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(first + at));
      const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(second + at));
      const __m512i weights = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#pragma GCC unroll 8
      for (int pixel = 0; pixel < kCount; ++pixel) {
        const auto* table = reinterpret_cast<const __m128i*>(&kNibbleTables.counts[0][0] + part[pixel * stride + nibble]);
        const __m512i counts = _mm512_broadcast_i32x4(_mm_load_si128(table));
        sums[pixel] = _mm512_add_epi8(sums[pixel], _mm512_shuffle_epi8(counts, weights));
      }
    }
    for (int pixel = 0; pixel < kCount; ++pixel) {
      widen(sums[pixel], acc + pixel * kBlockChannels, acc + (kPixels + pixel) * kBlockChannels, word == 0);
    }
  }
}

void convolve(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue,
              void* scratch) {
  auto* offsets = static_cast<std::uint8_t*>(scratch);
  expand_nibbles(patches, offsets);
  const std::size_t bytes = nibble_bytes(patches.words);
  const std::size_t stride = static_cast<std::size_t>(patches.words) * kNibbles;
  const TileFunction finish = tile_function<Vector512>(epilogue);
  alignas(64) std::int32_t acc[2 * kPixels * kBlockChannels];
  for (int block = block_begin; block < block_end; block += 2) {
    const auto* first = static_cast<const std::uint8_t*>(packed) + block * bytes;
    const bool pair = block + 1 < block_end;
    const std::uint8_t* second = pair ? first + bytes : first;
    for (int patch = 0; patch < patches.pixels;) {
      const std::uint8_t* here = offsets + patch * stride;
      const int pixels = patches.pixels - patch >= kPixels ? kPixels : 1;
      if (pixels == kPixels) {
        accumulate<kPixels>(here, stride, patches.words, first, second, acc);
      } else {
        accumulate<1>(here, stride, patches.words, first, second, acc);
      }
      finish(Tile{acc, pixels, patches.first_pixel + patch, patch, block}, epilogue);
      if (pair) {
        const std::int32_t* upper = acc + kPixels * kBlockChannels;
        finish(Tile{upper, pixels, patches.first_pixel + patch, patch, block + 1}, epilogue);
      }
      patch += pixels;
    }
  }
}

}  // namespace

const Kernels kAvx512Kernels = {
    "avx512",       nibble_bytes, pack_nibbles,              pixels_for_cache,
    nibble_scratch, convolve,     quantize_rows<Vector512>, quantize_int8_rows,
};

}  // namespace bitat
