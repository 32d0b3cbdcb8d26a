// Pixels as the network was trained on them: centre crop to a square, bilinear resize as Pillow does it, gray, scaling.
//
// It needs nothing but the standard library. Compile with -ffp-contract=off: fused multiply-adds would round the weights
// of the resize differently from Pillow.
#ifndef BITAT_PREPROCESS_H_
#define BITAT_PREPROCESS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace bitat {

constexpr int64_t kMostPixels = 178956970;  // as many as Pillow takes before it speaks of a decompression bomb

// A picture of 8 bits a channel; rows from the top, channels side by side.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int image_width, int image_height, int image_channels)
      : width(image_width), height(image_height), channels(image_channels) {
    if (width < 1 || height < 1 || channels < 1 || int64_t{width} * height > kMostPixels) {
      throw std::runtime_error("a picture of " + std::to_string(width) + "x" + std::to_string(height) + " pixels is not read");
    }
    pixels.resize(static_cast<size_t>(width) * height * channels);
  }

  uint8_t* row(int y) { return pixels.data() + static_cast<size_t>(y) * width * channels; }
  const uint8_t* row(int y) const { return pixels.data() + static_cast<size_t>(y) * width * channels; }
};

// What the network expects of pixels 0..255: scale * pixel + offset, after the channels were turned round if `reverse`.
struct Scaling {
  double scale[3];
  double offset[3];
  bool reverse;
};

// Returns the largest square in the middle.
inline Image CropToSquare(const Image& image) {
  const int side = std::min(image.width, image.height);
  const int left = (image.width - side) / 2, top = (image.height - side) / 2;
  Image square(side, side, image.channels);
  for (int y = 0; y < side; ++y) {
    const uint8_t* from = image.row(top + y) + static_cast<size_t>(left) * image.channels;
    std::copy(from, from + static_cast<size_t>(side) * image.channels, square.row(y));
  }
  return square;
}

// The weights of the input pixels from `first` on for one output pixel, in units of 2^-22.
struct Window {
  int first = 0;
  std::vector<int32_t> weights;
};

constexpr int kWeightBits = 22;

// Returns, for each output pixel of a line, a triangle around its place, as wide as the line shrinks. Its weights sum to
// one before they are rounded.
inline std::vector<Window> TriangleWindows(int input_size, int output_size) {
  const double ratio = static_cast<double>(input_size) / output_size;
  const double support = std::max(ratio, 1.0);
  const double inverse = 1.0 / support;
  std::vector<Window> windows(output_size);
  for (int place = 0; place < output_size; ++place) {
    const double centre = (place + 0.5) * ratio;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + support + 0.5), input_size);
    std::vector<double> triangle(std::max(last - first, 0));
    double sum = 0.0;
    for (size_t i = 0; i < triangle.size(); ++i) {
      const double distance = std::fabs((static_cast<double>(i) + first - centre + 0.5) * inverse);
      triangle[i] = distance < 1.0 ? 1.0 - distance : 0.0;
      sum += triangle[i];
    }
    windows[place].first = first;
    for (const double weight : triangle) {
      const double share = sum != 0.0 ? weight / sum : weight;
      windows[place].weights.push_back(static_cast<int32_t>(0.5 + share * (1 << kWeightBits)));
    }
  }
  return windows;
}

inline uint8_t RoundedSum(const uint8_t* from, size_t step, const Window& window) {
  int64_t sum = int64_t{1} << (kWeightBits - 1);
  for (size_t i = 0; i < window.weights.size(); ++i) sum += int64_t{from[i * step]} * window.weights[i];
  return static_cast<uint8_t>(std::min<int64_t>(std::max<int64_t>(sum >> kWeightBits, 0), 255));
}

// Returns the picture in another size: first the rows, then the columns, each rounded to 8 bits.
inline Image Resize(const Image& image, int width, int height) {
  if (width < 1 || height < 1) throw std::runtime_error("a picture cannot be resized to nothing");
  Image wide = image;
  const size_t channels = static_cast<size_t>(image.channels);
  if (width != image.width) {
    wide = Image(width, image.height, image.channels);
    const std::vector<Window> windows = TriangleWindows(image.width, width);
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < width; ++x) {
        const uint8_t* from = image.row(y) + windows[x].first * channels;
        for (size_t c = 0; c < channels; ++c) wide.row(y)[x * channels + c] = RoundedSum(from + c, channels, windows[x]);
      }
    }
  }
  if (height == image.height) return wide;
  Image result(width, height, image.channels);
  const std::vector<Window> windows = TriangleWindows(image.height, height);
  const size_t line = static_cast<size_t>(width) * channels;
  for (int y = 0; y < height; ++y) {
    const uint8_t* from = wide.row(windows[y].first);
    for (size_t i = 0; i < line; ++i) result.row(y)[i] = RoundedSum(from + i, line, windows[y]);
  }
  return result;
}

// Returns the luma of red, green, blue (ITU-R 601), rounded as Pillow's convert("L") does.
inline Image ToGray(const Image& image) {
  Image gray(image.width, image.height, 1);
  for (size_t i = 0; i < gray.pixels.size(); ++i) {
    const uint8_t* rgb = image.pixels.data() + 3 * i;
    gray.pixels[i] = static_cast<uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
  }
  return gray;
}

// Returns the pixels that the network sees: 8 bits, before scaling.
inline Image Prepare(const Image& picture, int width, int height, int channels) {
  if (picture.channels != 3) throw std::runtime_error("expected a picture of red, green and blue");
  if (channels != 1 && channels != 3) throw std::runtime_error("expected a network of 1 or 3 channels");
  const Image resized = Resize(CropToSquare(picture), width, height);
  return channels == 3 ? resized : ToGray(resized);
}

// Returns the values that the network expects, in the order of its input.
inline std::vector<float> Scaled(const Image& image, const Scaling& scaling) {
  std::vector<float> values(image.pixels.size());
  const size_t channels = static_cast<size_t>(image.channels);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t channel = i % channels;
    const size_t source = scaling.reverse ? i - channel + (channels - 1 - channel) : i;
    values[i] = static_cast<float>(image.pixels[source] * scaling.scale[channel] + scaling.offset[channel]);
  }
  return values;
}

// Returns the nearest value of an 8-bit tensor, halves to even ones; Integer is int8_t or uint8_t. A scale of 0 stands for
// no quantization.
template <typename Integer>
Integer Quantized(float value, float scale, int32_t zero_point) {
  const float steps = scale > 0.0f ? value / scale : value;
  const float lowest = std::numeric_limits<Integer>::min(), highest = std::numeric_limits<Integer>::max();
  // Compared before the cast: a float beyond the range has no defined value as an integer.
  const float rounded = std::nearbyint(steps) + static_cast<float>(zero_point);
  return static_cast<Integer>(std::min(std::max(rounded, lowest), highest));
}

}  // namespace bitat

#endif  // BITAT_PREPROCESS_H_
