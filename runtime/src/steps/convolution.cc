#include "steps/convolution.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace bitat {
namespace {

bool reaches_outside(const Windows& axis) {
  if (axis.output == 0) return false;
  const std::int64_t last = std::int64_t{axis.output - 1} * axis.stride - axis.before +
                            std::int64_t{axis.kernel - 1} * axis.dilation;
  return axis.before > 0 || last >= axis.input;
}

// A pixel of the output.
struct Place {
  std::int64_t image;
  std::int32_t row, column;

  Place(const ConvolutionGeometry& geometry, std::int64_t pixel)
      : image(pixel / (std::int64_t{geometry.rows.output} * geometry.columns.output)),
        row(static_cast<std::int32_t>(pixel / geometry.columns.output % geometry.rows.output)),
        column(static_cast<std::int32_t>(pixel % geometry.columns.output)) {}

  void advance(const ConvolutionGeometry& geometry) {
    if (++column < geometry.columns.output) return;
    column = 0;
    if (++row < geometry.rows.output) return;
    row = 0;
    ++image;
  }
};

inline void copy_words(const std::uint32_t* from, std::int64_t count, std::uint32_t* to) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(*to));
}

// Copies kernel rows of kWords words each, from lines that lie `line_words` apart; a number known to the compiler saves most of
// the time of short copies. 0: the number is `words`.
template <int kWords>
void copy_rows(const std::uint32_t* from, std::int64_t line_words, std::int32_t rows, std::int64_t words, std::uint32_t* to) {
  for (std::int32_t row = 0; row < rows; ++row, from += line_words) {
    if (kWords == 0) {
      copy_words(from, words, to), to += words;
    } else {
      std::memcpy(to, from, kWords * sizeof(*to)), to += kWords;
    }
  }
}

using CopyRows = void (*)(const std::uint32_t*, std::int64_t, std::int32_t, std::int64_t, std::uint32_t*);

CopyRows copy_rows_of(std::int64_t words) {
  switch (words) {
    case 1:
      return copy_rows<1>;
    case 2:
      return copy_rows<2>;
    case 3:
      return copy_rows<3>;
    case 4:
      return copy_rows<4>;
    case 6:
      return copy_rows<6>;
    case 12:
      return copy_rows<12>;
    case 24:
      return copy_rows<24>;
    default:
      return copy_rows<0>;
  }
}

}  // namespace

bool ConvolutionGeometry::has_padding() const { return reaches_outside(rows) || reaches_outside(columns); }

ConvolutionGeometry convolution_geometry(const BconvOptions& options, const Shape& input) {
  const std::int32_t words = words_of(options.channels_in);
  require(input.size() == 4 && input[3] == words, "its input has the shape ", to_string(input), ", expected 4 dimensions with ",
          words, " words at the end, for ", options.channels_in, " channels");
  ConvolutionGeometry result;
  result.batch = input[0];
  result.rows = windows("height", input[1], options.kernel_height, options.stride_height, options.dilation_height,
                        options.padding);
  result.columns = windows("width", input[2], options.kernel_width, options.stride_width, options.dilation_width,
                           options.padding);
  result.input_words = words;
  result.group_words = options.group_words;
  return result;
}

void copy_patches(const ConvolutionGeometry& geometry, const std::uint32_t* input, int group, std::int64_t first_pixel, int count,
                  std::uint32_t* patches) {
  const Windows &rows = geometry.rows, &columns = geometry.columns;
  const std::int64_t group_words = geometry.group_words;
  const std::int64_t row_words = std::int64_t{columns.kernel} * group_words;
  // Where a row of the kernel is one run of words in the input.
  const bool is_run = columns.dilation == 1 && geometry.group_words == geometry.input_words;
  const CopyRows copy_inner = copy_rows_of(row_words);
  const std::int64_t line_words = std::int64_t{columns.input} * geometry.input_words;
  const std::int64_t reach = std::int64_t{rows.kernel - 1} * rows.dilation;
  Place place(geometry, first_pixel);
  for (int pixel = 0; pixel < count; ++pixel, place.advance(geometry)) {
    const std::int64_t top = std::int64_t{place.row} * rows.stride - rows.before;
    const std::int64_t left = std::int64_t{place.column} * columns.stride - columns.before;
    if (is_run && top >= 0 && top + reach < rows.input && left >= 0 && left + columns.kernel <= columns.input) {
      const std::uint32_t* first = input + (place.image * rows.input + top) * line_words + left * group_words;
      copy_inner(first, line_words * rows.dilation, rows.kernel, row_words, patches);
      patches += row_words * rows.kernel;
      continue;
    }
    for (std::int32_t i = 0; i < rows.kernel; ++i, patches += row_words) {
      const std::int64_t y = top + std::int64_t{i} * rows.dilation;
      if (y < 0 || y >= rows.input) {
        std::fill_n(patches, row_words, 0u);
        continue;
      }
      const std::uint32_t* line = input + (place.image * rows.input + y) * line_words + std::int64_t{group} * group_words;
      if (is_run && left >= 0 && left + columns.kernel <= columns.input) {
        copy_words(line + left * group_words, row_words, patches);
        continue;
      }
      for (std::int32_t j = 0; j < columns.kernel; ++j) {
        const std::int64_t x = left + std::int64_t{j} * columns.dilation;
        std::uint32_t* to = patches + j * group_words;
        if (x < 0 || x >= columns.input) {
          std::fill_n(to, group_words, 0u);
        } else {
          copy_words(line + x * geometry.input_words, group_words, to);
        }
      }
    }
  }
}

void add_zero_padding(const ConvolutionGeometry& geometry, const std::int32_t* tap_values, std::int64_t first_pixel, int count,
                      std::int32_t* correction, std::size_t stride) {
  const Windows &rows = geometry.rows, &columns = geometry.columns;
  Place place(geometry, first_pixel);
  for (int pixel = 0; pixel < count; ++pixel, place.advance(geometry), correction += stride) {
    const std::int64_t top = std::int64_t{place.row} * rows.stride - rows.before;
    const std::int64_t left = std::int64_t{place.column} * columns.stride - columns.before;
    for (std::int32_t i = 0; i < rows.kernel; ++i) {
      const std::int64_t y = top + std::int64_t{i} * rows.dilation;
      for (std::int32_t j = 0; j < columns.kernel; ++j) {
        const std::int64_t x = left + std::int64_t{j} * columns.dilation;
        if (y >= 0 && y < rows.input && x >= 0 && x < columns.input) continue;
        const std::int32_t* values = tap_values + (std::size_t{static_cast<std::size_t>(i)} * columns.kernel + j) * stride;
        for (std::size_t channel = 0; channel < stride; ++channel) correction[channel] += values[channel];
      }
    }
  }
}

}  // namespace bitat
