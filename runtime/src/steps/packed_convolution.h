// A binary convolution with its constants, laid out for the kernels.
#ifndef BITAT_STEPS_PACKED_CONVOLUTION_H_
#define BITAT_STEPS_PACKED_CONVOLUTION_H_

#include <cstdint>
#include <vector>

#include "core/memory.h"
#include "graph/fusion.h"
#include "kernels/kernels.h"
#include "steps/convolution.h"

namespace bitat {

struct PackedConvolution {
  PlannedPart part;
  int input = -1;
  BconvOptions options;
  AlignedBuffer weights;  // [group][block] packed
  // [group][channels of a group, filled up to whole blocks]; those that are not needed are empty.
  AlignedBuffer multiplier, bias, thresholds, slope, shift;
  std::vector<AlignedBuffer> branch_shifts;
  AlignedBuffer tap_values;  // [group][place of the kernel][channels as above], with padding of zeros
  std::int32_t clamp_min = 0, clamp_max = 0;
  ConvolutionGeometry geometry;  // set with the shapes

  int group_channels() const { return options.channels_out / options.groups; }
  int group_blocks() const { return blocks_of(group_channels()); }
  std::size_t group_stride() const { return static_cast<std::size_t>(group_blocks()) * kBlockChannels; }
  int patch_words() const { return options.kernel_height * options.kernel_width * options.group_words; }
  int places() const { return options.kernel_height * options.kernel_width; }
  bool is_zero_padded() const { return options.zero_padding && geometry.has_padding(); }
};

// Reads and packs a convolution of a step. Throws Error if it cannot be run.
PackedConvolution pack_convolution(const TfLiteContext& context, const Partition& partition, const PlannedStep& plan,
                                   const PlannedPart& part, const Kernels& kernels);

}  // namespace bitat

#endif  // BITAT_STEPS_PACKED_CONVOLUTION_H_
