// The inner loops, one table of them for each kind of processor.
//
// A binary convolution is computed for a list of pixels of the output. For each there is a patch: the packed bits that the kernel
// sees, `words` words. Output channels come in blocks of 32. What a block makes of one pixel is
//
//   acc = popcount(patch ^ weights)                      in [0, 32 * words]
//   x   = min(max(2 * acc, clamp_min), clamp_max)
//   y   = x * multiplier + bias                          two roundings, as larq-compute-engine computes it
//
// and then an Epilogue: what follows in the network, computed while y is in a register.
// All tables give the same bits: integers are exact, and floats are computed by the same operations in the same order.
#ifndef BITAT_KERNELS_KERNELS_H_
#define BITAT_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace bitat {

constexpr int kBlockChannels = 32;  // output channels of a block: one word of bits
constexpr int kMostBranches = 4;

inline int blocks_of(int channels) { return (channels + kBlockChannels - 1) / kBlockChannels; }

// Bits written of the result: (y + shift < 0), packed.
struct Branch {
  const float* shift = nullptr;  // per channel; may be null
  std::uint32_t* bits = nullptr;
  std::size_t stride = 0;  // words from one pixel to the next
};

// What becomes of the accumulators. Arrays per channel are filled up to whole blocks and begin at the convolution's first channel;
// outputs and the residual begin at the first pixel of the output.
struct Epilogue {
  int channels = 0;  // of the convolution
  std::int32_t clamp_min = 0;
  std::int32_t clamp_max = 0;
  const float* multiplier = nullptr;
  const float* bias = nullptr;

  // Float output: y, then + residual, PReLU with slopes, + shift, each if it is not null.
  const float* residual = nullptr;
  std::size_t residual_stride = 0;
  const float* slope = nullptr;
  const float* shift = nullptr;
  float* output = nullptr;  // may be null where only branches are read
  std::size_t output_stride = 0;
  int branch_count = 0;
  Branch branches[kMostBranches];

  // Instead: int8 output, y rounded (ties away from zero) and saturated.
  std::int8_t* output_int8 = nullptr;
  std::size_t output_int8_stride = 0;

  // Instead: bits, (2 * acc > threshold).
  const std::int32_t* thresholds = nullptr;
  std::uint32_t* output_bits = nullptr;
  std::size_t output_bits_stride = 0;

  // Added to 2 * acc: of padding with zeros, [pixels][channels filled up to blocks] for the pixels of a Patches; null if none.
  const std::int32_t* correction = nullptr;
  std::size_t correction_stride = 0;
};

// The patches of consecutive pixels of the output.
struct Patches {
  const std::uint32_t* bits = nullptr;
  std::size_t stride = 0;        // words from one patch to the next
  int pixels = 0;
  int words = 0;
  std::int64_t first_pixel = 0;  // its number in the output
};

struct Kernels {
  const char* name;

  // Bytes of a block's packed weights.
  std::size_t (*packed_bytes)(int words);
  // Packs the weights of 32 channels, [32][words], into `packed`, aligned to 64 bytes.
  void (*pack)(const std::uint32_t* weights, int words, void* packed);
  // Pixels that one call of `convolve` should get, if there are so many, and bytes of scratch memory it needs for some pixels.
  int (*chunk_pixels)(int words);
  std::size_t (*scratch_bytes)(int pixels, int words);
  // Computes blocks [block_begin, block_end) for the patches. `packed` holds the weights of all blocks.
  void (*convolve)(const Patches& patches, const void* packed, int block_begin, int block_end, const Epilogue& epilogue,
                   void* scratch);

  // Packs the signs of rows of floats, (value + shift < 0); shift per channel, filled up to blocks, or null.
  void (*quantize)(const float* values, std::int64_t rows, int channels, const float* shift, std::uint32_t* bits);
  void (*quantize_int8)(const std::int8_t* values, std::int64_t rows, int channels, int zero_point, std::uint32_t* bits);
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels, kAvx512VpopcntKernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
#endif

// The names of the tables that this processor can run, separated by commas, from the slowest to the fastest.
const char* kernel_families();

// The table of a name; "auto" is the fastest. Null if there is none of that name, or the processor cannot run it.
const Kernels* find_kernels(const char* name);

}  // namespace bitat

#endif  // BITAT_KERNELS_KERNELS_H_
