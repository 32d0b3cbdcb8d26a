// A delegate that takes nothing and tells what it sees: a line for each tensor and node, through the error function that it was
// created with. test_abi.py compares that with what the interpreter and the file say, so that every offset in abi/tflite.h that the
// library uses is held against the interpreter that runs.
#include <cstdio>
#include <string>

#include "abi/tflite.h"

namespace {

void (*report)(const char*) = nullptr;

std::string join(const TfLiteIntArray* values) {
  std::string result;
  for (int i = 0; values != nullptr && i < values->size; ++i) result += (i == 0 ? "" : ",") + std::to_string(values->data[i]);
  return result;
}

TfLiteStatus prepare(TfLiteContext* context, TfLiteDelegate*) {
  char line[4096];
  std::snprintf(line, sizeof(line), "context|%zu|%d|%d", context->tensors_size, context->recommended_num_threads,
                context->PreviewDelegatePartitioning != nullptr && context->ResizeTensor != nullptr);
  report(line);
  for (std::size_t i = 0; i < context->tensors_size; ++i) {
    const TfLiteTensor& tensor = context->tensors[i];
    const bool affine = tensor.quantization.type == kTfLiteAffineQuantization && tensor.quantization.params != nullptr;
    const auto* quantization = affine ? static_cast<const TfLiteAffineQuantization*>(tensor.quantization.params) : nullptr;
    const bool has_scale = affine && quantization->scale != nullptr && quantization->scale->size > 0;
    std::snprintf(line, sizeof(line), "tensor|%zu|%s|%d|%s|%zu|%d|%.9g|%d|%.9g|%d|%d", i,
                  tensor.name == nullptr ? "" : tensor.name, tensor.type, join(tensor.dims).c_str(), tensor.bytes,
                  tensor.allocation_type, static_cast<double>(tensor.params.scale), tensor.params.zero_point,
                  has_scale ? static_cast<double>(quantization->scale->data[0]) : 0.0, tensor.data != nullptr,
                  tensor.is_variable);
    report(line);
  }
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  for (int i = 0; i < plan->size; ++i) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != kTfLiteOk) return kTfLiteError;
    int activation = -1;
    if (registration->builtin_code == kTfLiteBuiltinAdd) {
      activation = static_cast<const TfLiteAddParams*>(node->builtin_data)->activation;
    } else if (registration->builtin_code == kTfLiteBuiltinConcatenation) {
      activation = static_cast<const TfLiteConcatenationParams*>(node->builtin_data)->axis;
    } else if (registration->builtin_code == kTfLiteBuiltinAveragePool2d) {
      const auto* pool = static_cast<const TfLitePoolParams*>(node->builtin_data);
      activation = pool->stride_width * 1000 + pool->stride_height * 100 + pool->filter_width * 10 + pool->filter_height;
    }
    std::snprintf(line, sizeof(line), "node|%d|%s|%d|%s|%s|%d|%d", plan->data[i],
                  registration->custom_name == nullptr ? "" : registration->custom_name, registration->builtin_code,
                  join(node->inputs).c_str(), join(node->outputs).c_str(), node->custom_initial_data_size, activation);
    report(line);
  }
  return kTfLiteOk;
}

TfLiteDelegate delegate{};

}  // namespace

extern "C" __attribute__((visibility("default"))) TfLiteDelegate* tflite_plugin_create_delegate(
    char**, char**, std::size_t, void (*report_error)(const char*)) {
  report = report_error;
  delegate.Prepare = prepare;
  delegate.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return &delegate;
}

extern "C" __attribute__((visibility("default"))) void tflite_plugin_destroy_delegate(TfLiteDelegate*) {}
