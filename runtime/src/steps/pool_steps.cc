// LceBMaxPool2d, and AVERAGE_POOL_2D of floats where it lies between fused operators.
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "steps/step.h"

namespace bitat {
namespace {

constexpr std::int64_t kValuesPerItem = 1 << 15;  // that a thread reads at a time: fewer are not worth waking it

// The part of a window that lies in the image: [begin, end).
struct Range {
  std::int32_t begin, end;

  Range(const Windows& axis, std::int32_t output) {
    const std::int64_t first = std::int64_t{output} * axis.stride - axis.before;
    begin = static_cast<std::int32_t>(std::max<std::int64_t>(first, 0));
    end = static_cast<std::int32_t>(std::min<std::int64_t>(first + axis.kernel, axis.input));
  }
  std::int32_t size() const { return std::max(0, end - begin); }
};

// Pooling of values of type T, NHWC: `pool` for every pixel of the output.
template <typename T>
class PoolStep : public Step {
 public:
  PoolStep(std::string name, const PlannedStep& plan, const PoolOptions& options)
      : Step(std::move(name), plan), options_(options) {}

  void set_shapes(Shapes& shapes) override {
    const Shape shape = shapes.at(plan().input);
    require(shape.size() == 4, "its input has the shape ", to_string(shape), ", expected 4 dimensions");
    batch_ = shape[0], channels_ = shape[3];
    rows_ = windows("height", shape[1], options_.kernel_height, options_.stride_height, 1, options_.padding);
    columns_ = windows("width", shape[2], options_.kernel_width, options_.stride_width, 1, options_.padding);
    const Shape result = {batch_, rows_.output, columns_.output, channels_};
    require(count(result) <= std::numeric_limits<std::int32_t>::max(), "its output of shape ", to_string(result),
            " is too large");
    shapes[plan().output] = result;
  }

  void run(const Pointers& pointers, Workspace& workspace) override {
    const auto* input = static_cast<const T*>(pointers[plan().input]);
    auto* output = static_cast<T*>(pointers[plan().output]);
    const std::int64_t lines = std::int64_t{batch_} * rows_.output;
    const std::int64_t line_values = std::int64_t{rows_.kernel} * columns_.input * channels_;
    const std::int64_t here = std::max<std::int64_t>(1, kValuesPerItem / std::max<std::int64_t>(1, line_values));
    workspace.pool.run((lines + here - 1) / here, [&](std::int64_t item, int) {
      for (std::int64_t line = item * here; line < std::min(lines, (item + 1) * here); ++line) pool_line(input, line, output);
    });
  }

 protected:
  virtual void pool(const T* image, const Range& y, const Range& x, T* to) const = 0;

  void pool_line(const T* input, std::int64_t line, T* output) const {
    const T* image = input + line / rows_.output * rows_.input * columns_.input * channels_;
    const Range y(rows_, static_cast<std::int32_t>(line % rows_.output));
    T* to = output + line * columns_.output * channels_;
    for (std::int32_t column = 0; column < columns_.output; ++column, to += channels_) {
      pool(image, y, Range(columns_, column), to);
    }
  }

  const T* pixel(const T* image, std::int32_t y, std::int32_t x) const {
    return image + (std::int64_t{y} * columns_.input + x) * channels_;
  }

  PoolOptions options_;
  std::int32_t batch_ = 0, channels_ = 0;
  Windows rows_, columns_;
};

// The largest sign: a bit is set, -1, where it is set in the whole window.
class MaxPoolStep : public PoolStep<std::uint32_t> {
 public:
  using PoolStep::PoolStep;

 protected:
  void pool(const std::uint32_t* image, const Range& y, const Range& x, std::uint32_t* to) const override {
    std::fill_n(to, channels_, ~0u);
    for (std::int32_t i = y.begin; i < y.end; ++i) {
      for (std::int32_t j = x.begin; j < x.end; ++j) {
        const std::uint32_t* from = pixel(image, i, j);
        for (std::int32_t word = 0; word < channels_; ++word) to[word] &= from[word];
      }
    }
  }
};

class AveragePoolStep : public PoolStep<float> {
 public:
  using PoolStep::PoolStep;

 protected:
  void pool(const float* image, const Range& y, const Range& x, float* to) const override {
    const float share = 1.0f / static_cast<float>(std::max(1, y.size() * x.size()));
    if (y.size() == 2 && x.size() == 2) {  // by far the most frequent one
      const float *a = pixel(image, y.begin, x.begin), *b = a + channels_;
      const float *c = pixel(image, y.begin + 1, x.begin), *d = c + channels_;
      for (std::int32_t channel = 0; channel < channels_; ++channel) {
        to[channel] = ((a[channel] + c[channel]) + (b[channel] + d[channel])) * share;  // XNNPACK's order
      }
      return;
    }
    std::fill_n(to, channels_, 0.0f);
    for (std::int32_t i = y.begin; i < y.end; ++i) {
      for (std::int32_t j = x.begin; j < x.end; ++j) {
        const float* from = pixel(image, i, j);
        for (std::int32_t channel = 0; channel < channels_; ++channel) to[channel] += from[channel];
      }
    }
    for (std::int32_t channel = 0; channel < channels_; ++channel) to[channel] *= share;
  }
};

}  // namespace

std::unique_ptr<Step> make_max_pool_step(std::string name, const PlannedStep& plan, const PoolOptions& options) {
  return std::make_unique<MaxPoolStep>(std::move(name), plan, options);
}

std::unique_ptr<Step> make_average_pool_step(std::string name, const PlannedStep& plan, const TfLitePoolParams& options) {
  return std::make_unique<AveragePoolStep>(
      std::move(name), plan,
      PoolOptions{options.filter_height, options.filter_width, options.stride_height, options.stride_width,
                  options.padding == kTfLitePaddingSame ? Padding::kSame : Padding::kValid});
}

}  // namespace bitat
