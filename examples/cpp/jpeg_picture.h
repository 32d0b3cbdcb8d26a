// JPEG through libjpeg, turned upright by its EXIF orientation as training did.
#ifndef BITAT_JPEG_PICTURE_H_
#define BITAT_JPEG_PICTURE_H_

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "preprocess.h"

namespace bitat {

// libjpeg ends the program on an error unless it is led elsewhere.
struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

inline void LeaveJpeg(j_common_ptr decoder) {
  JpegErrors* errors = reinterpret_cast<JpegErrors*>(decoder->err);
  decoder->err->format_message(decoder, errors->message);
  std::longjmp(errors->back, 1);
}

// A cut off JPEG is a warning to libjpeg, which fills the rest with gray; training left such files out.
inline void LeaveJpegAtWarnings(j_common_ptr decoder, int level) {
  if (level < 0) LeaveJpeg(decoder);
}

// Returns the orientation (1..8) that stands in an EXIF block, 1 if there is none.
inline int ExifOrientation(const uint8_t* block, size_t size) {
  if (size < 14 || std::memcmp(block, "Exif\0\0", 6) != 0) return 1;
  const uint8_t* tiff = block + 6;
  size -= 6;
  const bool little = tiff[0] == 'I';
  const auto number = [&](size_t place, size_t bytes) -> size_t {
    if (place > size || size - place < bytes) return 0;
    size_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | tiff[place + (little ? bytes - 1 - i : i)];
    return value;
  };
  const size_t directory = number(4, 4), entries = number(directory, 2);
  for (size_t i = 0; i < entries && directory + 2 + 12 * i < size; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (number(entry, 2) == 0x0112) {
      const size_t value = number(entry + 8, 2);
      return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
  }
  return 1;
}

inline Image Upright(const Image& image, int orientation) {
  if (orientation == 1) return image;
  const bool turned = orientation >= 5;
  Image result(turned ? image.height : image.width, turned ? image.width : image.height, image.channels);
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      int from_x = turned ? y : x, from_y = turned ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) from_x = image.width - 1 - from_x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) from_y = image.height - 1 - from_y;
      const uint8_t* from = image.row(from_y) + static_cast<size_t>(from_x) * image.channels;
      std::copy(from, from + image.channels, result.row(y) + static_cast<size_t>(x) * image.channels);
    }
  }
  return result;
}

// A decoder that is taken down whatever happens.
struct JpegDecoder {
  jpeg_decompress_struct state;
  JpegErrors errors;

  JpegDecoder() {
    state.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = LeaveJpeg;
    errors.manager.emit_message = LeaveJpegAtWarnings;
    errors.message[0] = '\0';
    jpeg_create_decompress(&state);
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&state); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
};

// Holds the jump, so it owns nothing: false if libjpeg gave up.
inline bool ReadJpegHead(JpegDecoder* decoder, const std::vector<uint8_t>& content) {
  if (setjmp(decoder->errors.back)) return false;
  jpeg_mem_src(&decoder->state, content.data(), static_cast<unsigned long>(content.size()));
  jpeg_save_markers(&decoder->state, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&decoder->state, TRUE);
  return true;
}

inline bool ReadJpegRows(JpegDecoder* decoder, Image* image) {
  if (setjmp(decoder->errors.back)) return false;
  jpeg_start_decompress(&decoder->state);
  while (decoder->state.output_scanline < decoder->state.output_height) {
    JSAMPROW row = image->row(static_cast<int>(decoder->state.output_scanline));
    jpeg_read_scanlines(&decoder->state, &row, 1);
  }
  jpeg_finish_decompress(&decoder->state);
  return true;
}

inline Image DecodeJpeg(const std::vector<uint8_t>& content) {
  JpegDecoder decoder;
  const auto damaged = [&] { return std::runtime_error(std::string("the JPEG is damaged: ") + decoder.errors.message); };
  if (!ReadJpegHead(&decoder, content)) throw damaged();
  int orientation = 1;
  for (jpeg_saved_marker_ptr marker = decoder.state.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker == JPEG_APP0 + 1 && orientation == 1) orientation = ExifOrientation(marker->data, marker->data_length);
  }
  if (decoder.state.jpeg_color_space == JCS_CMYK || decoder.state.jpeg_color_space == JCS_YCCK) {
    throw std::runtime_error("a JPEG of printing colours (CMYK) is not read");
  }
  decoder.state.out_color_space = JCS_RGB;
  Image image(static_cast<int>(decoder.state.image_width), static_cast<int>(decoder.state.image_height), 3);
  if (!ReadJpegRows(&decoder, &image)) throw damaged();
  return Upright(image, orientation);
}

}  // namespace bitat

#endif  // BITAT_JPEG_PICTURE_H_
