// PNG through libpng, on white where it is transparent, as training had it.
#ifndef BITAT_PNG_PICTURE_H_
#define BITAT_PNG_PICTURE_H_

#include <csetjmp>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <png.h>

#include "preprocess.h"

namespace bitat {

struct PngSource {
  const std::vector<uint8_t>& content;
  size_t place;
};

inline void ReadPng(png_structp decoder, png_bytep to, png_size_t size) {
  PngSource* source = static_cast<PngSource*>(png_get_io_ptr(decoder));
  if (source->content.size() - source->place < size) png_error(decoder, "cut off");
  std::memcpy(to, source->content.data() + source->place, size);
  source->place += size;
}

inline void IgnorePngWarning(png_structp, png_const_charp) {}

// libpng's own handler would write to stderr before it jumps.
inline void LeavePng(png_structp decoder, png_const_charp) { png_longjmp(decoder, 1); }

// Returns one channel over white, rounded as Pillow's alpha_composite does.
inline uint8_t OverWhite(unsigned value, unsigned alpha) {
  const unsigned sum = value * alpha * 128u + 255u * (255u - alpha) * 128u + (0x80u << 7);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

// A decoder that is taken down whatever happens.
struct PngDecoder {
  png_structp state = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, LeavePng, IgnorePngWarning);
  png_infop info = state == nullptr ? nullptr : png_create_info_struct(state);
  bool deep_gray = false;

  PngDecoder() = default;
  ~PngDecoder() { png_destroy_read_struct(&state, &info, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
};

// Holds the jump, so it owns nothing: false if libpng gave up.
inline bool ReadPngHead(PngDecoder* decoder, PngSource* source) {
  if (setjmp(png_jmpbuf(decoder->state))) return false;
  png_set_read_fn(decoder->state, source, ReadPng);
  png_read_info(decoder->state, decoder->info);
  const int depth = png_get_bit_depth(decoder->state, decoder->info);
  decoder->deep_gray = depth == 16 && png_get_color_type(decoder->state, decoder->info) == PNG_COLOR_TYPE_GRAY;
  if (decoder->deep_gray) {
    png_set_scale_16(decoder->state);  // 16-bit gray is rounded to 8 bits, 16-bit colours are cut to them, as in training
  } else {
    png_set_strip_16(decoder->state);
  }
  png_set_expand(decoder->state);
  png_set_gray_to_rgb(decoder->state);
  png_set_add_alpha(decoder->state, 0xff, PNG_FILLER_AFTER);
  png_set_interlace_handling(decoder->state);
  png_read_update_info(decoder->state, decoder->info);
  return true;
}

inline bool ReadPngRows(PngDecoder* decoder, std::vector<png_bytep>* rows) {
  if (setjmp(png_jmpbuf(decoder->state))) return false;
  png_read_image(decoder->state, rows->data());
  png_read_end(decoder->state, nullptr);
  return true;
}

inline Image DecodePng(const std::vector<uint8_t>& content) {
  PngDecoder decoder;
  PngSource source{content, 0};
  if (decoder.info == nullptr) throw std::runtime_error("libpng cannot be started");
  if (!ReadPngHead(&decoder, &source)) throw std::runtime_error("the PNG is damaged");
  Image image(static_cast<int>(png_get_image_width(decoder.state, decoder.info)),
              static_cast<int>(png_get_image_height(decoder.state, decoder.info)), 3);
  const size_t line = png_get_rowbytes(decoder.state, decoder.info);
  if (line != 4 * static_cast<size_t>(image.width)) throw std::runtime_error("the PNG is of an unknown kind");
  std::vector<uint8_t> pixels(line * image.height);
  std::vector<png_bytep> rows(image.height);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = pixels.data() + y * line;
  if (!ReadPngRows(&decoder, &rows)) throw std::runtime_error("the PNG is damaged");
  for (size_t i = 0; i < pixels.size() / 4; ++i) {
    // Training passed over the one gray that a 16-bit PNG may declare transparent.
    const unsigned alpha = decoder.deep_gray ? 255u : pixels[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = OverWhite(pixels[4 * i + c], alpha);
  }
  return image;
}

}  // namespace bitat

#endif  // BITAT_PNG_PICTURE_H_
