// Kernels for AVX2: bits are counted by table, 32 channels to a vector.
#include <immintrin.h>

#include "kernels/epilogue.h"
#include "kernels/lookup.h"

namespace bitat {
namespace {

struct Vector256 {
  static constexpr int width = 8;
  using Floats = __m256;
  using Ints = __m256i;

  static __m256i first(int lanes) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256 load(const float* from) { return _mm256_loadu_ps(from); }
  static __m256 load_some(const float* from, int lanes) { return _mm256_maskload_ps(from, first(lanes)); }
  static void store(float* to, __m256 value) { _mm256_storeu_ps(to, value); }
  static void store_some(float* to, __m256 value, int lanes) { _mm256_maskstore_ps(to, first(lanes), value); }
  static __m256i load_ints(const std::int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static __m256 splat(float value) { return _mm256_set1_ps(value); }
  static __m256i splat(std::int32_t value) { return _mm256_set1_epi32(value); }
  static __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static __m256i add(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
  static __m256 mul(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
  static __m256i min(__m256i a, __m256i b) { return _mm256_min_epi32(a, b); }
  static __m256i max(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
  static __m256 to_floats(__m256i a) { return _mm256_cvtepi32_ps(a); }
  static __m256 prelu(__m256 a, __m256 slope) {
    return _mm256_blendv_ps(a, _mm256_mul_ps(a, slope), _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ));
  }
  static std::uint32_t below_zero(__m256 a) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ)));
  }
  static std::uint32_t above(__m256i a, __m256i b) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b))));
  }
  static void store_int8(std::int8_t* to, __m256 any, int lanes) {
    const __m256 value = _mm256_and_ps(any, _mm256_cmp_ps(any, any, _CMP_ORD_Q));  // 0 for what is no number
    // Rounds ties away from zero: what is cut off, plus one in the value's direction where at least half was cut off.
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 cut = _mm256_round_ps(value, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __m256 rest = _mm256_andnot_ps(sign, _mm256_sub_ps(value, cut));
    const __m256 one = _mm256_or_ps(_mm256_set1_ps(1.0f), _mm256_and_ps(value, sign));
    const __m256 up = _mm256_and_ps(one, _mm256_cmp_ps(rest, _mm256_set1_ps(0.5f), _CMP_GE_OQ));
    __m256 rounded = _mm256_add_ps(cut, up);
    rounded = _mm256_min_ps(_mm256_max_ps(rounded, _mm256_set1_ps(-128.0f)), _mm256_set1_ps(127.0f));
    alignas(32) std::int32_t integers[width];
    _mm256_store_si256(reinterpret_cast<__m256i*>(integers), _mm256_cvttps_epi32(rounded));
    for (int lane = 0; lane < lanes; ++lane) to[lane] = static_cast<std::int8_t>(integers[lane]);
  }
};

constexpr int kPixels = 4;  // of a tile; more would not leave registers for the sums of two blocks

inline void widen(__m256i bytes, std::int32_t* acc, bool first) {
  const __m128i halves[] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
  for (int half = 0; half < 2; ++half) {
    for (int part = 0; part < 2; ++part) {
      const __m256i counts = _mm256_cvtepu8_epi32(part == 0 ? halves[half] : _mm_srli_si128(halves[half], 8));
      auto* to = reinterpret_cast<__m256i*>(acc + half * 16 + part * 8);
      _mm256_store_si256(to, first ? counts : _mm256_add_epi32(_mm256_load_si256(to), counts));
    }
  }
}

// Sums for kCount pixels and kBlocks blocks of channels: acc is [block][pixel][32].
template <int kCount, int kBlocks>
void accumulate(const std::uint8_t* offsets, std::size_t stride, int words, const std::uint8_t* weights,
                std::size_t block_bytes, std::int32_t* acc) {
  for (int word = 0; word < words; word += kWordsOfBytes) {
    const int nibbles = std::min(kWordsOfBytes, words - word) * kNibbles;
    const std::uint8_t* part = offsets + word * kNibbles;
    const std::uint8_t* part_weights = weights + static_cast<std::size_t>(word) * kNibbles * kBlockChannels;
    __m256i sums[kBlocks][kCount];
#pragma GCC unroll 2
    for (int block = 0; block < kBlocks; ++block) {
#pragma GCC unroll 4
      for (int pixel = 0; pixel < kCount; ++pixel) sums[block][pixel] = _mm256_setzero_si256();
    }
    for (int nibble = 0; nibble < nibbles; ++nibble) {
      __m256i one[kBlocks];
#pragma GCC unroll 2
      for (int block = 0; block < kBlocks; ++block) {
        one[block] = _mm256_load_si256(
            reinterpret_cast<const __m256i*>(part_weights + block * block_bytes + nibble * kBlockChannels));
      }
#pragma GCC unroll 4
      for (int pixel = 0; pixel < kCount; ++pixel) {
        const auto* table = reinterpret_cast<const __m128i*>(&kNibbleTables.counts[0][0] + part[pixel * stride + nibble]);
        const __m256i counts = _mm256_broadcastsi128_si256(_mm_load_si128(table));
#pragma GCC unroll 2
        for (int block = 0; block < kBlocks; ++block) {
          sums[block][pixel] = _mm256_add_epi8(sums[block][pixel], _mm256_shuffle_epi8(counts, one[block]));
        }
      }
    }
    for (int block = 0; block < kBlocks; ++block) {
      for (int pixel = 0; pixel < kCount; ++pixel) {
        widen(sums[block][pixel], acc + (block * kPixels + pixel) * kBlockChannels, word == 0);
      }
    }
  }
}

template <int kBlocks>
void convolve_blocks(const Patches& patches, const std::uint8_t* offsets, const std::uint8_t* packed, int block,
                     const Epilogue& epilogue, TileFunction finish) {
  alignas(64) std::int32_t acc[kBlocks * kPixels * kBlockChannels];
  const std::size_t bytes = nibble_bytes(patches.words);
  const std::size_t stride = static_cast<std::size_t>(patches.words) * kNibbles;
  const std::uint8_t* weights = packed + block * bytes;
  for (int patch = 0; patch < patches.pixels;) {
    const std::uint8_t* here = offsets + patch * stride;
    const int pixels = patches.pixels - patch >= kPixels ? kPixels : 1;
    if (pixels == kPixels) {
      accumulate<kPixels, kBlocks>(here, stride, patches.words, weights, bytes, acc);
    } else {
      accumulate<1, kBlocks>(here, stride, patches.words, weights, bytes, acc);
    }
    for (int one = 0; one < kBlocks; ++one) {
      finish(Tile{acc + one * kPixels * kBlockChannels, pixels, patches.first_pixel + patch, patch, block + one}, epilogue);
    }
    patch += pixels;
  }
}

void convolve(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue,
              void* scratch) {
  auto* offsets = static_cast<std::uint8_t*>(scratch);
  expand_nibbles(patches, offsets);
  const auto* weights = static_cast<const std::uint8_t*>(packed);
  const TileFunction finish = tile_function<Vector256>(epilogue);
  int block = block_begin;
  for (; block + 2 <= block_end; block += 2) convolve_blocks<2>(patches, offsets, weights, block, epilogue, finish);
  if (block < block_end) convolve_blocks<1>(patches, offsets, weights, block, epilogue, finish);
}

}  // namespace

const Kernels kAvx2Kernels = {
    "avx2",         nibble_bytes, pack_nibbles,              pixels_for_cache,
    nibble_scratch, convolve,     quantize_rows<Vector256>, quantize_int8_rows,
};

}  // namespace bitat
