// Vectors of 512 bits for epilogue.h; needs AVX-512 F, BW, VL and DQ.
#ifndef BITAT_KERNELS_VECTOR512_H_
#define BITAT_KERNELS_VECTOR512_H_

#include <immintrin.h>

#include <cstdint>

namespace bitat {
namespace {

struct Vector512 {
  static constexpr int width = 16;
  using Floats = __m512;
  using Ints = __m512i;

  static __mmask16 first(int lanes) { return static_cast<__mmask16>((1u << lanes) - 1); }
  static __m512 load(const float* from) { return _mm512_loadu_ps(from); }
  static __m512 load_some(const float* from, int lanes) { return _mm512_maskz_loadu_ps(first(lanes), from); }
  static void store(float* to, __m512 value) { _mm512_storeu_ps(to, value); }
  static void store_some(float* to, __m512 value, int lanes) { _mm512_mask_storeu_ps(to, first(lanes), value); }
  static __m512i load_ints(const std::int32_t* from) { return _mm512_loadu_si512(from); }
  static __m512 splat(float value) { return _mm512_set1_ps(value); }
  static __m512i splat(std::int32_t value) { return _mm512_set1_epi32(value); }
  static __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static __m512i add(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
  static __m512 mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
  static __m512i min(__m512i a, __m512i b) { return _mm512_min_epi32(a, b); }
  static __m512i max(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
  static __m512 to_floats(__m512i a) { return _mm512_cvtepi32_ps(a); }
  static __m512 prelu(__m512 a, __m512 slope) {
    return _mm512_mask_mul_ps(a, _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ), a, slope);
  }
  static std::uint32_t below_zero(__m512 a) { return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ); }
  static std::uint32_t above(__m512i a, __m512i b) { return _mm512_cmpgt_epi32_mask(a, b); }
  static void store_int8(std::int8_t* to, __m512 any, int lanes) {
    const __m512 value = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(any, any, _CMP_ORD_Q), any);  // 0 for what is no number
    // Rounds ties away from zero: what is cut off, plus one in the value's direction where at least half was cut off.
    const __m512 cut = _mm512_roundscale_ps(value, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_abs_ps(_mm512_sub_ps(value, cut));
    const __m512 one = _mm512_or_ps(_mm512_set1_ps(1.0f), _mm512_and_ps(value, _mm512_set1_ps(-0.0f)));
    __m512 rounded = _mm512_mask_add_ps(cut, _mm512_cmp_ps_mask(rest, _mm512_set1_ps(0.5f), _CMP_GE_OQ), cut, one);
    rounded = _mm512_min_ps(_mm512_max_ps(rounded, _mm512_set1_ps(-128.0f)), _mm512_set1_ps(127.0f));
    _mm_mask_storeu_epi8(to, first(lanes), _mm512_cvtsepi32_epi8(_mm512_cvttps_epi32(rounded)));
  }
};

}  // namespace
}  // namespace bitat

#endif  // BITAT_KERNELS_VECTOR512_H_
