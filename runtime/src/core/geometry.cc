#include "core/geometry.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace bitat {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 40;
constexpr std::int32_t kMostSteps = 1 << 20;  // of strides, dilations and kernels: far beyond any network, far below overflow

std::int64_t product(Shape::const_iterator begin, Shape::const_iterator end, const Shape& shape) {
  std::int64_t result = 1;
  for (auto size = begin; size != end; ++size) {
    require(*size >= 0, "a shape has a negative size: ", to_string(shape));
    require(*size == 0 || result <= kMostElements / *size, "a tensor of shape ", to_string(shape), " is too large");
    result *= *size;
  }
  return result;
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string result;
  for (std::int32_t size : shape) result += (result.empty() ? "" : "x") + std::to_string(size);
  return result.empty() ? "()" : result;
}

std::int64_t count(const Shape& shape) { return product(shape.begin(), shape.end(), shape); }

std::int64_t count_rows(const Shape& shape) {
  return shape.empty() ? 1 : product(shape.begin(), shape.end() - 1, shape);
}

Windows windows(const char* axis, std::int32_t input, std::int32_t kernel, std::int32_t stride, std::int32_t dilation,
                Padding padding) {
  require(kernel > 0 && kernel <= kMostSteps, "the kernel's ", axis, " must be 1 to ", kMostSteps, ", not ", kernel);
  require(stride > 0 && stride <= kMostSteps, "the stride of the ", axis, " must be 1 to ", kMostSteps, ", not ", stride);
  require(dilation > 0 && dilation <= kMostSteps, "the dilation of the ", axis, " must be 1 to ", kMostSteps, ", not ",
          dilation);
  require(input >= 0, "the input's ", axis, " is negative: ", input);
  Windows result{input, kernel, stride, dilation, 0, 0};
  const std::int64_t reach = (std::int64_t{kernel} - 1) * dilation + 1;
  require(reach <= std::numeric_limits<std::int32_t>::max(), "the kernel's ", axis, " reaches over ", reach,
          " with its dilation, that is too much");
  if (padding == Padding::kSame) {
    result.output = static_cast<std::int32_t>((std::int64_t{input} + stride - 1) / stride);
    const std::int64_t padded = (std::int64_t{result.output} - 1) * stride + reach - input;
    result.before = static_cast<std::int32_t>(std::max<std::int64_t>(0, padded) / 2);
  } else {
    require(input >= reach, "the kernel's ", axis, " reaches over ", reach, " with its dilation, the input has ", input,
            " without padding");
    result.output = static_cast<std::int32_t>((std::int64_t{input} - reach) / stride + 1);
  }
  return result;
}

}  // namespace bitat
