// The functions that TFLite calls for a partition.
#include <exception>
#include <memory>

#include "delegate/partition_kernel.h"
#include "delegate/state.h"

namespace bitat {
namespace {

// TFLite takes no error from init: it is kept until prepare.
struct Node {
  std::shared_ptr<DelegateState> state;
  std::unique_ptr<PartitionKernel> kernel;
  std::string error;
};

void* init(TfLiteContext* context, const char* buffer, std::size_t) {
  const auto& params = *reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  auto* node = new Node;
  node->state = static_cast<Delegate*>(params.delegate->data_)->state;
  try {
    node->kernel = std::make_unique<PartitionKernel>(context, params, node->state);
  } catch (const std::exception& error) {
    node->error = error.what();
  }
  return node;
}

void release(TfLiteContext*, void* buffer) { delete static_cast<Node*>(buffer); }

template <void (PartitionKernel::*kMethod)(TfLiteContext*)>
TfLiteStatus call(TfLiteContext* context, TfLiteNode* tflite_node) {
  Node& node = *static_cast<Node*>(tflite_node->user_data);
  std::string message = node.error;
  if (node.kernel != nullptr) {
    try {
      ((*node.kernel).*kMethod)(context);
      return kTfLiteOk;
    } catch (const std::exception& error) {
      message = error.what();
    }
  }
  node.state->report(context, message);
  return kTfLiteError;
}

}  // namespace

TfLiteRegistration partition_registration() {
  TfLiteRegistration result{};
  result.init = init;
  result.free = release;
  result.prepare = call<&PartitionKernel::prepare>;
  result.invoke = call<&PartitionKernel::run>;
  result.custom_name = "BitatDelegate";
  result.version = 1;
  return result;
}

}  // namespace bitat
