// The epilogue of a tile and the packing of signs, written once over a type of vectors.
//
// Only included by the files of one kind of processor each, which are compiled for it: everything stands in an unnamed namespace,
// so that no other file takes over code that its processor cannot run.
//
// A type `V` of vectors has `V::width` lanes (a divisor of 32) and
//   V::Floats, V::Ints;  load / store (all lanes), load_some / store_some (the first n lanes, other lanes 0)
//   ints: load_ints, add, min, max, to_floats, splat;  floats: add, mul, splat
//   below_zero(Floats), above(Ints, Ints): a bit for each lane;  prelu(Floats, slopes);  store_int8(pointer, Floats, n): rounded
#ifndef BITAT_KERNELS_EPILOGUE_H_
#define BITAT_KERNELS_EPILOGUE_H_

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"

namespace bitat {
namespace {

constexpr int kTilePixels = 8;

// A tile: the accumulators of up to 8 pixels and the 32 channels of a block.
struct Tile {
  const std::int32_t* acc;   // [pixels][32], popcounts
  int pixels;
  std::int64_t first_pixel;  // in the output
  int patch;                 // the number of its first pixel among the patches
  int block;
};

template <class V>
typename V::Ints doubled(const Tile& tile, const Epilogue& epilogue, int pixel, int lane) {
  const auto acc = V::load_ints(tile.acc + pixel * kBlockChannels + lane);
  auto x = V::add(acc, acc);
  if (epilogue.correction != nullptr) {
    x = V::add(x, V::load_ints(epilogue.correction + (tile.patch + pixel) * epilogue.correction_stride +
                               tile.block * kBlockChannels + lane));
  }
  return x;
}

// y of the pixels of a tile, for the lanes of one vector.
template <class V>
class Scaling {
 public:
  Scaling(const Tile& tile, const Epilogue& epilogue, int lane)
      : tile_(tile),
        epilogue_(epilogue),
        lane_(lane),
        acc_(tile.acc + lane),
        corrected_(epilogue.correction != nullptr),
        least_(V::splat(epilogue.clamp_min)),
        most_(V::splat(epilogue.clamp_max)),
        multiplier_(V::load(epilogue.multiplier + tile.block * kBlockChannels + lane)),
        bias_(V::load(epilogue.bias + tile.block * kBlockChannels + lane)) {}

  typename V::Floats operator()(int pixel) const {
    typename V::Ints x;
    if (corrected_) {
      x = doubled<V>(tile_, epilogue_, pixel, lane_);
    } else {
      const auto acc = V::load_ints(acc_ + pixel * kBlockChannels);
      x = V::add(acc, acc);
    }
    return V::add(V::mul(V::to_floats(V::min(V::max(x, least_), most_)), multiplier_), bias_);
  }

 private:
  const Tile& tile_;
  const Epilogue& epilogue_;
  const int lane_;
  const std::int32_t* const acc_;
  const bool corrected_;
  const typename V::Ints least_, most_;
  const typename V::Floats multiplier_, bias_;
};

// How many channels of a block are channels of the convolution.
inline int block_channels(const Epilogue& epilogue, int block) {
  return std::min(kBlockChannels, epilogue.channels - block * kBlockChannels);
}

inline std::uint32_t channel_mask(int channels) {
  return channels >= kBlockChannels ? ~std::uint32_t{0} : (std::uint32_t{1} << channels) - 1;
}

// What stands in the epilogue is copied to local variables first: for the compiler, whatever is written might change it.
template <class V, bool kResidual, bool kSlope, bool kShift, int kBranches>
void float_epilogue(const Tile& tile, const Epilogue& epilogue) {
  const int channels = block_channels(epilogue, tile.block), pixels = tile.pixels;
  const std::size_t residual_stride = epilogue.residual_stride, output_stride = epilogue.output_stride;
  const auto first_pixel = static_cast<std::size_t>(tile.first_pixel);
  std::uint32_t words[kBranches + 1][kTilePixels] = {};
  for (int lane = 0; lane < channels; lane += V::width) {
    const int channel = tile.block * kBlockChannels + lane;
    const int used = std::min<int>(V::width, channels - lane);
    const auto slope = kSlope ? V::load(epilogue.slope + channel) : V::splat(0.0f);
    const auto shift = kShift ? V::load(epilogue.shift + channel) : V::splat(0.0f);
    typename V::Floats branch_shifts[kBranches + 1];
    for (int branch = 0; branch < kBranches; ++branch) {
      // Adding 0 changes no sign that counts.
      const float* added = epilogue.branches[branch].shift;
      branch_shifts[branch] = added == nullptr ? V::splat(0.0f) : V::load(added + channel);
    }
    const Scaling<V> scaling(tile, epilogue, lane);
    const float* residual = kResidual ? epilogue.residual + first_pixel * residual_stride + channel : nullptr;
    float* output = epilogue.output == nullptr ? nullptr : epilogue.output + first_pixel * output_stride + channel;
    for (int pixel = 0; pixel < pixels; ++pixel) {
      auto y = scaling(pixel);
      if (kResidual) {
        y = V::add(y, used == V::width ? V::load(residual) : V::load_some(residual, used));
        residual += residual_stride;
      }
      if (kSlope) y = V::prelu(y, slope);
      if (kShift) y = V::add(y, shift);
      if (output != nullptr) {
        if (used == V::width) {
          V::store(output, y);
        } else {
          V::store_some(output, y, used);
        }
        output += output_stride;
      }
      for (int branch = 0; branch < kBranches; ++branch) {
        words[branch][pixel] |= V::below_zero(V::add(y, branch_shifts[branch])) << lane;
      }
    }
  }
  const std::uint32_t mask = channel_mask(channels);
  for (int branch = 0; branch < kBranches; ++branch) {
    const Branch one = epilogue.branches[branch];
    std::uint32_t* bits = one.bits + first_pixel * one.stride + tile.block;
    for (int pixel = 0; pixel < pixels; ++pixel, bits += one.stride) *bits = words[branch][pixel] & mask;
  }
}

template <class V>
void int8_epilogue(const Tile& tile, const Epilogue& epilogue) {
  const int channels = block_channels(epilogue, tile.block);
  for (int pixel = 0; pixel < tile.pixels; ++pixel) {
    std::int8_t* output = epilogue.output_int8 +
                          static_cast<std::size_t>(tile.first_pixel + pixel) * epilogue.output_int8_stride +
                          tile.block * kBlockChannels;
    for (int lane = 0; lane < channels; lane += V::width) {
      V::store_int8(output + lane, Scaling<V>(tile, epilogue, lane)(pixel), std::min<int>(V::width, channels - lane));
    }
  }
}

template <class V>
void bits_epilogue(const Tile& tile, const Epilogue& epilogue) {
  const std::uint32_t mask = channel_mask(block_channels(epilogue, tile.block));
  for (int pixel = 0; pixel < tile.pixels; ++pixel) {
    std::uint32_t word = 0;
    for (int lane = 0; lane < kBlockChannels; lane += V::width) {
      const auto thresholds = V::load_ints(epilogue.thresholds + tile.block * kBlockChannels + lane);
      word |= V::above(doubled<V>(tile, epilogue, pixel, lane), thresholds) << lane;
    }
    epilogue.output_bits[static_cast<std::size_t>(tile.first_pixel + pixel) * epilogue.output_bits_stride + tile.block] =
        word & mask;
  }
}

using TileFunction = void (*)(const Tile&, const Epilogue&);

template <class V, int kBranches>
TileFunction float_function(const Epilogue& epilogue) {
  static constexpr TileFunction kFunctions[] = {
      float_epilogue<V, false, false, false, kBranches>, float_epilogue<V, false, false, true, kBranches>,
      float_epilogue<V, false, true, false, kBranches>,  float_epilogue<V, false, true, true, kBranches>,
      float_epilogue<V, true, false, false, kBranches>,  float_epilogue<V, true, false, true, kBranches>,
      float_epilogue<V, true, true, false, kBranches>,   float_epilogue<V, true, true, true, kBranches>,
  };
  return kFunctions[(epilogue.residual != nullptr) * 4 + (epilogue.slope != nullptr) * 2 + (epilogue.shift != nullptr)];
}

// The function that finishes the tiles of an epilogue.
template <class V>
TileFunction tile_function(const Epilogue& epilogue) {
  if (epilogue.output_bits != nullptr) return bits_epilogue<V>;
  if (epilogue.output_int8 != nullptr) return int8_epilogue<V>;
  static_assert(kMostBranches == 4, "a function for each number of branches");
  switch (epilogue.branch_count) {
    case 0:
      return float_function<V, 0>(epilogue);
    case 1:
      return float_function<V, 1>(epilogue);
    case 2:
      return float_function<V, 2>(epilogue);
    case 3:
      return float_function<V, 3>(epilogue);
    default:
      return float_function<V, 4>(epilogue);
  }
}

template <class V>
void quantize_rows(const float* values, std::int64_t rows, int channels, const float* shift, std::uint32_t* bits) {
  for (std::int64_t row = 0; row < rows; ++row, values += channels) {
    for (int first = 0; first < channels; first += kBlockChannels) {
      const int here = std::min(kBlockChannels, channels - first);
      std::uint32_t word = 0;
      for (int lane = 0; lane < here; lane += V::width) {
        const int channel = first + lane;
        auto value = here - lane >= V::width ? V::load(values + channel) : V::load_some(values + channel, here - lane);
        if (shift != nullptr) value = V::add(value, V::load(shift + channel));
        word |= V::below_zero(value) << lane;
      }
      *bits++ = word & channel_mask(here);
    }
  }
}

inline void quantize_int8_rows(const std::int8_t* values, std::int64_t rows, int channels, int zero_point,
                               std::uint32_t* bits) {
  for (std::int64_t row = 0; row < rows; ++row, values += channels) {
    for (int first = 0; first < channels; first += kBlockChannels) {
      const int here = std::min(kBlockChannels, channels - first);
      std::uint32_t word = 0;
      for (int lane = 0; lane < here; ++lane) {
        word |= static_cast<std::uint32_t>(values[first + lane] < zero_point) << lane;
      }
      *bits++ = word;
    }
  }
}

// Calls accumulate<n>(patch, stride, words, weights, acc) for tiles of 8, 4, 2 and 1 pixels, and the epilogue after each.
// Weights are packed as [block][words][32].
template <class V, class Accumulate>
void convolve_tiles(const Patches& patches, const std::uint32_t* packed, int block_begin, int block_end,
                    const Epilogue& epilogue) {
  const TileFunction finish = tile_function<V>(epilogue);
  alignas(64) std::int32_t acc[kTilePixels * kBlockChannels];
  for (int block = block_begin; block < block_end; ++block) {
    const std::uint32_t* weights = packed + static_cast<std::size_t>(block) * patches.words * kBlockChannels;
    for (int patch = 0; patch < patches.pixels;) {
      const std::uint32_t* bits = patches.bits + patch * patches.stride;
      const int left = patches.pixels - patch;
      int pixels;
      if (left >= 8) {
        Accumulate::template run<8>(bits, patches.stride, patches.words, weights, acc), pixels = 8;
      } else if (left >= 4) {
        Accumulate::template run<4>(bits, patches.stride, patches.words, weights, acc), pixels = 4;
      } else if (left >= 2) {
        Accumulate::template run<2>(bits, patches.stride, patches.words, weights, acc), pixels = 2;
      } else {
        Accumulate::template run<1>(bits, patches.stride, patches.words, weights, acc), pixels = 1;
      }
      finish(Tile{acc, pixels, patches.first_pixel + patch, patch, block}, epilogue);
      patch += pixels;
    }
  }
}

// Weights as [words][32]: all channels of a word side by side.
inline std::size_t interleaved_bytes(int words) { return static_cast<std::size_t>(words) * kBlockChannels * sizeof(std::uint32_t); }

inline void interleave(const std::uint32_t* weights, int words, void* packed) {
  auto* to = static_cast<std::uint32_t*>(packed);
  for (int word = 0; word < words; ++word) {
    for (int channel = 0; channel < kBlockChannels; ++channel) *to++ = weights[static_cast<std::size_t>(channel) * words + word];
  }
}

// 128 KiB of patches, which stay in the second cache while the weights pass by; whole tiles.
inline int pixels_for_cache(int words) {
  return std::clamp(128 * 1024 / (words * 4) / kTilePixels, 1, 64) * kTilePixels;
}

inline std::size_t no_scratch(int, int) { return 0; }

}  // namespace
}  // namespace bitat

#endif  // BITAT_KERNELS_EPILOGUE_H_
