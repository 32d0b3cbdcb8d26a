#include "graph/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/flexbuffer.h"

namespace bitat {
namespace {

constexpr std::int64_t kMostBits = 1 << 28;  // that one output value sees: twice as many must fit into 32 bits
constexpr std::int64_t kSame = 0, kValid = 1;  // of the file format

const char* type_name(TfLiteType type) {
  switch (type) {
    case kTfLiteFloat32:
      return "float32";
    case kTfLiteInt32:
      return "int32";
    case kTfLiteInt8:
      return "int8";
    case kTfLiteBool:
      return "bool";
  }
  return "another type";
}

std::size_t type_bytes(TfLiteType type) {
  return type == kTfLiteFloat32 || type == kTfLiteInt32 ? 4 : type == kTfLiteInt8 || type == kTfLiteBool ? 1 : 0;
}

const TfLiteTensor& tensor(const TfLiteContext& context, int index) { return context.tensors[index]; }

void check_count(const char* what, const std::vector<int>& tensors, std::size_t expected, std::size_t needed) {
  require(tensors.size() == expected, "it has ", tensors.size(), " ", what, ", expected ", expected);
  for (std::size_t i = 0; i < needed; ++i) require(tensors[i] >= 0, what, " ", i, " is missing");
}

void check_type(const char* what, const TfLiteTensor& tensor, TfLiteType expected) {
  require(tensor.type == expected, "its ", what, " is ", type_name(tensor.type), ", expected ", type_name(expected));
}

void check_rank(const char* what, const TfLiteTensor& tensor, int expected) {
  require(tensor.dims != nullptr && tensor.dims->size == expected, "its ", what, " has the shape ",
          to_string(shape_of(tensor)), ", expected ", expected, " dimensions");
}

void check_scale(const char* what, const TfLiteTensor& tensor) {
  require(tensor.quantization.type == kTfLiteAffineQuantization && std::isfinite(tensor.params.scale) &&
              tensor.params.scale > 0,
          "its ", what, " is int8 without a scale");
}

class Options {
 public:
  explicit Options(const Operator& op) : values_(read_integer_map(op.custom_options, op.custom_options_size)) {}

  std::int32_t get(const char* name, std::int64_t least, std::int64_t most) const {
    const auto found = values_.find(name);
    require(found != values_.end(), "the option ", name, " is missing");
    require(found->second >= least && found->second <= most, "the option ", name, " must be ", least, " to ", most,
            ", not ", found->second);
    return static_cast<std::int32_t>(found->second);
  }

 private:
  std::map<std::string, std::int64_t> values_;
};

constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();

void check_vector(const TfLiteContext& context, const Operator& op, int input, const char* what, TfLiteType type,
                  std::int32_t channels) {
  require(op.inputs[input] >= 0, "its ", what, " is missing");
  const TfLiteTensor& values = tensor(context, op.inputs[input]);
  check_type(what, values, type);
  require(shape_of(values) == Shape{channels}, "its ", what, " has the shape ", to_string(shape_of(values)),
          ", expected one value for each of ", channels, " output channels");
  require(is_constant(values), "its ", what, " is not a constant of the file");
}

void set_activation(std::int32_t activation, BconvOptions& options) {
  const std::int32_t least = std::numeric_limits<std::int32_t>::min();
  switch (activation) {
    case kTfLiteActNone:
      options.activation_min = least, options.activation_max = kMost;
      return;
    case kTfLiteActRelu:
      options.activation_min = 0, options.activation_max = kMost;
      return;
    case kTfLiteActReluN1To1:
      options.activation_min = -1, options.activation_max = 1;
      return;
    case kTfLiteActRelu6:
      options.activation_min = 0, options.activation_max = 6;
      return;
  }
  throw Error(text("the fused activation must be none, RELU, RELU_N1_TO_1 or RELU6, not number ", activation));
}

}  // namespace

Operator read_operator(TfLiteContext* context, int node_index) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  require(context->GetNodeAndRegistration(context, node_index, &node, &registration) == kTfLiteOk && node != nullptr &&
              registration != nullptr,
          "node ", node_index, " cannot be read");
  Operator result;
  result.node = node_index;
  const auto take = [&](const TfLiteIntArray* tensors, std::vector<int>& to) {
    for (int i = 0; tensors != nullptr && i < tensors->size; ++i) {
      const int index = tensors->data[i];
      require(index < static_cast<std::int64_t>(context->tensors_size), "node ", node_index, " names tensor ", index,
              " of ", context->tensors_size);
      to.push_back(std::max(index, -1));
    }
  };
  take(node->inputs, result.inputs);
  take(node->outputs, result.outputs);
  result.custom_options = node->custom_initial_data;
  result.custom_options_size = node->custom_initial_data_size > 0 ? node->custom_initial_data_size : 0;
  result.builtin_options = node->builtin_data;
  if (registration->custom_name != nullptr) {
    static const std::map<std::string, Kind> kKinds = {{"LceQuantize", Kind::kQuantize},
                                                       {"LceDequantize", Kind::kDequantize},
                                                       {"LceBconv2d", Kind::kBconv},
                                                       {"LceBMaxPool2d", Kind::kMaxPool}};
    result.name = registration->custom_name;
    const auto found = kKinds.find(result.name);
    if (found != kKinds.end()) result.kind = found->second;
    return result;
  }
  static const std::map<std::int32_t, std::pair<Kind, const char*>> kBuiltins = {
      {kTfLiteBuiltinAdd, {Kind::kAdd, "ADD"}},
      {kTfLiteBuiltinPrelu, {Kind::kPrelu, "PRELU"}},
      {kTfLiteBuiltinConcatenation, {Kind::kConcatenation, "CONCATENATION"}},
      {kTfLiteBuiltinAveragePool2d, {Kind::kAveragePool, "AVERAGE_POOL_2D"}}};
  const auto found = kBuiltins.find(registration->builtin_code);
  if (found != kBuiltins.end()) result.kind = found->second.first, result.name = found->second.second;
  return result;
}

Shape shape_of(const TfLiteTensor& tensor) {
  if (tensor.dims == nullptr || tensor.dims->size <= 0) return {};
  return Shape(tensor.dims->data, tensor.dims->data + tensor.dims->size);
}

bool is_constant(const TfLiteTensor& tensor) {
  return tensor.allocation_type == kTfLiteMmapRo && tensor.data != nullptr && type_bytes(tensor.type) != 0 &&
         tensor.bytes == static_cast<std::size_t>(count(shape_of(tensor))) * type_bytes(tensor.type);
}

BconvOptions check_bconv(const TfLiteContext& context, const Operator& op) {
  check_count("inputs", op.inputs, 5, 2);
  check_count("outputs", op.outputs, 1, 1);
  const TfLiteTensor& input = tensor(context, op.inputs[0]);
  const TfLiteTensor& filter = tensor(context, op.inputs[1]);
  const TfLiteTensor& output = tensor(context, op.outputs[0]);
  check_type("input", input, kTfLiteInt32);
  check_rank("input", input, 4);
  check_type("filter", filter, kTfLiteInt32);
  check_rank("filter", filter, 4);
  require(is_constant(filter), "its filter is not a constant of the file with the values that its shape ",
          to_string(shape_of(filter)), " needs");
  const Options options(op);
  BconvOptions result;
  result.channels_in = options.get("channels_in", 1, kMostBits);
  result.stride_height = options.get("stride_height", 1, kMost);
  result.stride_width = options.get("stride_width", 1, kMost);
  result.dilation_height = options.get("dilation_height_factor", 1, kMost);
  result.dilation_width = options.get("dilation_width_factor", 1, kMost);
  result.padding = options.get("padding", kSame, kValid) == kSame ? Padding::kSame : Padding::kValid;
  result.zero_padding = options.get("pad_values", 0, 1) == 0 && result.padding == Padding::kSame;
  set_activation(options.get("fused_activation_function", 0, kMost), result);

  const Shape shape = shape_of(filter);
  for (std::int32_t size : shape) require(size > 0, "its filter has the shape ", to_string(shape));
  result.channels_out = shape[0], result.kernel_height = shape[1], result.kernel_width = shape[2];
  result.group_words = shape[3];
  const std::int32_t words = words_of(result.channels_in);
  require(words % result.group_words == 0, "its filter holds ", result.group_words, " words a pixel, that does not fit ",
          result.channels_in, " input channels in ", words, " words");
  result.groups = words / result.group_words;
  require(result.groups == 1 || (result.channels_in % result.groups == 0 &&
                                 result.channels_in / result.groups % kWordBits == 0 &&
                                 result.channels_out % result.groups == 0),
          "its ", result.channels_in, " input and ", result.channels_out, " output channels cannot be divided into ",
          result.groups, " groups of a multiple of 32 input channels");
  require(shape_of(input)[3] == words, "its input has ", shape_of(input)[3], " words a pixel, expected ", words, " for ",
          result.channels_in, " channels");
  require(std::int64_t{result.kernel_height} * result.kernel_width <= kMostBits / (std::int64_t{result.group_words} * 32),
          "its filter of shape ", to_string(shape), " is too large");
  // The sizes of the file; resized inputs are checked again when memory is planned.
  windows("height", shape_of(input)[1], result.kernel_height, result.stride_height, result.dilation_height, result.padding);
  windows("width", shape_of(input)[2], result.kernel_width, result.stride_width, result.dilation_width, result.padding);

  if (output.type == kTfLiteInt32) {
    check_vector(context, op, 4, "thresholds", kTfLiteInt32, result.channels_out);
  } else {
    require(output.type == kTfLiteFloat32 || output.type == kTfLiteInt8, "its output is ", type_name(output.type),
            ", expected float32, int8 or int32");
    check_vector(context, op, 2, "multiplier", kTfLiteFloat32, result.channels_out);
    check_vector(context, op, 3, "bias", kTfLiteFloat32, result.channels_out);
    if (output.type == kTfLiteInt8) check_scale("output", output);
  }
  return result;
}

PoolOptions check_max_pool(const TfLiteContext& context, const Operator& op) {
  check_count("inputs", op.inputs, 1, 1);
  check_count("outputs", op.outputs, 1, 1);
  const TfLiteTensor& input = tensor(context, op.inputs[0]);
  check_type("input", input, kTfLiteInt32);
  check_rank("input", input, 4);
  check_type("output", tensor(context, op.outputs[0]), kTfLiteInt32);
  const Options options(op);
  PoolOptions result;
  result.kernel_height = options.get("filter_height", 1, kMost);
  result.kernel_width = options.get("filter_width", 1, kMost);
  result.stride_height = options.get("stride_height", 1, kMost);
  result.stride_width = options.get("stride_width", 1, kMost);
  result.padding = options.get("padding", kSame, kValid) == kSame ? Padding::kSame : Padding::kValid;
  windows("height", shape_of(input)[1], result.kernel_height, result.stride_height, 1, result.padding);
  windows("width", shape_of(input)[2], result.kernel_width, result.stride_width, 1, result.padding);
  return result;
}

void check_quantize(const TfLiteContext& context, const Operator& op) {
  check_count("inputs", op.inputs, 1, 1);
  check_count("outputs", op.outputs, 1, 1);
  const TfLiteTensor& input = tensor(context, op.inputs[0]);
  require(input.type == kTfLiteFloat32 || input.type == kTfLiteInt8 || input.type == kTfLiteBool, "its input is ",
          type_name(input.type), ", expected float32, int8 or bool");
  require(!shape_of(input).empty(), "its input has no dimensions");
  check_type("output", tensor(context, op.outputs[0]), kTfLiteInt32);
}

void check_dequantize(const TfLiteContext& context, const Operator& op) {
  check_count("inputs", op.inputs, 1, 1);
  check_count("outputs", op.outputs, 1, 1);
  const TfLiteTensor& input = tensor(context, op.inputs[0]);
  const TfLiteTensor& output = tensor(context, op.outputs[0]);
  check_type("input", input, kTfLiteInt32);
  require(output.type == kTfLiteFloat32 || output.type == kTfLiteInt8 || output.type == kTfLiteBool, "its output is ",
          type_name(output.type), ", expected float32, int8 or bool");
  const Shape packed = shape_of(input), unpacked = shape_of(output);
  require(!packed.empty() && packed.size() == unpacked.size() && unpacked.back() > 0 &&
              packed.back() == words_of(unpacked.back()),
          "its input of shape ", to_string(packed), " does not hold the bits of its output of shape ", to_string(unpacked));
  if (output.type == kTfLiteInt8) check_scale("output", output);
}

void check_operator(const TfLiteContext& context, const Operator& op) {
  try {
    require(has_writable_outputs(context, op), "its output is a constant of the file");
    switch (op.kind) {
      case Kind::kQuantize:
        return check_quantize(context, op);
      case Kind::kDequantize:
        return check_dequantize(context, op);
      case Kind::kBconv:
        check_bconv(context, op);
        return;
      case Kind::kMaxPool:
        check_max_pool(context, op);
        return;
      default:
        throw Error("this operator of larq-compute-engine is not known; known are LceQuantize, LceDequantize, LceBconv2d and "
                    "LceBMaxPool2d");
    }
  } catch (const Error& error) {
    throw Error(op.label() + ": " + error.what());
  }
}

bool has_writable_outputs(const TfLiteContext& context, const Operator& op) {
  return std::all_of(op.outputs.begin(), op.outputs.end(), [&](int index) {
    if (index < 0) return true;
    const TfLiteAllocationType type = context.tensors[index].allocation_type;
    return type != kTfLiteMmapRo && type != kTfLitePersistentRo;
  });
}

}  // namespace bitat
