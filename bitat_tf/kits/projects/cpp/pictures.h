// Pictures from files: binary PPM always; JPEG and PNG if the compiler finds the header stb_image.h.
#ifndef BITAT_PICTURES_H_
#define BITAT_PICTURES_H_

#include <cctype>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "preprocess.h"

#if __has_include(<stb_image.h>)
#define BITAT_WITH_STB_IMAGE
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#include <stb_image.h>
#endif

namespace bitat {

inline std::vector<uint8_t> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot be opened");
  try {
    return std::vector<uint8_t>((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  } catch (const std::ios_base::failure&) {  // a folder can be opened
    throw std::runtime_error("cannot be read");
  }
}

// Reads the numbers in the head of a PPM, with comments between them.
class PpmHead {
 public:
  explicit PpmHead(const std::vector<uint8_t>& content) : content_(content), place_(2) {}

  int Number() {
    bool gap = false;
    while (place_ < content_.size() && (std::isspace(content_[place_]) || content_[place_] == '#')) {
      if (content_[place_] == '#') {
        while (place_ < content_.size() && content_[place_] != '\n') ++place_;
      } else {
        ++place_;
      }
      gap = true;
    }
    if (!gap || place_ >= content_.size() || !std::isdigit(content_[place_])) {
      throw std::runtime_error("the head of the PPM is damaged");
    }
    int number = 0;
    while (place_ < content_.size() && std::isdigit(content_[place_])) {
      number = number * 10 + (content_[place_++] - '0');
      if (number > 1000000) throw std::runtime_error("the head of the PPM has a number that is too large");
    }
    return number;
  }

  // Returns where the pixels start: after one white space.
  size_t End() const {
    if (place_ >= content_.size() || !std::isspace(content_[place_])) {
      throw std::runtime_error("the head of the PPM is damaged");
    }
    return place_ + 1;
  }

 private:
  const std::vector<uint8_t>& content_;
  size_t place_;
};

inline Image DecodePpm(const std::vector<uint8_t>& content) {
  PpmHead head(content);
  const int width = head.Number(), height = head.Number(), largest = head.Number();
  const size_t start = head.End();
  if (largest != 255) throw std::runtime_error("only a PPM of 8 bits is read, with 255 as its largest value");
  const int64_t needed = int64_t{3} * width * height, there = static_cast<int64_t>(content.size() - start);
  if (there < needed) {
    throw std::runtime_error("the PPM is cut off: " + std::to_string(needed) + " bytes of pixels were expected, " +
                             std::to_string(there) + " are there");
  }
  Image image(width, height, 3);
  std::copy(content.begin() + start, content.begin() + start + needed, image.pixels.begin());
  return image;
}

#ifdef BITAT_WITH_STB_IMAGE
// Returns one channel over white, rounded as Pillow's alpha_composite does.
inline uint8_t OverWhite(unsigned value, unsigned alpha) {
  const unsigned sum = value * alpha * 128u + 255u * (255u - alpha) * 128u + (0x80u << 7);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

// Reads a JPEG or a PNG; transparent parts come on white, as training had them.
inline Image DecodeWithStb(const std::vector<uint8_t>& content) {
  const int size = static_cast<int>(content.size());
  int width = 0, height = 0, channels = 0;
  if (content.size() > 0x7fffffff || !stbi_info_from_memory(content.data(), size, &width, &height, &channels)) {
    throw std::runtime_error("neither a binary PPM (P6) nor a JPEG nor a PNG: convert it first");
  }
  Image image(width, height, 3);  // refuses what is too large, before any of it is decoded
  const std::unique_ptr<stbi_uc, void (*)(void*)> rgba(
      stbi_load_from_memory(content.data(), size, &width, &height, &channels, 4), stbi_image_free);
  if (rgba == nullptr) throw std::runtime_error(std::string("the picture is damaged: ") + stbi_failure_reason());
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const stbi_uc* pixel = rgba.get() + i / 3 * 4;
    image.pixels[i] = OverWhite(pixel[i % 3], pixel[3]);
  }
  return image;
}
#endif

// Returns the picture in a file, in red, green and blue.
inline Image ReadPicture(const std::string& path) {
  try {
    const std::vector<uint8_t> content = ReadFile(path);
    if (content.empty()) throw std::runtime_error("the file is empty");
    if (content.size() >= 2 && std::memcmp(content.data(), "P6", 2) == 0) return DecodePpm(content);
#ifdef BITAT_WITH_STB_IMAGE
    return DecodeWithStb(content);
#else
    throw std::runtime_error(
        "no binary PPM (P6). This program was built without stb_image.h, which reads JPEG and PNG: install it (libstb-dev) and "
        "build again, or convert the picture");
#endif
  } catch (const std::exception& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

}  // namespace bitat

#endif  // BITAT_PICTURES_H_
