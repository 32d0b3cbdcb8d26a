#include "steps/bconv_step.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>

#include "core/error.h"

namespace bitat {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kZeroPaddedPixels = 64;  // at a time: fewer, as a correction is kept for each
constexpr std::int64_t kLeastPixels = 32;       // at a time where threads share the work: the weights pass by each time
constexpr int kItemsPerThread = 4;              // so that threads that are disturbed give work away
// Multiply-accumulates of a step that are worth several threads, and of an item: some microseconds and one, on fast processors.
constexpr std::int64_t kWorthThreads = 1 << 22, kWorthAnItem = 1 << 20;

}  // namespace

BconvStep::BconvStep(std::string name, const PlannedStep& plan, std::vector<PackedConvolution> convolutions, TfLiteType type)
    : Step(std::move(name), plan), convolutions_(std::move(convolutions)), type_(type) {}

void BconvStep::set_shapes(Shapes& shapes) {
  Shape result;
  for (PackedConvolution& one : convolutions_) {
    one.geometry = convolution_geometry(one.options, shapes.at(one.input));
    const Shape shape = {one.geometry.batch, one.geometry.rows.output, one.geometry.columns.output, plan().channels};
    require(result.empty() || result == shape, "the tensors that are joined have different shapes: ", to_string(result), " and ",
            to_string(shape));
    result = shape;
    require(count(shape) <= std::numeric_limits<std::int32_t>::max(), "its output of shape ", to_string(shape), " is too large");
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

std::int64_t BconvStep::macs() const {
  std::int64_t result = 0;
  for (const PackedConvolution& one : convolutions_) {
    result += one.geometry.pixels() * one.options.channels_out * one.places() * (one.options.channels_in / one.options.groups);
  }
  return result;
}

std::int64_t BconvStep::chunk(const Workspace& workspace) const {
  if (pixels() == 0) return 1;
  std::int64_t result = pixels();
  for (const PackedConvolution& one : convolutions_) {
    result = std::min<std::int64_t>(result, workspace.kernels.chunk_pixels(one.patch_words()));
    if (one.is_zero_padded()) result = std::min(result, kZeroPaddedPixels);
  }
  const std::int64_t threads = workspace.pool.threads();
  if (threads > 1) {
    // Fewer pixels at a time where that gives every thread something to do; whole tiles.
    const std::int64_t share = (pixels() + threads * kItemsPerThread - 1) / (threads * kItemsPerThread);
    result = std::min(result, std::max(kLeastPixels, (share + 31) / 32 * 32));
  }
  result = std::max<std::int64_t>(1, result);
  // Chunks of about the same size: a small last one would need all weights for little. Whole tiles again.
  const std::int64_t chunks = (pixels() + result - 1) / result;
  return std::min(result, ((pixels() + chunks - 1) / chunks + 31) / 32 * 32);
}

BconvStep::Memory BconvStep::memory(const PackedConvolution& one, std::int64_t chunk, const Workspace& workspace) const {
  const int words = one.patch_words();
  Memory result;
  result.correction = one.geometry.is_pointwise() ? 0 : aligned(static_cast<std::size_t>(chunk) * words * 4);
  result.kernels = result.correction;
  if (one.is_zero_padded()) result.kernels += aligned(static_cast<std::size_t>(chunk) * one.group_stride() * 4);
  result.total = result.kernels + workspace.kernels.scratch_bytes(static_cast<int>(chunk), words);
  return result;
}

std::size_t BconvStep::scratch_bytes(const Workspace& workspace) const {
  // Where it follows another step, that one's chunks may be larger, up to what the kernels take for the smallest patches.
  const std::int64_t most = std::max<std::int64_t>(chunk(workspace), std::min<std::int64_t>(pixels(), workspace.kernels.chunk_pixels(1)));
  std::size_t result = 0;
  for (const PackedConvolution& one : convolutions_) {
    const std::int64_t pixels = one.geometry.is_pointwise() ? most : chunk(workspace);
    result = std::max(result, memory(one, pixels, workspace).total);
  }
  return result;
}

void BconvStep::run(const Pointers& pointers, Workspace& workspace) {
  const std::int64_t chunk = this->chunk(workspace);
  const std::int64_t chunks = (pixels() + chunk - 1) / chunk;
  if (chunks == 0) return;
  // Where there are few chunks, the output channels are divided as well.
  const std::int64_t threads = workspace.pool.threads();
  std::int64_t splits = 1;
  if (threads > 1 && chunks < threads * 2) {
    splits = std::clamp<std::int64_t>(macs() / chunks / kWorthAnItem, 1, (threads * 2 + chunks - 1) / chunks);
  }
  const auto body = [&](std::int64_t item, int worker) {
    run_chunk(item / splits * chunk, chunk, item % splits, splits, worker, pointers, workspace);
  };
  if (macs() < kWorthThreads) {
    for (std::int64_t item = 0; item < chunks * splits; ++item) body(item, 0);
  } else {
    workspace.pool.run(chunks * splits, body);
  }
  for (const PackedConvolution& one : convolutions_) {
    if (shares_words(one)) join_groups(one, static_cast<std::uint32_t*>(pointers[plan().output]));
  }
}

bool BconvStep::can_follow(const BconvStep& other, const Partition& partition, const Workspace& workspace) const {
  if (pixels() != other.pixels() || other.type_ != kTfLiteFloat32) return false;
  const std::int64_t threads = workspace.pool.threads();
  const std::int64_t chunk = other.chunk(workspace), chunks = (pixels() + chunk - 1) / chunk;
  if (threads > 1 && (chunks < 2 * threads || macs() + other.macs() < kWorthThreads)) return false;
  for (const PackedConvolution& one : convolutions_) {
    if (!one.geometry.is_pointwise() || shares_words(one)) return false;
  }
  const std::vector<int> reads = plan().reads(partition), writes = other.plan().writes();
  return std::any_of(reads.begin(), reads.end(),
                     [&](int tensor) { return std::count(writes.begin(), writes.end(), tensor) != 0; });
}

std::size_t BconvStep::plan_passed(std::vector<Passed>& passed, const Workspace& workspace) const {
  std::size_t result = 0;
  for (Passed& one : passed) {
    one.offset = result;
    result += aligned(static_cast<std::size_t>(chunk(workspace)) * one.pixel_bytes);
  }
  return result;
}

void BconvStep::run_with(const BconvStep& next, const std::vector<Passed>& passed, const Pointers& pointers,
                         Workspace& workspace, double* seconds) const {
  const std::int64_t chunk = this->chunk(workspace);
  for (Pointers& mine : workspace.pointers) mine = pointers;
  std::mutex mutex;
  workspace.pool.run((pixels() + chunk - 1) / chunk, [&](std::int64_t item, int worker) {
    const std::int64_t first = item * chunk;
    Pointers& mine = workspace.pointers[worker];
    for (const Passed& one : passed) {
      // Steps count pixels from the first one of the tensor: it would lie that far before those that are here.
      const auto here = reinterpret_cast<std::uintptr_t>(workspace.passed[worker].data()) + one.offset;
      mine[one.tensor] = reinterpret_cast<void*>(here - static_cast<std::uintptr_t>(first) * one.pixel_bytes);
    }
    const auto now = [&] { return seconds == nullptr ? Clock::time_point() : Clock::now(); };
    const auto start = now();
    run_chunk(first, chunk, 0, 1, worker, mine, workspace);
    const auto middle = now();
    next.run_chunk(first, chunk, 0, 1, worker, mine, workspace);
    if (seconds == nullptr) return;
    const auto end = now();
    const std::lock_guard<std::mutex> lock(mutex);
    seconds[0] += std::chrono::duration<double>(middle - start).count();
    seconds[1] += std::chrono::duration<double>(end - middle).count();
  });
}

void BconvStep::run_chunk(std::int64_t first, std::int64_t chunk, std::int64_t split, std::int64_t splits, int worker,
                          const Pointers& pointers, Workspace& workspace) const {
  const int count = static_cast<int>(std::min(chunk, pixels() - first));
  auto* scratch = workspace.scratch[worker].as<std::uint8_t>();
  for (const PackedConvolution& one : convolutions_) {
    const Memory memory = this->memory(one, chunk, workspace);
    for (int group = 0; group < one.options.groups; ++group) {
      convolve(one, group, first, count, split, splits, memory, scratch, pointers, workspace.kernels);
    }
  }
}

void BconvStep::convolve(const PackedConvolution& one, int group, std::int64_t first, int count, std::int64_t split,
                         std::int64_t splits, const Memory& memory, std::uint8_t* scratch, const Pointers& pointers,
                         const Kernels& kernels) const {
  const int blocks = one.group_blocks();
  const int block_begin = static_cast<int>(blocks * split / splits), block_end = static_cast<int>(blocks * (split + 1) / splits);
  if (block_begin == block_end) return;
  const auto* input = static_cast<const std::uint32_t*>(pointers[one.input]);
  Patches patches;
  patches.pixels = count, patches.words = one.patch_words(), patches.first_pixel = first;
  if (one.geometry.is_pointwise()) {
    patches.bits = input + first * one.geometry.input_words + std::int64_t{group} * one.options.group_words;
    patches.stride = one.geometry.input_words;
  } else {
    auto* copied = reinterpret_cast<std::uint32_t*>(scratch);
    copy_patches(one.geometry, input, group, first, count, copied);
    patches.bits = copied, patches.stride = patches.words;
  }
  Epilogue epilogue = epilogue_of(one, group, pointers);
  if (one.is_zero_padded()) {
    auto* correction = reinterpret_cast<std::int32_t*>(scratch + memory.correction);
    const std::size_t stride = one.group_stride();
    std::fill_n(correction, static_cast<std::size_t>(count) * stride, 0);
    add_zero_padding(one.geometry, one.tap_values.as<std::int32_t>() + group * one.places() * stride, first, count, correction,
                     stride);
    epilogue.correction = correction, epilogue.correction_stride = stride;
  }
  const auto* weights = one.weights.as<std::uint8_t>() + kernels.packed_bytes(patches.words) * blocks * group;
  kernels.convolve(patches, weights, block_begin, block_end, epilogue, scratch + memory.kernels);
}

Epilogue BconvStep::epilogue_of(const PackedConvolution& one, int group, const Pointers& pointers) const {
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
    if (shares_words(one)) result.output_bits = group_bits(one, group), result.output_bits_stride = one.group_blocks();
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

std::uint32_t* BconvStep::group_bits(const PackedConvolution& one, int group) const {
  return group_bits_.as<std::uint32_t>() + group * one.geometry.pixels() * one.group_blocks();
}

// Writes the bits of all groups, which each stand by themselves, side by side.
void BconvStep::join_groups(const PackedConvolution& one, std::uint32_t* output) const {
  const int words = words_of(one.options.channels_out), group_channels = one.group_channels();
  std::fill_n(output, pixels() * words, 0u);
  for (std::int64_t pixel = 0; pixel < pixels(); ++pixel, output += words) {
    for (int channel = 0; channel < one.options.channels_out; ++channel) {
      const std::uint32_t* bits = group_bits(one, channel / group_channels) + pixel * one.group_blocks();
      const int lane = channel % group_channels;
      output[channel / kWordBits] |= (bits[lane / kWordBits] >> lane % kWordBits & 1) << channel % kWordBits;
    }
  }
}

std::unique_ptr<Step> make_bconv_step(std::string name, const TfLiteContext& context, const Partition& partition,
                                      const PlannedStep& plan, const Kernels& kernels) {
  std::vector<PackedConvolution> convolutions;
  for (const PlannedPart& part : plan.parts) {
    convolutions.push_back(pack_convolution(context, partition, plan, part, kernels));
  }
  const TfLiteType type = context.tensors[partition.operators[plan.parts.front().op].outputs[0]].type;
  return std::make_unique<BconvStep>(std::move(name), plan, std::move(convolutions), type);
}

}  // namespace bitat
