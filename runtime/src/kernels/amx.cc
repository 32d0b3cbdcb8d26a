// Kernels for AMX: products of tiles of int8. A bit becomes a byte, +1 or -1, only on its way into a tile: 16 pixels times 16
// channels times 64 places take one instruction of 16 cycles, a third of what counting bits takes in AVX-512.
//
// The dot product of signs is dot = bits - 2 * popcount, so that 2 * acc = bits - dot.
#include "kernels/epilogue.h"
#include "kernels/vector512.h"

namespace bitat {
namespace {

// As Vector512, for accumulators that are dot products.
struct VectorDots : Vector512 {
  static __m512i doubled(__m512i dot, std::int32_t bits) { return _mm512_sub_epi32(_mm512_set1_epi32(bits), dot); }
};

constexpr int kRows = 16;         // of a tile: pixels, or channels
constexpr int kPlaces = 64;       // that one product sums over
constexpr int kTileBytes = 1024;
constexpr int kPixels = 2 * kRows;  // worked on at a time

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

int tiles_of(int words) { return (words + 1) / 2; }

// +1 for 0, -1 for 1.
inline __m512i signs(std::uint64_t bits) {
  return _mm512_mask_blend_epi8(_cvtu64_mask64(bits), _mm512_set1_epi8(1), _mm512_set1_epi8(-1));
}

// Weights as [tile of 64 places][half of 16 channels][row], a row being the 64 bits of 4 places of 16 channels.
std::size_t packed_bytes(int words) { return static_cast<std::size_t>(tiles_of(words)) * 2 * kRows * sizeof(std::uint64_t); }

void pack(const std::uint32_t* weights, int words, void* packed) {
  auto* to = static_cast<std::uint64_t*>(packed);
  for (int tile = 0; tile < tiles_of(words); ++tile) {
    for (int half = 0; half < 2; ++half) {
      for (int row = 0; row < kRows; ++row) {
        std::uint64_t bits = 0;
        for (int channel = 0; channel < kRows; ++channel) {
          const int place = row * 4, word = tile * 2 + place / 32;
          if (word >= words) continue;
          const std::uint32_t* from = weights + static_cast<std::size_t>(half * kRows + channel) * words;
          bits |= static_cast<std::uint64_t>(from[word] >> place % 32 & 15) << channel * 4;
        }
        *to++ = bits;
      }
    }
  }
}

int padded(int pixels) { return (pixels + kPixels - 1) / kPixels * kPixels; }

std::size_t block_bytes(int words) { return static_cast<std::size_t>(tiles_of(words)) * 2 * kTileBytes; }

std::size_t scratch_bytes(int pixels, int words) {
  return static_cast<std::size_t>(padded(pixels)) * tiles_of(words) * kPlaces + block_bytes(words);
}

// 512 KiB of patches as bytes: with a block of weights they stay in the second cache.
int chunk_pixels(int words) { return std::clamp(512 * 1024 / (tiles_of(words) * kPlaces) / kPixels, 1, 32) * kPixels; }

// Patches as tiles: [16 pixels][tile of 64 places][pixel][place].
void expand_patches(const Patches& patches, std::uint8_t* to) {
  const int tiles = tiles_of(patches.words);
  const int whole = patches.words / 2;
  for (int patch = 0; patch < patches.pixels; ++patch) {
    const std::uint32_t* bits = patches.bits + patch * patches.stride;
    std::uint8_t* row = to + (static_cast<std::size_t>(patch / kRows) * tiles * kRows + patch % kRows) * kPlaces;
    for (int tile = 0; tile < whole; ++tile, row += kTileBytes) {
      std::uint64_t both;
      __builtin_memcpy(&both, bits + 2 * tile, sizeof(both));
      _mm512_store_si512(row, signs(both));
    }
    if (whole < tiles) _mm512_store_si512(row, signs(bits[2 * whole]));
  }
}

void expand_weights(const std::uint64_t* packed, int words, std::uint8_t* to) {
  const int rows = tiles_of(words) * 2 * kRows;
#pragma GCC unroll 4
  for (int row = 0; row < rows; ++row) _mm512_store_si512(to + row * kPlaces, signs(packed[row]));
}

// Dot products of 32 pixels and 32 channels.
inline void multiply(const std::uint8_t* pixels, const std::uint8_t* weights, int tiles, std::int32_t* acc) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const std::uint8_t* lower = pixels + static_cast<std::size_t>(tiles) * kTileBytes;
  for (int tile = 0; tile < tiles; ++tile) {
    _tile_loadd(4, pixels + tile * kTileBytes, kPlaces);
    _tile_loadd(6, weights + tile * 2 * kTileBytes, kPlaces);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, weights + (tile * 2 + 1) * kTileBytes, kPlaces);
    _tile_dpbssd(1, 4, 7);
    _tile_loadd(5, lower + tile * kTileBytes, kPlaces);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  constexpr int kStride = kBlockChannels * sizeof(std::int32_t);
  _tile_stored(0, acc, kStride);
  _tile_stored(1, acc + kRows, kStride);
  _tile_stored(2, acc + kRows * kBlockChannels, kStride);
  _tile_stored(3, acc + kRows * kBlockChannels + kRows, kStride);
}

void convolve(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue,
              void* scratch) {
  const int tiles = tiles_of(patches.words);
  auto* expanded = static_cast<std::uint8_t*>(scratch);
  std::uint8_t* weights = expanded + static_cast<std::size_t>(padded(patches.pixels)) * tiles * kPlaces;
  expand_patches(patches, expanded);
  const TileFunction finish = tile_function<VectorDots>(epilogue);
  alignas(64) std::int32_t acc[kPixels * kBlockChannels];
  const TileConfig config;
  _tile_loadconfig(&config);
  for (int block = block_begin; block < block_end; ++block) {
    const std::size_t offset = static_cast<std::size_t>(block) * packed_bytes(patches.words);
    expand_weights(reinterpret_cast<const std::uint64_t*>(static_cast<const std::uint8_t*>(packed) + offset), patches.words,
                   weights);
    for (int patch = 0; patch < patches.pixels; patch += kPixels) {
      multiply(expanded + static_cast<std::size_t>(patch) * tiles * kPlaces, weights, tiles, acc);
      for (int half = 0; half < 2; ++half) {
        const int first = patch + half * kRows, pixels = std::min(kRows, patches.pixels - first);
        if (pixels <= 0) break;
        finish(Tile{acc + half * kRows * kBlockChannels, pixels, patches.first_pixel + first, first, block, tiles * kPlaces},
               epilogue);
      }
    }
  }
  _tile_release();
}

}  // namespace

const Kernels kAmxKernels = {
    "amx", packed_bytes, pack, chunk_pixels, scratch_bytes, convolve, quantize_rows<Vector512>, quantize_int8_rows,
};

}  // namespace bitat
