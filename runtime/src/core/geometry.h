// Shapes, and where the windows of a convolution or pooling lie.
#ifndef BITAT_CORE_GEOMETRY_H_
#define BITAT_CORE_GEOMETRY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bitat {

using Shape = std::vector<std::int32_t>;

// Bits of a packed word; channels are packed 32 to a word, the last word of a pixel is filled up with zeros.
constexpr std::int32_t kWordBits = 32;

inline std::int32_t words_of(std::int32_t channels) { return channels / kWordBits + (channels % kWordBits != 0); }

// "1x224x224x3"
std::string to_string(const Shape& shape);

// The number of elements. Throws Error for a negative size, or more elements than 2^40.
std::int64_t count(const Shape& shape);

// The number of elements without the last dimension.
std::int64_t count_rows(const Shape& shape);

enum class Padding { kSame, kValid };

// Windows along one axis.
struct Windows {
  std::int32_t input = 0;
  std::int32_t kernel = 0;
  std::int32_t stride = 1;
  std::int32_t dilation = 1;
  std::int32_t before = 0;  // rows of padding before the first one
  std::int32_t output = 0;
};

// Returns the windows along one axis, as TFLite computes them. Throws Error where nothing is left, or sizes are out of range.
Windows windows(const char* axis, std::int32_t input, std::int32_t kernel, std::int32_t stride, std::int32_t dilation,
                Padding padding);

}  // namespace bitat

#endif  // BITAT_CORE_GEOMETRY_H_
