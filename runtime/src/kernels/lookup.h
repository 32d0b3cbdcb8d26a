// Counting bits by table, for processors that have byte shuffles but no vector popcount.
//
// A register holds one nibble (4 bits of the weights) of many output channels. The nibble of a patch at the same place chooses
// a table of 16 bytes, popcount(nibble ^ index); one shuffle looks up the counts of all channels at once, one addition sums
// them. That is 4 bits of 32 or 64 channels in two instructions, against eight or more for splitting, looking up and widening
// popcounts of whole words. Sums are bytes for at most 56 nibbles (7 words: 56 * 4 = 224), then 32 bits.
//
// Packed weights: [word][nibble][32 channels], one nibble a byte.
#ifndef BITAT_KERNELS_LOOKUP_H_
#define BITAT_KERNELS_LOOKUP_H_

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace bitat {
namespace {

constexpr int kNibbles = 8;        // of a word
constexpr int kWordsOfBytes = 7;   // words whose counts fit into a byte

struct NibbleTables {
  alignas(64) std::uint8_t counts[16][16];
};

constexpr NibbleTables nibble_tables() {
  NibbleTables tables{};
  for (int a = 0; a < 16; ++a) {
    for (int b = 0; b < 16; ++b) {
      const int x = a ^ b;
      tables.counts[a][b] = static_cast<std::uint8_t>((x & 1) + (x >> 1 & 1) + (x >> 2 & 1) + (x >> 3 & 1));
    }
  }
  return tables;
}

constexpr NibbleTables kNibbleTables = nibble_tables();

inline std::size_t nibble_bytes(int words) { return static_cast<std::size_t>(words) * kNibbles * kBlockChannels; }

inline void pack_nibbles(const std::uint32_t* weights, int words, void* packed) {
  auto* to = static_cast<std::uint8_t*>(packed);
  for (int word = 0; word < words; ++word) {
    for (int nibble = 0; nibble < kNibbles; ++nibble) {
      for (int channel = 0; channel < kBlockChannels; ++channel) {
        *to++ = weights[static_cast<std::size_t>(channel) * words + word] >> 4 * nibble & 15;
      }
    }
  }
}

// Patches as they are looked up: 16 * nibble for each nibble, so that a byte is the offset of its table.
inline void expand_nibbles(const Patches& patches, std::uint8_t* offsets) {
  for (int patch = 0; patch < patches.pixels; ++patch) {
    const std::uint32_t* bits = patches.bits + patch * patches.stride;
    for (int word = 0; word < patches.words; ++word) {
      // Spreads 8 nibbles over 8 bytes, each in the upper half of its byte.
      std::uint64_t spread = bits[word];
      spread = (spread | spread << 16) & 0x0000FFFF0000FFFFull;
      spread = (spread | spread << 8) & 0x00FF00FF00FF00FFull;
      spread = (spread | spread << 4) & 0x0F0F0F0F0F0F0F0Full;
      spread <<= 4;
      __builtin_memcpy(offsets, &spread, sizeof(spread));
      offsets += sizeof(spread);
    }
  }
}

inline std::size_t nibble_scratch(int pixels, int words) { return static_cast<std::size_t>(pixels) * words * kNibbles; }

}  // namespace
}  // namespace bitat

#endif  // BITAT_KERNELS_LOOKUP_H_
