// LceBconv2d and what is fused with it.
#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "steps/convolution.h"
#include "steps/step.h"

namespace bitat {
namespace {

// Patches that are worked on at a time: they stay in the second cache while the weights pass by.
constexpr std::int64_t kPatchBytes = 128 * 1024;
constexpr std::int64_t kMostPixels = 1024;
constexpr std::int64_t kZeroPaddedPixels = 64;  // fewer, as a correction is kept for each
constexpr int kItemsPerThread = 4;              // so that threads that are disturbed give work away
constexpr std::int64_t kWorthAThread = 1 << 19; // multiply-accumulates of an item: below, waking up costs more

// One convolution with its constants; several of them write the parts of one output.
struct Convolution {
  PlannedPart part;
  int input = -1;
  BconvOptions options;
  AlignedBuffer weights;      // [group][block] packed
  AlignedBuffer multiplier, bias, thresholds, slope, shift;  // [group][channels of a group in whole blocks]
  AlignedBuffer tap_values;   // [group][place of the kernel][channels of a group in whole blocks], with padding of zeros
  std::vector<AlignedBuffer> branch_shifts;
  std::int32_t clamp_min = 0, clamp_max = 0;
  ConvolutionGeometry geometry;

  int group_channels() const { return options.channels_out / options.groups; }
  int group_blocks() const { return blocks_of(group_channels()); }
  std::size_t group_stride() const { return static_cast<std::size_t>(group_blocks()) * kBlockChannels; }
  int patch_words() const { return options.kernel_height * options.kernel_width * options.group_words; }
};

// Lays out values per channel so that every group begins at a block; values are those of channels [first, first + channels).
template <typename T, typename Value>
AlignedBuffer by_group(const Convolution& convolution, Value value) {
  AlignedBuffer result(convolution.options.groups * convolution.group_stride() * sizeof(T));
  for (int channel = 0; channel < convolution.options.channels_out; ++channel) {
    const int group = channel / convolution.group_channels();
    result.as<T>()[group * convolution.group_stride() + channel % convolution.group_channels()] = value(channel);
  }
  return result;
}

void pack_weights(Convolution& convolution, const std::uint32_t* filter, const Kernels& kernels) {
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

void set_tap_values(Convolution& convolution, const std::uint32_t* filter) {
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
void set_transform(Convolution& convolution, const Operator& op, const TfLiteContext& context) {
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

class BconvStep : public Step {
 public:
  BconvStep(std::string name, const PlannedStep& plan, std::vector<Convolution> convolutions, TfLiteType type)
      : Step(std::move(name), plan), convolutions_(std::move(convolutions)), type_(type) {}

  void set_shapes(Shapes& shapes) override {
    Shape result;
    for (Convolution& one : convolutions_) {
      one.geometry = convolution_geometry(one.options, shapes.at(one.input));
      const Shape shape = {one.geometry.batch, one.geometry.rows.output, one.geometry.columns.output, plan().channels};
      require(result.empty() || result == shape, "the tensors that are joined have different shapes: ", to_string(result),
              " and ", to_string(shape));
      result = shape;
      require(count(shape) <= std::numeric_limits<std::int32_t>::max(), "its output of shape ", to_string(shape),
              " is too large");
      if (shares_words(one)) {
        group_bits_.reserve(static_cast<std::size_t>(one.options.groups * one.geometry.pixels() * one.group_blocks()) *
                            sizeof(std::uint32_t));
      }
      if (one.part.residual < 0) continue;
      Shape expected = shape;
      expected[3] = one.options.channels_out;
      const Shape residual = shapes.at(one.part.residual);
      require(residual == expected, "the tensor that is added to its output of shape ", to_string(expected), " has the shape ",
              to_string(residual));
    }
    if (type_ == kTfLiteInt32) result[3] = words_of(result[3]);
    if (plan().writes_output) shapes[plan().output] = result;
    result[3] = words_of(plan().channels);
    for (const PlannedBranch& branch : plan().branches) shapes[branch.bits] = result;
  }

  std::size_t scratch_bytes(const Workspace& workspace) const override {
    std::size_t most = 0;
    for (const Convolution& one : convolutions_) most = std::max(most, memory(one, workspace).total);
    return most;
  }

  std::int64_t macs() const override {
    std::int64_t result = 0;
    for (const Convolution& one : convolutions_) {
      result += one.geometry.pixels() * one.options.channels_out * one.options.kernel_height * one.options.kernel_width *
                (one.options.channels_in / one.options.groups);
    }
    return result;
  }

  void run(const Pointers& pointers, Workspace& workspace) override {
    for (const Convolution& one : convolutions_) {
      if (one.geometry.pixels() > 0) convolve(one, pointers, workspace);
    }
  }

 private:
  // Where a worker's patches, corrections and the kernels' own memory lie.
  struct Memory {
    std::int64_t chunk = 0;  // pixels at a time
    std::size_t correction = 0, kernels = 0, total = 0;
  };

  bool is_zero_padded(const Convolution& one) const { return one.options.zero_padding && one.geometry.has_padding(); }

  Memory memory(const Convolution& one, const Workspace& workspace) const {
    const int words = one.patch_words();
    Memory result;
    result.chunk = std::clamp<std::int64_t>(kPatchBytes / (std::int64_t{words} * 4), workspace.kernels.preferred_pixels(words),
                                            kMostPixels);
    if (is_zero_padded(one)) result.chunk = std::min(result.chunk, kZeroPaddedPixels);
    const std::int64_t threads = workspace.pool.threads();
    if (threads > 1) {
      // Fewer pixels at a time where that gives every thread something to do; whole tiles.
      const std::int64_t share = (one.geometry.pixels() + threads * kItemsPerThread - 1) / (threads * kItemsPerThread);
      const std::int64_t least = workspace.kernels.preferred_pixels(words);
      result.chunk = std::min(result.chunk, std::max(least, (share + 7) / 8 * 8));
    }
    result.chunk = std::max<std::int64_t>(1, std::min(result.chunk, one.geometry.pixels()));
    const std::size_t patches = one.geometry.is_pointwise() ? 0 : aligned(static_cast<std::size_t>(result.chunk) * words * 4);
    result.correction = patches;
    result.kernels = patches + (is_zero_padded(one) ? aligned(static_cast<std::size_t>(result.chunk) * one.group_stride() * 4) : 0);
    result.total = result.kernels + workspace.kernels.scratch_bytes(static_cast<int>(result.chunk), words);
    return result;
  }

  // Whether groups share words of the bits that are written.
  bool shares_words(const Convolution& one) const { return type_ == kTfLiteInt32 && !one.part.whole_words; }

  void convolve(const Convolution& one, const Pointers& pointers, Workspace& workspace) const {
    const Memory memory = this->memory(one, workspace);
    const std::int64_t pixels = one.geometry.pixels();
    const std::int64_t chunks = (pixels + memory.chunk - 1) / memory.chunk;
    const int groups = one.options.groups, blocks = one.group_blocks();
    // Where there are few chunks, the output channels are divided as well.
    std::int64_t splits = 1;
    const std::int64_t threads = workspace.pool.threads();
    if (threads > 1 && chunks * groups < threads * 2) {
      splits = std::min<std::int64_t>(blocks, (threads * 2 + chunks * groups - 1) / (chunks * groups));
      const std::int64_t work = memory.chunk * one.patch_words() * 32 * one.group_channels();
      splits = std::clamp<std::int64_t>(work / kWorthAThread, 1, splits);
    }
    const auto* input = static_cast<const std::uint32_t*>(pointers[one.input]);
    const int words = one.patch_words();
    const auto body = [&](std::int64_t item, int worker) {
      const int group = static_cast<int>(item / (chunks * splits));
      const std::int64_t first = item / splits % chunks * memory.chunk;
      const std::int64_t split = item % splits;
      const int count = static_cast<int>(std::min(memory.chunk, pixels - first));
      auto* scratch = workspace.scratch[worker].as<std::uint8_t>();
      Patches patches;
      patches.pixels = count, patches.words = words, patches.first_pixel = first;
      if (one.geometry.is_pointwise()) {
        patches.bits = input + first * one.geometry.input_words + std::int64_t{group} * one.options.group_words;
        patches.stride = one.geometry.input_words;
      } else {
        auto* copied = reinterpret_cast<std::uint32_t*>(scratch);
        copy_patches(one.geometry, input, group, first, count, copied);
        patches.bits = copied, patches.stride = words;
      }
      Epilogue epilogue = epilogue_of(one, group, pointers);
      if (is_zero_padded(one)) {
        auto* correction = reinterpret_cast<std::int32_t*>(scratch + memory.correction);
        std::fill_n(correction, static_cast<std::size_t>(count) * one.group_stride(), 0);
        const std::size_t places = static_cast<std::size_t>(one.options.kernel_height) * one.options.kernel_width;
        add_zero_padding(one.geometry, one.tap_values.as<std::int32_t>() + group * places * one.group_stride(), first, count,
                         correction, one.group_stride());
        epilogue.correction = correction, epilogue.correction_stride = one.group_stride();
      }
      const auto* weights = one.weights.as<std::uint8_t>() + workspace.kernels.packed_bytes(words) * blocks * group;
      workspace.kernels.convolve(patches, weights, static_cast<int>(blocks * split / splits),
                                 static_cast<int>(blocks * (split + 1) / splits), epilogue, scratch + memory.kernels);
    };
    const std::int64_t items = groups * chunks * splits;
    const std::int64_t work = pixels * words * 32 * one.options.channels_out;
    if (work < kWorthAThread) {
      for (std::int64_t item = 0; item < items; ++item) body(item, 0);
    } else {
      workspace.pool.run(items, body);
    }
    if (shares_words(one)) join_groups(one, static_cast<std::uint32_t*>(pointers[plan().output]));
  }

  // Writes the bits of all groups, which each stand by themselves, side by side.
  void join_groups(const Convolution& one, std::uint32_t* output) const {
    const std::int64_t pixels = one.geometry.pixels();
    const int words = words_of(one.options.channels_out), group_channels = one.group_channels();
    std::fill_n(output, pixels * words, 0u);
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel, output += words) {
      for (int channel = 0; channel < one.options.channels_out; ++channel) {
        const std::uint32_t* bits = group_bits(one, channel / group_channels) + pixel * one.group_blocks();
        const int lane = channel % group_channels;
        output[channel / kWordBits] |= (bits[lane / kWordBits] >> lane % kWordBits & 1) << channel % kWordBits;
      }
    }
  }

  std::uint32_t* group_bits(const Convolution& one, int group) const {
    return group_bits_.as<std::uint32_t>() + group * one.geometry.pixels() * one.group_blocks();
  }

  Epilogue epilogue_of(const Convolution& one, int group, const Pointers& pointers) const {
    const std::size_t offset = group * one.group_stride();
    const std::int64_t first = one.part.first_channel + std::int64_t{group} * one.group_channels();
    const std::size_t stride = plan().channels, word_stride = words_of(plan().channels);
    Epilogue result;
    result.channels = one.group_channels();
    result.clamp_min = one.clamp_min, result.clamp_max = one.clamp_max;
    if (type_ == kTfLiteInt32) {
      result.thresholds = one.thresholds.as<std::int32_t>() + offset;
      result.output_bits = static_cast<std::uint32_t*>(pointers[plan().output]) + first / kBlockChannels;
      result.output_bits_stride = word_stride;
      if (shares_words(one)) {
        result.output_bits = group_bits(one, group);
        result.output_bits_stride = one.group_blocks();
      }
      return result;
    }
    result.multiplier = one.multiplier.as<float>() + offset;
    result.bias = one.bias.as<float>() + offset;
    if (type_ == kTfLiteInt8) {
      result.output_int8 = static_cast<std::int8_t*>(pointers[plan().output]) + first;
      result.output_int8_stride = stride;
      return result;
    }
    if (plan().writes_output) result.output = static_cast<float*>(pointers[plan().output]) + first;
    result.output_stride = stride;
    if (one.part.residual >= 0) {
      result.residual = static_cast<const float*>(pointers[one.part.residual]) + std::int64_t{group} * one.group_channels();
      result.residual_stride = one.options.channels_out;
    }
    if (plan().slope >= 0) result.slope = one.slope.as<float>() + offset;
    if (plan().shift >= 0) result.shift = one.shift.as<float>() + offset;
    for (std::size_t i = 0; i < plan().branches.size(); ++i) {
      Branch& branch = result.branches[result.branch_count++];
      if (plan().branches[i].shift >= 0) branch.shift = one.branch_shifts[i].as<float>() + offset;
      branch.bits = static_cast<std::uint32_t*>(pointers[plan().branches[i].bits]) + first / kBlockChannels;
      branch.stride = word_stride;
    }
    return result;
  }

  std::vector<Convolution> convolutions_;
  TfLiteType type_;
  AlignedBuffer group_bits_;  // [group][pixel][words of a group], where groups share words of the output
};

}  // namespace

std::unique_ptr<Step> make_bconv_step(std::string name, const TfLiteContext& context, const Partition& partition,
                                      const PlannedStep& plan, const Kernels& kernels) {
  std::vector<Convolution> convolutions;
  TfLiteType type = kTfLiteFloat32;
  for (const PlannedPart& part : plan.parts) {
    const Operator& op = partition.operators[part.op];
    type = context.tensors[op.outputs[0]].type;
    Convolution one;
    one.part = part;
    one.input = op.inputs[0];
    one.options = check_bconv(context, op);
    const auto* filter = static_cast<const std::uint32_t*>(context.tensors[op.inputs[1]].data);
    pack_weights(one, filter, kernels);
    set_transform(one, op, context);
    if (one.options.zero_padding) set_tap_values(one, filter);
    const auto values = [&](int tensor) {
      const AlignedBuffer all = channel_values(context.tensors[tensor], plan.channels);
      return by_group<float>(one, [&](int channel) { return all.as<float>()[part.first_channel + channel]; });
    };
    if (plan.slope >= 0) one.slope = values(plan.slope);
    if (plan.shift >= 0) one.shift = values(plan.shift);
    for (const PlannedBranch& branch : plan.branches) {
      one.branch_shifts.push_back(branch.shift >= 0 ? values(branch.shift) : AlignedBuffer());
    }
    convolutions.push_back(std::move(one));
  }
  return std::make_unique<BconvStep>(std::move(name), plan, std::move(convolutions), type);
}

}  // namespace bitat
