// In the place of larq-compute-engine's header of this name.
#pragma once
#include "tensorflow/lite/kernels/register.h"

namespace compute_engine {
namespace tflite {

inline void RegisterLCECustomOps(::tflite::MutableOpResolver* resolver, const bool use_reference_bconv = false,
                                 const bool use_indirect_bgemm = false) {
  resolver->kernel = use_reference_bconv ? "reference" : use_indirect_bgemm ? "indirect" : "default";
}

}  // namespace tflite
}  // namespace compute_engine
