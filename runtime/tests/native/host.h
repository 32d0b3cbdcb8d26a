// A host for the delegate in the place of TFLite: it owns the tensors and nodes of one graph and hands them to a delegate. So the
// library can be tested where every part of the process is built with a sanitizer, and with graphs that no file could hold.
//
// All nodes of a graph become one partition; tensors get memory of their own as soon as their shape is known.
#ifndef BITAT_TESTS_HOST_H_
#define BITAT_TESTS_HOST_H_

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "abi/tflite.h"
#include "bitat_delegate.h"

namespace bitat_test {

class Host {
 public:
  explicit Host(int threads);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Adds a tensor and returns its number. With data it is a constant, of the bytes that its shape needs.
  int tensor(TfLiteType type, const std::vector<int>& shape, const void* data = nullptr);
  // Makes a tensor one of a quantized type.
  void quantize(int tensor, float scale, std::int32_t zero_point);
  // Adds an operator of larq-compute-engine.
  void custom(const std::string& name, const std::vector<int>& inputs, int output,
              const std::map<std::string, std::int32_t>& options = {});
  // Adds an operator of TFLite. The options must outlive the host.
  void builtin(TfLiteBuiltinOperator code, const std::vector<int>& inputs, int output, void* options = nullptr);
  void output(int tensor) { outputs_.push_back(tensor); }

  // Gives the graph to a delegate, and lets its kernels prepare. Returns false, with a message, if something is refused.
  bool apply(TfLiteDelegate* delegate);
  bool prepare();
  bool run();

  // Changes the shape of an input; prepare() must follow.
  void resize(int tensor, const std::vector<int>& shape);

  TfLiteTensor& at(int tensor) { return tensors_[static_cast<std::size_t>(tensor)]; }
  template <typename T>
  T* data(int tensor) { return static_cast<T*>(at(tensor).data); }
  std::vector<std::uint8_t> bytes(int tensor) const;
  const std::string& message() const { return message_; }

 private:
  struct Node {
    TfLiteNode node{};
    TfLiteRegistration registration{};
    std::string name;
    std::vector<std::uint8_t> options;
  };

  static Host& of(TfLiteContext* context) { return *static_cast<Host*>(context->impl_); }
  static void report(TfLiteContext* context, const char* format, ...);
  void shape(TfLiteTensor& tensor, TfLiteIntArray* dims);
  Node& add_node(const std::vector<int>& inputs, int output);
  TfLiteDelegateParams partition(const TfLiteIntArray* nodes, TfLiteDelegate* delegate) const;
  void free_partitions();

  TfLiteContext context_{};
  std::vector<TfLiteTensor> tensors_;
  std::vector<std::vector<std::uint8_t>> memory_;  // of the tensors
  std::deque<TfLiteAffineQuantization> quantizations_;
  std::deque<Node> nodes_;  // the delegate keeps pointers
  std::vector<int> outputs_;
  TfLiteIntArray* plan_ = nullptr;
  std::vector<TfLiteDelegateParams> partitions_;
  std::vector<Node*> kernels_;  // what the delegate put in the place of the nodes
  std::deque<Node> kernel_nodes_;
  std::string message_;
};

inline TfLiteIntArray* int_array(const std::vector<int>& values) {
  auto* result = static_cast<TfLiteIntArray*>(std::malloc(sizeof(TfLiteIntArray) + values.size() * sizeof(int)));
  result->size = static_cast<int>(values.size());
  std::copy(values.begin(), values.end(), result->data);
  return result;
}

inline void append(std::vector<std::uint8_t>& bytes, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<std::uint8_t>(value >> shift));
}

// Integers as flexbuffers: the custom options of an operator.
inline std::vector<std::uint8_t> flexbuffer_map(const std::map<std::string, std::int32_t>& values) {
  if (values.empty()) return {};
  constexpr std::uint8_t kWidth = 4, kInteger = 1 << 2 | 2, kMap = 9 << 2 | 2;  // types with the logarithm of their width
  std::vector<std::uint8_t> bytes;
  std::vector<std::size_t> keys;
  for (const auto& [name, value] : values) {
    keys.push_back(bytes.size());
    bytes.insert(bytes.end(), name.c_str(), name.c_str() + name.size() + 1);
  }
  while (bytes.size() % kWidth != 0) bytes.push_back(0);
  append(bytes, static_cast<std::uint32_t>(values.size()));
  const std::size_t key_vector = bytes.size();
  for (std::size_t key : keys) append(bytes, static_cast<std::uint32_t>(bytes.size() - key));  // offsets point back
  append(bytes, static_cast<std::uint32_t>(bytes.size() - key_vector));
  append(bytes, kWidth);
  append(bytes, static_cast<std::uint32_t>(values.size()));
  const std::size_t map = bytes.size();
  for (const auto& [name, value] : values) append(bytes, static_cast<std::uint32_t>(value));
  bytes.insert(bytes.end(), values.size(), kInteger);
  while (bytes.size() % kWidth != 0) bytes.push_back(0);
  append(bytes, static_cast<std::uint32_t>(bytes.size() - map));
  bytes.push_back(kMap);
  bytes.push_back(kWidth);
  return bytes;
}

inline void Host::report(TfLiteContext* context, const char* format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  of(context).message_ = text;
}

inline Host::Host(int threads) {
  context_.impl_ = this;
  context_.recommended_num_threads = threads;
  context_.ReportError = report;
  context_.GetExecutionPlan = [](TfLiteContext* context, TfLiteIntArray** plan) {
    *plan = of(context).plan_;
    return kTfLiteOk;
  };
  context_.GetNodeAndRegistration = [](TfLiteContext* context, int index, TfLiteNode** node, TfLiteRegistration** registration) {
    auto& nodes = of(context).nodes_;
    if (index < 0 || index >= static_cast<int>(nodes.size())) return kTfLiteError;
    *node = &nodes[static_cast<std::size_t>(index)].node;
    *registration = &nodes[static_cast<std::size_t>(index)].registration;
    return kTfLiteOk;
  };
  context_.ResizeTensor = [](TfLiteContext* context, TfLiteTensor* tensor, TfLiteIntArray* dims) {
    of(context).shape(*tensor, dims);
    return kTfLiteOk;
  };
  context_.PreviewDelegatePartitioning = [](TfLiteContext* context, const TfLiteIntArray* nodes,
                                            TfLiteDelegateParams** partitions, int* count) {
    Host& host = of(context);
    host.free_partitions();
    if (nodes->size > 0) host.partitions_.push_back(host.partition(nodes, nullptr));
    *partitions = host.partitions_.data();
    *count = static_cast<int>(host.partitions_.size());
    return kTfLiteOk;
  };
  context_.ReplaceNodeSubsetsWithDelegateKernels = [](TfLiteContext* context, TfLiteRegistration registration,
                                                      const TfLiteIntArray* nodes, TfLiteDelegate* delegate) {
    Host& host = of(context);
    host.free_partitions();
    host.partitions_.push_back(host.partition(nodes, delegate));
    TfLiteDelegateParams& params = host.partitions_.back();
    Node& kernel = host.kernel_nodes_.emplace_back();
    kernel.registration = registration;
    kernel.node.inputs = params.input_tensors;
    kernel.node.outputs = params.output_tensors;
    kernel.node.delegate = delegate;
    kernel.node.user_data = registration.init(context, reinterpret_cast<const char*>(&params), sizeof(params));
    host.kernels_.push_back(&kernel);
    return kTfLiteOk;
  };
}

inline Host::~Host() {
  for (Node* kernel : kernels_) kernel->registration.free(&context_, kernel->node.user_data);
  free_partitions();
  for (Node& node : nodes_) {
    std::free(node.node.inputs);
    std::free(node.node.outputs);
  }
  for (TfLiteTensor& tensor : tensors_) std::free(tensor.dims);
  for (TfLiteAffineQuantization& quantization : quantizations_) {
    std::free(quantization.scale);
    std::free(quantization.zero_point);
  }
  std::free(plan_);
}

inline int Host::tensor(TfLiteType type, const std::vector<int>& shape_of_tensor, const void* data) {
  memory_.emplace_back();
  TfLiteTensor& tensor = tensors_.emplace_back();
  context_.tensors = tensors_.data();
  context_.tensors_size = tensors_.size();
  tensor.type = type;
  tensor.name = "";
  tensor.allocation_type = data == nullptr ? kTfLiteArenaRw : kTfLiteMmapRo;
  shape(tensor, int_array(shape_of_tensor));
  if (data != nullptr && tensor.bytes > 0) std::memcpy(tensor.data, data, tensor.bytes);
  return static_cast<int>(tensors_.size()) - 1;
}

inline void Host::quantize(int tensor, float scale, std::int32_t zero_point) {
  TfLiteAffineQuantization& quantization = quantizations_.emplace_back();
  quantization.scale = static_cast<TfLiteFloatArray*>(std::malloc(sizeof(TfLiteFloatArray) + sizeof(float)));
  quantization.scale->size = 1, quantization.scale->data[0] = scale;
  quantization.zero_point = int_array({zero_point});
  at(tensor).params = {scale, zero_point};
  at(tensor).quantization = {kTfLiteAffineQuantization, &quantization};
}

inline void Host::shape(TfLiteTensor& tensor, TfLiteIntArray* dims) {
  std::free(tensor.dims);
  tensor.dims = dims;
  std::size_t bytes = tensor.type == kTfLiteInt8 || tensor.type == kTfLiteBool ? 1 : 4;
  for (int i = 0; i < dims->size; ++i) bytes *= static_cast<std::size_t>(std::max(dims->data[i], 0));
  // Exactly as large as needed: what is read or written behind the end is seen by AddressSanitizer.
  std::vector<std::uint8_t> fresh(bytes);
  auto& memory = memory_[static_cast<std::size_t>(&tensor - tensors_.data())];
  memory.swap(fresh);
  tensor.data = memory.data();
  tensor.bytes = bytes;
}

inline void Host::resize(int tensor, const std::vector<int>& new_shape) { shape(at(tensor), int_array(new_shape)); }

inline Host::Node& Host::add_node(const std::vector<int>& inputs, int output) {
  Node& node = nodes_.emplace_back();
  node.node.inputs = int_array(inputs);
  node.node.outputs = int_array({output});
  return node;
}

inline void Host::custom(const std::string& name, const std::vector<int>& inputs, int output,
                  const std::map<std::string, std::int32_t>& options) {
  Node& node = add_node(inputs, output);
  node.name = name;
  node.options = flexbuffer_map(options);
  node.registration.builtin_code = kTfLiteBuiltinCustom;
  node.registration.custom_name = node.name.c_str();
  node.node.custom_initial_data = node.options.data();
  node.node.custom_initial_data_size = static_cast<int>(node.options.size());
}

inline void Host::builtin(TfLiteBuiltinOperator code, const std::vector<int>& inputs, int output, void* options) {
  Node& node = add_node(inputs, output);
  node.registration.builtin_code = code;
  node.node.builtin_data = options;
}

inline TfLiteDelegateParams Host::partition(const TfLiteIntArray* nodes, TfLiteDelegate* delegate) const {
  std::set<int> read, written;
  for (int i = 0; i < nodes->size; ++i) {
    const TfLiteNode& node = nodes_[static_cast<std::size_t>(nodes->data[i])].node;
    for (int j = 0; j < node.inputs->size; ++j) {
      if (node.inputs->data[j] >= 0) read.insert(node.inputs->data[j]);
    }
    for (int j = 0; j < node.outputs->size; ++j) written.insert(node.outputs->data[j]);
  }
  std::vector<int> inputs;
  std::set_difference(read.begin(), read.end(), written.begin(), written.end(), std::back_inserter(inputs));
  return {delegate, int_array({nodes->data, nodes->data + nodes->size}), int_array(inputs), int_array(outputs_)};
}

inline void Host::free_partitions() {
  for (TfLiteDelegateParams& params : partitions_) {
    std::free(params.nodes_to_replace);
    std::free(params.input_tensors);
    std::free(params.output_tensors);
  }
  partitions_.clear();
}

inline bool Host::apply(TfLiteDelegate* delegate) {
  std::vector<int> order(nodes_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::free(plan_);
  plan_ = int_array(order);
  return delegate->Prepare(&context_, delegate) == kTfLiteOk && prepare();
}

inline bool Host::prepare() {
  for (Node* kernel : kernels_) {
    if (kernel->registration.prepare(&context_, &kernel->node) != kTfLiteOk) return false;
  }
  return true;
}

inline bool Host::run() {
  for (Node* kernel : kernels_) {
    if (kernel->registration.invoke(&context_, &kernel->node) != kTfLiteOk) return false;
  }
  return true;
}

inline std::vector<std::uint8_t> Host::bytes(int tensor) const {
  const TfLiteTensor& one = tensors_[static_cast<std::size_t>(tensor)];
  const auto* data = static_cast<const std::uint8_t*>(one.data);
  return {data, data + one.bytes};
}

}  // namespace bitat_test

#endif  // BITAT_TESTS_HOST_H_
