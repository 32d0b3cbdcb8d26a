#include "steps/packed_convolution.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "steps/step.h"

namespace bitat {
namespace {

// Lays out values per channel so that every group begins at a block; values are those of channels [first, first + channels).
template <typename T, typename Value>
AlignedBuffer by_group(const PackedConvolution& convolution, Value value) {
  AlignedBuffer result(convolution.options.groups * convolution.group_stride() * sizeof(T));
  for (int channel = 0; channel < convolution.options.channels_out; ++channel) {
    const int group = channel / convolution.group_channels();
    result.as<T>()[group * convolution.group_stride() + channel % convolution.group_channels()] = value(channel);
  }
  return result;
}

void pack_weights(PackedConvolution& convolution, const std::uint32_t* filter, const Kernels& kernels) {
  const int words = convolution.patch_words();
  const std::size_t bytes = kernels.packed_bytes(words);
  convolution.weights = AlignedBuffer(bytes * convolution.group_blocks() * convolution.options.groups);
  std::vector<std::uint32_t> block(static_cast<std::size_t>(kBlockChannels) * words);
  auto* to = convolution.weights.as<std::uint8_t>();
  for (int group = 0; group < convolution.options.groups; ++group) {
    for (int index = 0; index < convolution.group_blocks(); ++index, to += bytes) {
      const int first = index * kBlockChannels;
      const int here = std::min(kBlockChannels, convolution.group_channels() - first);
      const std::size_t from = static_cast<std::size_t>(group) * convolution.group_channels() + first;
      std::fill(block.begin(), block.end(), 0u);
      std::memcpy(block.data(), filter + from * words, static_cast<std::size_t>(here) * words * sizeof(std::uint32_t));
      kernels.pack(block.data(), words, to);
    }
  }
}

void set_tap_values(PackedConvolution& convolution, const std::uint32_t* filter) {
  const BconvOptions& options = convolution.options;
  const int places = options.kernel_height * options.kernel_width;
  const std::int32_t channels_in = options.channels_in / options.groups;
  const std::size_t stride = convolution.group_stride();
  convolution.tap_values = AlignedBuffer(stride * places * options.groups * sizeof(std::int32_t));
  auto* values = convolution.tap_values.as<std::int32_t>();
  for (int channel = 0; channel < options.channels_out; ++channel) {
    const int group = channel / convolution.group_channels();
    for (int place = 0; place < places; ++place) {
      std::int32_t bits = 0;
      for (int word = 0; word < options.group_words; ++word) bits += __builtin_popcount(*filter++);
      values[(static_cast<std::size_t>(group) * places + place) * stride + channel % convolution.group_channels()] =
          channels_in - 2 * bits;
    }
  }
}

// Multiplier and bias of 2 * acc, computed as larq-compute-engine does: in double precision, rounded once.
void set_transform(PackedConvolution& convolution, const Operator& op, const TfLiteContext& context) {
  const BconvOptions& options = convolution.options;
  const TfLiteTensor& output = context.tensors[op.outputs[0]];
  const std::int32_t most = options.kernel_height * options.kernel_width * (options.channels_in / options.groups);
  convolution.clamp_min = most - std::min(options.activation_max, most);
  convolution.clamp_max = most - std::max(options.activation_min, -most);
  if (output.type == kTfLiteInt32) {
    const auto* thresholds = static_cast<const std::int32_t*>(context.tensors[op.inputs[4]].data);
    convolution.thresholds = by_group<std::int32_t>(convolution, [&](int channel) {
      const std::int64_t doubled = std::int64_t{thresholds[channel]} * 2;
      return static_cast<std::int32_t>(std::clamp<std::int64_t>(doubled, std::numeric_limits<std::int32_t>::min(),
                                                                std::numeric_limits<std::int32_t>::max()));
    });
    return;
  }
  const auto* multiplier = static_cast<const float*>(context.tensors[op.inputs[2]].data);
  const auto* bias = static_cast<const float*>(context.tensors[op.inputs[3]].data);
  const bool int8 = output.type == kTfLiteInt8;
  const double scale = int8 ? output.params.scale : 1.0, zero_point = int8 ? output.params.zero_point : 0.0;
  convolution.multiplier = by_group<float>(
      convolution, [&](int channel) { return static_cast<float>(-1 * static_cast<double>(multiplier[channel]) / scale); });
  convolution.bias = by_group<float>(convolution, [&](int channel) {
    return static_cast<float>((static_cast<double>(bias[channel]) + static_cast<double>(most) * multiplier[channel]) / scale +
                              zero_point);
  });
}

}  // namespace

PackedConvolution pack_convolution(const TfLiteContext& context, const Partition& partition, const PlannedStep& plan,
                                   const PlannedPart& part, const Kernels& kernels) {
  const Operator& op = partition.operators[part.op];
  PackedConvolution result;
  result.part = part;
  result.input = op.inputs[0];
  result.options = check_bconv(context, op);
  const auto* filter = static_cast<const std::uint32_t*>(context.tensors[op.inputs[1]].data);
  pack_weights(result, filter, kernels);
  set_transform(result, op, context);
  if (result.options.zero_padding) set_tap_values(result, filter);
  const auto values = [&](int tensor) {
    const AlignedBuffer all = channel_values(context.tensors[tensor], plan.channels);
    return by_group<float>(result, [&](int channel) { return all.as<float>()[part.first_channel + channel]; });
  };
  if (plan.slope >= 0) result.slope = values(plan.slope);
  if (plan.shift >= 0) result.shift = values(plan.shift);
  for (const PlannedBranch& branch : plan.branches) {
    result.branch_shifts.push_back(branch.shift >= 0 ? values(branch.shift) : AlignedBuffer());
  }
  return result;
}

}  // namespace bitat
