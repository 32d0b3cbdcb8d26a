// Which fusions are wanted, and which operators they are about.
#include <algorithm>

#include "core/error.h"
#include "graph/fusion.h"

namespace bitat {

FusionOptions parse_fusion(const std::string& value) {
  if (value == "on") return {};
  FusionOptions result{false, false, false, false};
  if (value == "off") return result;
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find(',', begin), value.size());
    const std::string name = value.substr(begin, end - begin);
    begin = end + 1;
    if (name == "residual") {
      result.residual = true;
    } else if (name == "prelu") {
      result.prelu = true;
    } else if (name == "quantize") {
      result.quantize = true;
    } else if (name == "concat") {
      result.concatenation = true;
    } else {
      throw Error(text("the option fusion must be on, off or a list of residual, prelu, quantize and concat, not '", value, "'"));
    }
  }
  return result;
}

bool has_no_activation(const Operator& op) {
  switch (op.kind) {
    case Kind::kAdd:
      return op.builtin_options != nullptr &&
             static_cast<const TfLiteAddParams*>(op.builtin_options)->activation == kTfLiteActNone;
    case Kind::kConcatenation:
      return op.builtin_options != nullptr &&
             static_cast<const TfLiteConcatenationParams*>(op.builtin_options)->activation == kTfLiteActNone;
    case Kind::kAveragePool:
      return op.builtin_options != nullptr &&
             static_cast<const TfLitePoolParams*>(op.builtin_options)->activation == kTfLiteActNone;
    default:
      return true;
  }
}

bool may_be_fused(const TfLiteContext& context, const Operator& op, const FusionOptions& fusion) {
  for (const std::vector<int>* tensors : {&op.inputs, &op.outputs}) {
    for (int index : *tensors) {
      if (index < 0 || context.tensors[index].type != kTfLiteFloat32) return false;
    }
  }
  if (op.inputs.empty() || op.outputs.size() != 1 || !has_no_activation(op) || !has_writable_outputs(context, op)) return false;
  switch (op.kind) {
    case Kind::kAdd:
      return fusion.residual || fusion.quantize || fusion.prelu;
    case Kind::kPrelu:
      return fusion.prelu;
    case Kind::kConcatenation: {
      const int rank = static_cast<int>(shape_of(context.tensors[op.outputs[0]]).size());
      const int axis = static_cast<const TfLiteConcatenationParams*>(op.builtin_options)->axis;
      return (fusion.concatenation || fusion.residual) && rank == 4 && (axis == 3 || axis == -1);
    }
    case Kind::kAveragePool: {
      const auto* options = static_cast<const TfLitePoolParams*>(op.builtin_options);
      return fusion.residual && shape_of(context.tensors[op.inputs[0]]).size() == 4 &&
             (options->padding == kTfLitePaddingSame || options->padding == kTfLitePaddingValid) &&
             options->filter_height <= 2 && options->filter_width <= 2;  // larger sums are rounded in another order
    }
    default:
      return false;
  }
}

}  // namespace bitat
