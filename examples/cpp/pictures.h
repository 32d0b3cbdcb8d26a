// Pictures from files: binary PPM always; JPEG and PNG if the program was built with libjpeg and libpng.
#ifndef BITAT_PICTURES_H_
#define BITAT_PICTURES_H_

#include <cctype>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "preprocess.h"

#ifdef BITAT_WITH_JPEG
#include "jpeg_picture.h"
#endif
#ifdef BITAT_WITH_PNG
#include "png_picture.h"
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

inline bool StartsWith(const std::vector<uint8_t>& content, const char* mark, size_t size) {
  return content.size() >= size && std::memcmp(content.data(), mark, size) == 0;
}

// Returns the picture in a file, in red, green and blue, upright.
inline Image ReadPicture(const std::string& path) {
  try {
    const std::vector<uint8_t> content = ReadFile(path);
    if (StartsWith(content, "P6", 2)) return DecodePpm(content);
    if (StartsWith(content, "\xff\xd8\xff", 3)) {
#ifdef BITAT_WITH_JPEG
      return DecodeJpeg(content);
#else
      throw std::runtime_error("JPEG is not built in: install libjpeg's headers and build again");
#endif
    }
    if (StartsWith(content, "\x89PNG\r\n\x1a\n", 8)) {
#ifdef BITAT_WITH_PNG
      return DecodePng(content);
#else
      throw std::runtime_error("PNG is not built in: install libpng's headers and build again");
#endif
    }
    throw std::runtime_error(content.empty() ? "the file is empty" : "neither a binary PPM (P6) nor a JPEG nor a PNG");
  } catch (const std::exception& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

}  // namespace bitat

#endif  // BITAT_PICTURES_H_
