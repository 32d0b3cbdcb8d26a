// The geometry of a binary convolution, and its patches.
#ifndef BITAT_STEPS_CONVOLUTION_H_
#define BITAT_STEPS_CONVOLUTION_H_

#include <cstdint>

#include "core/geometry.h"
#include "graph/operators.h"

namespace bitat {

// Where the pixels of an output lie in the input.
struct ConvolutionGeometry {
  std::int32_t batch = 0;
  Windows rows, columns;
  std::int32_t input_words = 0;  // of a pixel
  std::int32_t group_words = 0;  // of these, what a group sees

  std::int64_t pixels() const { return std::int64_t{batch} * rows.output * columns.output; }
  // Whether the pixels of the input are the patches as they stand.
  bool is_pointwise() const {
    return rows.kernel == 1 && columns.kernel == 1 && rows.stride == 1 && columns.stride == 1;
  }
  bool has_padding() const;
};

// Throws Error where the input does not fit the convolution.
ConvolutionGeometry convolution_geometry(const BconvOptions& options, const Shape& input);

// Copies the patches of `count` pixels of the output, from `first_pixel` on: [count][patch_words]. Padding is zero, which is +1.
void copy_patches(const ConvolutionGeometry& geometry, const std::uint32_t* input, int group, std::int64_t first_pixel, int count,
                  std::uint32_t* patches);

// Adds to `correction`, [count][stride] zeros, what padding with zeros changes of 2 * acc: for each place of the kernel that lies
// outside of the image, tap_values[place][stride], channels of the group - 2 * popcount(weights of the place).
void add_zero_padding(const ConvolutionGeometry& geometry, const std::int32_t* tap_values, std::int64_t first_pixel, int count,
                      std::int32_t* correction, std::size_t stride);

}  // namespace bitat

#endif  // BITAT_STEPS_CONVOLUTION_H_
