// LceQuantize, with a constant added before, and LceDequantize.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "steps/step.h"

namespace bitat {
namespace {

constexpr std::int64_t kValuesPerItem = 1 << 15;

// Calls body(first row, number of rows) on the workers of a pool.
template <typename Body>
void for_rows(ThreadPool& pool, std::int64_t rows, std::int64_t row_values, const Body& body) {
  const std::int64_t here = std::max<std::int64_t>(1, kValuesPerItem / std::max<std::int64_t>(1, row_values));
  pool.run((rows + here - 1) / here,
           [&](std::int64_t item, int) { body(item * here, std::min(here, rows - item * here)); });
}

class QuantizeStep : public Step {
 public:
  // `shift`: for as many channels as the input has now; or empty.
  QuantizeStep(std::string name, const PlannedStep& plan, const TfLiteTensor& input, AlignedBuffer shift)
      : Step(std::move(name), plan),
        type_(input.type),
        zero_point_(input.params.zero_point),
        shift_(std::move(shift)),
        shift_channels_(shape_of(input).back()) {}

  void set_shapes(Shapes& shapes) override {
    Shape shape = shapes.at(plan().input);
    require(!shape.empty(), "its input has no dimensions");
    channels_ = shape.back();
    rows_ = count_rows(shape);
    require(shift_.data() == nullptr || channels_ == shift_channels_, "its input of shape ",
            to_string(shape), " has another number of channels than the constant that is added to it");
    shape.back() = words_of(channels_);
    shapes[plan().output] = shape;
  }

  void run(const Pointers& pointers, Workspace& workspace) override {
    const void* input = pointers[plan().input];
    auto* output = static_cast<std::uint32_t*>(pointers[plan().output]);
    const int words = words_of(channels_);
    for_rows(workspace.pool, rows_, channels_, [&](std::int64_t first, std::int64_t rows) {
      std::uint32_t* bits = output + first * words;
      if (type_ == kTfLiteFloat32) {
        workspace.kernels.quantize(static_cast<const float*>(input) + first * channels_, rows, channels_,
                                   shift_.as<const float>(), bits);
      } else {
        // A bool is negative where it is false: 0 is below 1.
        workspace.kernels.quantize_int8(static_cast<const std::int8_t*>(input) + first * channels_, rows, channels_,
                                        type_ == kTfLiteBool ? 1 : zero_point_, bits);
      }
    });
  }

 private:
  TfLiteType type_;
  int zero_point_;
  AlignedBuffer shift_;
  std::int32_t shift_channels_;
  std::int32_t channels_ = 0;
  std::int64_t rows_ = 0;
};

class DequantizeStep : public Step {
 public:
  DequantizeStep(std::string name, const PlannedStep& plan, const TfLiteTensor& output)
      : Step(std::move(name), plan), type_(output.type), channels_(shape_of(output).back()) {
    if (type_ != kTfLiteInt8) return;
    // The step is a float, as larq-compute-engine has it; one beyond int8 is the same as the largest.
    const float step = std::min(std::round(1.0f / output.params.scale), 512.0f);
    const std::int64_t zero_point = output.params.zero_point;
    positive_ = static_cast<std::int8_t>(std::clamp<std::int64_t>(zero_point + static_cast<std::int64_t>(step), -128, 127));
    negative_ = static_cast<std::int8_t>(std::clamp<std::int64_t>(zero_point - static_cast<std::int64_t>(step), -128, 127));
  }

  void set_shapes(Shapes& shapes) override {
    Shape shape = shapes.at(plan().input);
    require(!shape.empty() && shape.back() == words_of(channels_), "its input of shape ", to_string(shape),
            " does not hold the bits of ", channels_, " channels");
    rows_ = count_rows(shape);
    shape.back() = channels_;
    shapes[plan().output] = shape;
  }

  void run(const Pointers& pointers, Workspace& workspace) override {
    const auto* input = static_cast<const std::uint32_t*>(pointers[plan().input]);
    void* output = pointers[plan().output];
    for_rows(workspace.pool, rows_, channels_, [&](std::int64_t first, std::int64_t rows) {
      const std::uint32_t* bits = input + first * words_of(channels_);
      const std::int64_t at = first * channels_;
      if (type_ == kTfLiteFloat32) {
        unpack(bits, rows, 1.0f, -1.0f, static_cast<float*>(output) + at);
      } else if (type_ == kTfLiteInt8) {
        unpack(bits, rows, positive_, negative_, static_cast<std::int8_t*>(output) + at);
      } else {
        unpack<std::uint8_t>(bits, rows, 1, 0, static_cast<std::uint8_t*>(output) + at);
      }
    });
  }

 private:
  template <typename T>
  void unpack(const std::uint32_t* bits, std::int64_t rows, T positive, T negative, T* to) const {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (int channel = 0; channel < channels_; channel += kWordBits) {
        const std::uint32_t word = *bits++;
        const int here = std::min(kWordBits, channels_ - channel);
        for (int lane = 0; lane < here; ++lane) *to++ = word >> lane & 1 ? negative : positive;
      }
    }
  }

  TfLiteType type_;
  std::int32_t channels_;
  std::int8_t positive_ = 1, negative_ = -1;
  std::int64_t rows_ = 0;
};

// CONCATENATION of the channels of float tensors.
class ConcatenationStep : public Step {
 public:
  ConcatenationStep(std::string name, const PlannedStep& plan, std::vector<int> inputs)
      : Step(std::move(name), plan), inputs_(std::move(inputs)) {}

  void set_shapes(Shapes& shapes) override {
    Shape result;
    channels_.clear();
    for (int input : inputs_) {
      Shape shape = shapes.at(input);
      require(!shape.empty(), "one of its inputs has no dimensions");
      channels_.push_back(shape.back());
      const std::int64_t all = result.empty() ? shape.back() : std::int64_t{result.back()} + shape.back();
      shape.back() = result.empty() ? shape.back() : result.back();
      require(result.empty() || shape == result, "its inputs have different shapes");
      require(all <= std::numeric_limits<std::int32_t>::max(), "its output is too large");
      result = shape;
      result.back() = static_cast<std::int32_t>(all);
    }
    rows_ = count_rows(result);
    row_ = result.back();
    shapes[plan().output] = result;
  }

  void run(const Pointers& pointers, Workspace& workspace) override {
    for_rows(workspace.pool, rows_, row_, [&](std::int64_t first, std::int64_t rows) {
      float* to = static_cast<float*>(pointers[plan().output]) + first * row_;
      for (std::int64_t row = first; row < first + rows; ++row) {
        for (std::size_t i = 0; i < inputs_.size(); ++i) {
          to = std::copy_n(static_cast<const float*>(pointers[inputs_[i]]) + row * channels_[i], channels_[i], to);
        }
      }
    });
  }

 private:
  std::vector<int> inputs_;
  std::vector<std::int32_t> channels_;
  std::int64_t rows_ = 0, row_ = 0;
};

}  // namespace

std::unique_ptr<Step> make_concatenation_step(std::string name, const PlannedStep& plan, const std::vector<int>& inputs) {
  return std::make_unique<ConcatenationStep>(std::move(name), plan, inputs);
}

std::unique_ptr<Step> make_quantize_step(std::string name, const TfLiteContext& context, const PlannedStep& plan) {
  AlignedBuffer shift;
  const TfLiteTensor& input = context.tensors[plan.input];
  if (plan.shift >= 0) shift = channel_values(context.tensors[plan.shift], shape_of(input).back());
  return std::make_unique<QuantizeStep>(std::move(name), plan, input, std::move(shift));
}

std::unique_ptr<Step> make_dequantize_step(std::string name, const TfLiteContext& context, const PlannedStep& plan) {
  return std::make_unique<DequantizeStep>(std::move(name), plan, context.tensors[plan.output]);
}

}  // namespace bitat
