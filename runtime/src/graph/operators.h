// Operators of a TFLite graph as this library sees them, and the checks of those that it runs.
#ifndef BITAT_GRAPH_OPERATORS_H_
#define BITAT_GRAPH_OPERATORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "abi/tflite.h"
#include "core/geometry.h"

namespace bitat {

enum class Kind { kQuantize, kDequantize, kBconv, kMaxPool, kAdd, kPrelu, kConcatenation, kAveragePool, kOther };

struct Operator {
  int node = 0;  // its index in TFLite
  Kind kind = Kind::kOther;
  std::string name;
  std::vector<int> inputs;  // tensors; -1 where an optional one is not there
  std::vector<int> outputs;
  const void* custom_options = nullptr;
  std::size_t custom_options_size = 0;
  const void* builtin_options = nullptr;

  bool is_binary() const {
    return kind == Kind::kQuantize || kind == Kind::kDequantize || kind == Kind::kBconv || kind == Kind::kMaxPool;
  }
  std::string label() const { return (name.empty() ? "an operator" : name) + " (node " + std::to_string(node) + ")"; }
};

// Returns a node. Throws Error if it names tensors that do not exist.
Operator read_operator(TfLiteContext* context, int node);

// The shape of a tensor.
Shape shape_of(const TfLiteTensor& tensor);

// Whether a tensor's values are in the file, and there are as many as its shape says.
bool is_constant(const TfLiteTensor& tensor);

// Whether the outputs of an operator are tensors that can be written: none that holds values of the file.
bool has_writable_outputs(const TfLiteContext& context, const Operator& op);

struct BconvOptions {
  std::int32_t channels_in = 0;
  std::int32_t channels_out = 0;
  std::int32_t kernel_height = 0, kernel_width = 0;
  std::int32_t stride_height = 1, stride_width = 1;
  std::int32_t dilation_height = 1, dilation_width = 1;
  Padding padding = Padding::kValid;
  bool zero_padding = false;
  std::int32_t groups = 1;
  std::int32_t group_words = 0;  // words of a pixel that an output channel sees
  std::int32_t activation_min = 0, activation_max = 0;
};

struct PoolOptions {
  std::int32_t kernel_height = 0, kernel_width = 0;
  std::int32_t stride_height = 1, stride_width = 1;
  Padding padding = Padding::kValid;
};

// Check an operator against its tensors and return its options. Throw Error with the reason if it cannot be run.
BconvOptions check_bconv(const TfLiteContext& context, const Operator& op);
PoolOptions check_max_pool(const TfLiteContext& context, const Operator& op);
void check_quantize(const TfLiteContext& context, const Operator& op);
void check_dequantize(const TfLiteContext& context, const Operator& op);

// Checks one of larq-compute-engine's operators. Throws Error with its label and the reason.
void check_operator(const TfLiteContext& context, const Operator& op);

}  // namespace bitat

#endif  // BITAT_GRAPH_OPERATORS_H_
