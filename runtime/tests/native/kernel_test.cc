// Compares the kernels that this processor can run with the portable ones, bit by bit, on random convolutions.
//
//   kernel_test SEED COUNT            compare COUNT convolutions
//   kernel_test --work NAME REPEATS   convolve with one kind of kernels, for counting instructions
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "core/denormals.h"
#include "core/memory.h"
#include "kernels/kernels.h"

namespace {

using bitat::AlignedBuffer;
using bitat::Epilogue;
using bitat::Kernels;
using bitat::kBlockChannels;

std::mt19937_64 generator;

int between(int least, int most) { return std::uniform_int_distribution<int>(least, most)(generator); }
bool maybe() { return between(0, 1) == 1; }

float any_float() {
  switch (between(0, 40)) {
    case 0:
      return std::numeric_limits<float>::quiet_NaN();
    case 1:
      return std::numeric_limits<float>::infinity();
    case 2:
      return -0.0f;
    case 3:
      return -1e-40f;  // a denormal
    case 4:
      return between(-8, 8) + 0.5f;  // a tie
    default:
      return static_cast<float>(std::normal_distribution<double>(0, 3)(generator));
  }
}

AlignedBuffer floats(std::size_t count) {
  AlignedBuffer result(count * sizeof(float));
  for (std::size_t i = 0; i < count; ++i) result.as<float>()[i] = any_float();
  return result;
}

AlignedBuffer words(std::size_t count) {
  AlignedBuffer result(count * sizeof(std::uint32_t));
  for (std::size_t i = 0; i < count; ++i) result.as<std::uint32_t>()[i] = static_cast<std::uint32_t>(generator());
  return result;
}

// A random convolution, and everything that its epilogue reads.
struct Case {
  int patch_words = between(1, maybe() ? 12 : 130), channels = between(1, maybe() ? 40 : 200), pixels = between(1, 70);
  int stride = patch_words + between(0, 3), first_pixel = between(0, 5);
  int kind = between(0, 4);  // 0: int8, 1: bits, others: float
  int branches = between(0, bitat::kMostBranches);
  int blocks = bitat::blocks_of(channels), filled = blocks * kBlockChannels;
  int rows = first_pixel + pixels, output_stride = channels + between(0, 9), bits_stride = blocks + between(0, 2);
  bool residual = maybe(), slope = maybe(), shift = maybe(), output = branches == 0 || maybe(), corrected = between(0, 3) == 0;
  AlignedBuffer patches = words(static_cast<std::size_t>(pixels) * stride);
  AlignedBuffer weights = words(static_cast<std::size_t>(filled) * patch_words);
  AlignedBuffer multiplier = floats(filled), bias = floats(filled), slopes = floats(filled), shifts = floats(filled);
  AlignedBuffer residuals = floats(static_cast<std::size_t>(rows) * output_stride);
  AlignedBuffer thresholds = words(filled), corrections = words(static_cast<std::size_t>(pixels) * filled);
  std::vector<AlignedBuffer> branch_shifts;

  Case() {
    for (int i = 0; i < branches; ++i) branch_shifts.push_back(floats(filled));
    for (int i = 0; i < filled; ++i) thresholds.as<std::int32_t>()[i] = between(0, patch_words * 64);
    for (int i = 0; i < pixels * filled; ++i) corrections.as<std::int32_t>()[i] = between(-64, 64);
    multiplier.as<float>()[0] = 0.5f, bias.as<float>()[0] = -0.25f;
  }

  // All outputs of the kernels, with what lies between and behind them.
  std::string run(const Kernels& kernels) const {
    const std::size_t block_bytes = kernels.packed_bytes(patch_words);
    AlignedBuffer packed(block_bytes * blocks), scratch(kernels.scratch_bytes(pixels, patch_words));
    for (int block = 0; block < blocks; ++block) {
      const std::uint32_t* from = weights.as<std::uint32_t>() + static_cast<std::size_t>(block) * kBlockChannels * patch_words;
      kernels.pack(from, patch_words, packed.as<std::uint8_t>() + block * block_bytes);
    }
    const std::size_t values = static_cast<std::size_t>(rows + 1) * output_stride;
    const std::size_t bit_words = static_cast<std::size_t>(rows + 1) * bits_stride;
    AlignedBuffer written(values * sizeof(float)), written_bits(bit_words * (bitat::kMostBranches + 1) * sizeof(std::uint32_t));
    std::memset(written.data(), 0x5a, written.size());
    std::memset(written_bits.data(), 0x5a, written_bits.size());
    auto* bits = written_bits.as<std::uint32_t>();
    Epilogue epilogue;
    epilogue.channels = channels;
    epilogue.clamp_min = 3, epilogue.clamp_max = patch_words * 48;
    epilogue.multiplier = multiplier.as<float>(), epilogue.bias = bias.as<float>();
    if (corrected) epilogue.correction = corrections.as<std::int32_t>(), epilogue.correction_stride = filled;
    if (kind == 0) {
      epilogue.output_int8 = written.as<std::int8_t>(), epilogue.output_int8_stride = output_stride;
    } else if (kind == 1) {
      epilogue.thresholds = thresholds.as<std::int32_t>();
      epilogue.output_bits = bits, epilogue.output_bits_stride = bits_stride;
    } else {
      if (residual) epilogue.residual = residuals.as<float>(), epilogue.residual_stride = output_stride;
      if (slope) epilogue.slope = slopes.as<float>();
      if (shift) epilogue.shift = shifts.as<float>();
      if (output) epilogue.output = written.as<float>();
      epilogue.output_stride = output_stride;
      epilogue.branch_count = branches;
      for (int i = 0; i < branches; ++i) {
        epilogue.branches[i] = {i % 2 == 0 ? branch_shifts[i].as<float>() : nullptr, bits + bit_words * (i + 1),
                                static_cast<std::size_t>(bits_stride)};
      }
    }
    bitat::Patches some{patches.as<std::uint32_t>(), static_cast<std::size_t>(stride), pixels, patch_words, first_pixel};
    kernels.convolve(some, packed.data(), 0, blocks, epilogue, scratch.data());

    AlignedBuffer packed_signs(static_cast<std::size_t>(rows) * blocks * sizeof(std::uint32_t));
    kernels.quantize(residuals.as<float>(), rows, channels, shift ? shifts.as<float>() : nullptr,
                     packed_signs.as<std::uint32_t>());
    std::string result(written.as<char>(), written.size());
    result.append(written_bits.as<char>(), written_bits.size());
    result.append(packed_signs.as<char>(), packed_signs.size());
    if (kind > 1) {  // numbers that are none differ in bits that nobody defines
      for (std::size_t i = 0; i < written.size() / sizeof(float); ++i) {
        float value;
        std::memcpy(&value, result.data() + i * sizeof(float), sizeof(float));
        if (value != value) std::memset(result.data() + i * sizeof(float), 0xff, sizeof(float));
      }
    }
    return result;
  }
};

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> result;
  std::istringstream names(bitat::kernel_families());
  for (std::string name; std::getline(names, name, ',');) result.push_back(bitat::find_kernels(name.c_str()));
  return result;
}

int compare(int count) {
  const bitat::DenormalsAreZero denormals;
  int differences = 0;
  for (int number = 0; number < count; ++number) {
    const Case one;
    const std::string expected = one.run(*bitat::find_kernels("portable"));
    for (const Kernels* kernels : all_kernels()) {
      if (one.run(*kernels) == expected) continue;
      ++differences;
      std::printf("%s differs: case %d, %d words, %d channels, %d pixels, kind %d\n", kernels->name, number, one.patch_words,
                  one.channels, one.pixels, one.kind);
    }
  }
  std::printf("%s: %d convolutions, %d differences\n", bitat::kernel_families(), count, differences);
  return differences == 0 ? 0 : 1;
}

int work(const char* name, int repeats) {
  const Kernels* kernels = bitat::find_kernels(name);
  if (kernels == nullptr) {
    std::fprintf(stderr, "the kernels must be one of %s, not %s\n", bitat::kernel_families(), name);
    return 2;
  }
  // 16 pixels of a 3x3 convolution of 128 channels to 64, with a shortcut and a PReLU.
  constexpr int kWords = 36, kChannels = 64, kPixels = 16, kBlocks = kChannels / kBlockChannels;
  const AlignedBuffer patches = words(kPixels * kWords), weights = words(kChannels * kWords), values = floats(kChannels);
  const AlignedBuffer residual = floats(kPixels * kChannels);
  AlignedBuffer packed(kernels->packed_bytes(kWords) * kBlocks), scratch(kernels->scratch_bytes(kPixels, kWords));
  AlignedBuffer output(kPixels * kChannels * sizeof(float));
  for (int block = 0; block < kBlocks; ++block) {
    kernels->pack(weights.as<std::uint32_t>() + block * kBlockChannels * kWords, kWords,
                  packed.as<std::uint8_t>() + block * kernels->packed_bytes(kWords));
  }
  Epilogue epilogue;
  epilogue.channels = kChannels, epilogue.clamp_max = kWords * 64;
  epilogue.multiplier = epilogue.bias = epilogue.slope = values.as<float>();
  epilogue.residual = residual.as<float>(), epilogue.residual_stride = kChannels;
  epilogue.output = output.as<float>(), epilogue.output_stride = kChannels;
  const bitat::Patches some{patches.as<std::uint32_t>(), kWords, kPixels, kWords, 0};
  for (int i = 0; i < repeats; ++i) kernels->convolve(some, packed.data(), 0, kBlocks, epilogue, scratch.data());
  std::printf("%s: %d times %d multiply-accumulates\n", name, repeats, kPixels * kChannels * kWords * 32);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 4 && std::strcmp(arguments[1], "--work") == 0) return work(arguments[2], std::atoi(arguments[3]));
  if (count != 3) {
    std::fprintf(stderr, "usage: kernel_test SEED COUNT | kernel_test --work NAME REPEATS\n");
    return 2;
  }
  generator.seed(std::strtoull(arguments[1], nullptr, 10));
  return compare(std::atoi(arguments[2]));
}
