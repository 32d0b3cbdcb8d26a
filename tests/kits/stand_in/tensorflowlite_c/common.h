// What both stand-ins for libtensorflowlite_c have in common: options, tensors, and the functions that look at them.
#ifndef BITAT_STAND_IN_COMMON_H_
#define BITAT_STAND_IN_COMMON_H_

#include <cstdarg>
#include <string>
#include <vector>

#include "tflite_c.h"

struct TfLiteInterpreterOptions {
  int threads = 1;
  TfLiteDelegate* delegate = nullptr;
  void (*report)(void*, const char*, va_list) = nullptr;
  void* messages = nullptr;
};
struct TfLiteTensor {
  int type = 0;
  std::vector<int> shape;
  TfLiteQuantizationParams quantization = {0.0f, 0};
  std::vector<char> bytes;

  // Makes room for its values.
  void Allocate() {
    size_t size = type == 1 ? 4 : 1;
    for (const int extent : shape) size *= static_cast<size_t>(extent);
    bytes.resize(size);
  }
};
struct TfLiteInterpreter {
  TfLiteInterpreterOptions options;
  void* own = nullptr;  // of a stand-in
  TfLiteTensor input, output;
};

inline void Report(const TfLiteInterpreterOptions& options, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (options.report != nullptr) options.report(options.messages, format, arguments);
  va_end(arguments);
}

extern "C" {

TfLiteInterpreterOptions* TfLiteInterpreterOptionsCreate(void) { return new TfLiteInterpreterOptions; }
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions* options) { delete options; }
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions* options, int32_t threads) { options->threads = threads; }
void TfLiteInterpreterOptionsAddDelegate(TfLiteInterpreterOptions* options, TfLiteDelegate* delegate) {
  options->delegate = delegate;
}
void TfLiteInterpreterOptionsSetErrorReporter(TfLiteInterpreterOptions* options,
                                              void (*report)(void*, const char*, va_list), void* messages) {
  options->report = report;
  options->messages = messages;
}
int32_t TfLiteInterpreterGetInputTensorCount(const TfLiteInterpreter*) { return 1; }
int32_t TfLiteInterpreterGetOutputTensorCount(const TfLiteInterpreter*) { return 1; }
TfLiteTensor* TfLiteInterpreterGetInputTensor(const TfLiteInterpreter* interpreter, int32_t) {
  return const_cast<TfLiteTensor*>(&interpreter->input);
}
const TfLiteTensor* TfLiteInterpreterGetOutputTensor(const TfLiteInterpreter* interpreter, int32_t) {
  return &interpreter->output;
}
TfLiteType TfLiteTensorType(const TfLiteTensor* tensor) { return tensor->type; }
int32_t TfLiteTensorNumDims(const TfLiteTensor* tensor) { return static_cast<int32_t>(tensor->shape.size()); }
int32_t TfLiteTensorDim(const TfLiteTensor* tensor, int32_t index) { return tensor->shape[static_cast<size_t>(index)]; }
void* TfLiteTensorData(const TfLiteTensor* tensor) { return const_cast<char*>(tensor->bytes.data()); }
TfLiteQuantizationParams TfLiteTensorQuantizationParams(const TfLiteTensor* tensor) { return tensor->quantization; }

}  // extern "C"

#endif  // BITAT_STAND_IN_COMMON_H_
