// In the place of libtensorflowlite_c: an interpreter whose output is the first values of its input, for a model that is a line
// of text (see write_model of the tests). It writes its input and the number of threads to the file STAND_IN_DUMP.
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tflite_c.h"

struct TfLiteModel {
  std::string content;
};
struct TfLiteInterpreterOptions {
  int threads = 0;
  TfLiteDelegate* delegate = nullptr;
  void (*report)(void*, const char*, va_list) = nullptr;
  void* messages = nullptr;
};
struct TfLiteTensor {
  int type;
  std::vector<int> shape;
  TfLiteQuantizationParams quantization;
  std::vector<char> bytes;
};
struct TfLiteInterpreter {
  TfLiteInterpreterOptions options;
  bool refused, allocated = false;
  TfLiteTensor input, output;
};

namespace {

void Report(const TfLiteInterpreterOptions& options, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (options.report != nullptr) options.report(options.messages, format, arguments);
  va_end(arguments);
}

void Resize(TfLiteTensor* tensor) {
  size_t size = tensor->type == 1 ? 4 : 1;
  for (const int extent : tensor->shape) size *= static_cast<size_t>(extent);
  tensor->bytes.resize(size);
}

}  // namespace

extern "C" {

const char* TfLiteVersion(void) { return "0.0.0"; }

TfLiteModel* TfLiteModelCreateFromFile(const char* path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word) || word != "STANDIN") return nullptr;
  std::string rest;
  std::getline(file, rest);
  return new TfLiteModel{rest};
}
void TfLiteModelDelete(TfLiteModel* model) { delete model; }

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

TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel* model, const TfLiteInterpreterOptions* options) {
  TfLiteInterpreter* interpreter = new TfLiteInterpreter{*options, false, false, {}, {}};
  TfLiteTensor &input = interpreter->input, &output = interpreter->output;
  int height, width, channels, classes;
  std::sscanf(model->content.c_str(), "%d %f %d %d %d %d %d %f %d %d", &input.type, &input.quantization.scale,
              &input.quantization.zero_point, &height, &width, &channels, &output.type, &output.quantization.scale,
              &output.quantization.zero_point, &classes);
  input.shape = {1, height, width, channels};
  output.shape = {1, classes};
  if (options->delegate == nullptr || height == 0) {
    Report(*options, "%s is no height, says line %d", "0", 7);
    delete interpreter;
    return nullptr;
  }
  return interpreter;
}
void TfLiteInterpreterDelete(TfLiteInterpreter* interpreter) { delete interpreter; }
TfLiteStatus TfLiteInterpreterAllocateTensors(TfLiteInterpreter* interpreter) {
  Resize(&interpreter->input);
  Resize(&interpreter->output);
  interpreter->allocated = true;
  return kTfLiteOk;
}
TfLiteStatus TfLiteInterpreterInvoke(TfLiteInterpreter* interpreter) {
  if (!interpreter->allocated) return kTfLiteError;
  const std::vector<char>& given = interpreter->input.bytes;
  std::memcpy(interpreter->output.bytes.data(), given.data(), interpreter->output.bytes.size());
  if (const char* path = std::getenv("STAND_IN_DUMP")) {
    std::ofstream file(path, std::ios::binary);
    file << interpreter->options.threads << '\n';
    file.write(given.data(), static_cast<std::streamsize>(given.size()));
  }
  return kTfLiteOk;
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
