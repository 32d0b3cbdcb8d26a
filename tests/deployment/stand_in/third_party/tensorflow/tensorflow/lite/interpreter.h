// In the place of TensorFlow Lite's header of this name: an interpreter whose output is the first values of its input. It
// writes its input, the kernel, the threads and whether XNNPACK is on to the file STAND_IN_DUMP.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model.h"

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt32 = 2, kTfLiteUInt8 = 3, kTfLiteInt8 = 9 };
struct TfLiteIntArray {
  int size;
  int data[4];
};
struct TfLiteQuantizationParams {
  float scale;
  int32_t zero_point;
};
union TfLitePtrUnion {
  float* f;
  uint8_t* uint8;
  int8_t* int8;
  char* raw;
};
struct TfLiteTensor {
  TfLiteType type;
  TfLitePtrUnion data;
  TfLiteIntArray* dims;
  TfLiteQuantizationParams params;
  size_t bytes;
};

namespace tflite {
class InterpreterOptions;
namespace impl {

class Interpreter {
 public:
  TfLiteStatus AllocateTensors() {
    if (operators.kernel.empty() || (model.grouped && operators.kernel != "indirect")) return kTfLiteError;
    Allocate(&input, &input_dims, &input_memory, model.input_type, {4, {1, model.height, model.width, model.channels}});
    Allocate(&output, &output_dims, &output_memory, model.output_type, {2, {1, model.classes, 0, 0}});
    input.params = {model.input_scale, model.input_zero};
    output.params = {model.output_scale, model.output_zero};
    return kTfLiteOk;
  }
  TfLiteStatus Invoke() {
    std::memcpy(output.data.raw, input.data.raw, output.bytes);
    if (const char* path = std::getenv("STAND_IN_DUMP")) {
      std::ofstream file(path, std::ios::binary);
      file << operators.kernel << ' ' << threads << ' ' << operators.xnnpack << '\n';
      file.write(input.data.raw, static_cast<std::streamsize>(input.bytes));
    }
    return kTfLiteOk;
  }
  const std::vector<int>& inputs() const { return ends; }
  const std::vector<int>& outputs() const { return ends; }
  TfLiteTensor* input_tensor(size_t) { return &input; }
  TfLiteTensor* output_tensor(size_t) { return &output; }

  FlatBufferModel model;
  OpResolver operators;
  int threads = 0;

 private:
  static void Allocate(TfLiteTensor* tensor, TfLiteIntArray* dims, std::vector<char>* memory, int type, TfLiteIntArray shape) {
    *dims = shape;
    tensor->dims = dims;
    tensor->type = static_cast<TfLiteType>(type);
    tensor->bytes = type == kTfLiteFloat32 ? 4 : 1;
    for (int i = 0; i < shape.size; ++i) tensor->bytes *= static_cast<size_t>(shape.data[i]);
    memory->resize(tensor->bytes);
    tensor->data.raw = memory->data();
  }
  std::vector<int> ends = {0};
  std::vector<char> input_memory, output_memory;
  TfLiteIntArray input_dims, output_dims;
  TfLiteTensor input, output;
};

class InterpreterBuilder {
 public:
  InterpreterBuilder(const FlatBufferModel& model, const OpResolver& operators, const InterpreterOptions* = nullptr)
      : model_(model), operators_(operators) {}
  TfLiteStatus operator()(std::unique_ptr<Interpreter>* interpreter, int num_threads) {
    interpreter->reset(new Interpreter);
    (*interpreter)->model = model_;
    (*interpreter)->operators = operators_;
    (*interpreter)->threads = num_threads;
    return kTfLiteOk;
  }

 private:
  const FlatBufferModel& model_;
  const OpResolver& operators_;
};

}  // namespace impl
using Interpreter = impl::Interpreter;
using InterpreterBuilder = impl::InterpreterBuilder;
}  // namespace tflite
