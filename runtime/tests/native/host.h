// A host for the delegate in the place of TFLite: it owns the tensors and nodes of one graph and hands them to a delegate. So the
// library can be tested where every part of the process is built with a sanitizer, and with graphs that no file could hold.
//
// All nodes of a graph become one partition; tensors get memory of their own as soon as their shape is known.
#ifndef BITAT_TESTS_HOST_H_
#define BITAT_TESTS_HOST_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "abi/tflite.h"
#include "bitat_delegate.h"

namespace bitat_test {

// Integers as flexbuffers: the custom options of an operator.
std::vector<std::uint8_t> flexbuffer_map(const std::map<std::string, std::int32_t>& values);

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

}  // namespace bitat_test

#endif  // BITAT_TESTS_HOST_H_
