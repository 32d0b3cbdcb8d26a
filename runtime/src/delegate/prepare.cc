// Which nodes of a graph the delegate takes.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "delegate/partition_kernel.h"
#include "delegate/state.h"

namespace bitat {
namespace {

struct FreeArray {
  void operator()(TfLiteIntArray* array) const { std::free(array); }
};
using IntArray = std::unique_ptr<TfLiteIntArray, FreeArray>;

IntArray to_array(const std::vector<int>& values) {
  IntArray result(static_cast<TfLiteIntArray*>(std::malloc(sizeof(TfLiteIntArray) + values.size() * sizeof(int))));
  require(result != nullptr, "there is no memory left");
  result->size = static_cast<int>(values.size());
  std::copy(values.begin(), values.end(), result->data);
  return result;
}

bool is_of_larq(const Operator& op) { return op.name.rfind("Lce", 0) == 0; }

// Leaves out the float operators that no step would run together with others, until none is left: what is taken decides how TFLite
// divides the graph, and how it is divided decides what can run together.
std::vector<int> without_useless(TfLiteContext* context, DelegateState& state, const std::set<int>& binary,
                                 std::vector<int> nodes) {
  for (;;) {
    TfLiteDelegateParams* partitions = nullptr;
    int count = 0;
    const IntArray array = to_array(nodes);
    if (context->PreviewDelegatePartitioning == nullptr ||
        context->PreviewDelegatePartitioning(context, array.get(), &partitions, &count) != kTfLiteOk) {
      return std::vector<int>(binary.begin(), binary.end());
    }
    std::set<int> useful(binary);
    for (int i = 0; i < count; ++i) {
      const Partition partition = read_partition(context, partitions[i]);
      const std::vector<PlannedStep> steps = plan_steps(*context, partition, state.fusion);
      for (const PlannedStep& step : steps) {
        if (is_support(step)) {
          const bool read = std::any_of(steps.begin(), steps.end(), [&](const PlannedStep& other) {
            const std::vector<int> reads = other.reads(partition);
            return std::count(reads.begin(), reads.end(), step.output) != 0;
          });
          if (!read) continue;
        }
        for (int index : step.operators) useful.insert(partition.operators[index].node);
      }
    }
    const std::size_t before = nodes.size();
    nodes.erase(std::remove_if(nodes.begin(), nodes.end(), [&](int node) { return useful.count(node) == 0; }), nodes.end());
    if (nodes.size() == before) return nodes;
  }
}

// Holds that every node writes tensors that may be written, alone, and before they are read: TFLite's partitioner and the plan of
// memory rely on it. What nodes that are not taken do among themselves is TFLite's affair.
void check_order(const TfLiteContext& context, const std::vector<Operator>& operators, const std::set<int>& taken) {
  std::map<int, const Operator*> writers, written;
  for (const Operator& op : operators) {
    for (int tensor : op.outputs) writers.emplace(tensor, &op);
  }
  for (const Operator& op : operators) {
    for (int tensor : op.inputs) {
      const auto writer = writers.find(tensor);
      require(tensor < 0 || writer == writers.end() || written.count(tensor) != 0 || context.tensors[tensor].is_variable,
              op.label(), ": it reads tensor ", tensor, " before ", writer == writers.end() ? "" : writer->second->label(),
              " writes it");
    }
    for (int tensor : op.outputs) {
      if (tensor < 0) continue;
      const auto [before, is_first] = written.emplace(tensor, &op);
      require(is_first || (taken.count(op.node) == 0 && taken.count(before->second->node) == 0), op.label(),
              ": it writes tensor ", tensor, ", which ", before->second->label(), " writes as well");
    }
  }
}

void take_nodes(TfLiteContext* context, TfLiteDelegate* delegate, DelegateState& state) {
  TfLiteIntArray* plan = nullptr;
  require(context->GetExecutionPlan(context, &plan) == kTfLiteOk && plan != nullptr, "the graph cannot be read");
  const std::vector<int> order(plan->data, plan->data + plan->size);
  std::vector<Operator> operators;
  std::vector<int> nodes;
  std::set<int> binary;
  for (int node : order) {
    operators.push_back(read_operator(context, node));
    const Operator& op = operators.back();
    if (is_of_larq(op)) {
      check_operator(*context, op);
      binary.insert(node);
      nodes.push_back(node);
    } else if (may_be_fused(*context, op, state.fusion)) {
      nodes.push_back(node);
    }
  }
  if (binary.empty()) return;
  check_order(*context, operators, {nodes.begin(), nodes.end()});
  if (nodes.size() > binary.size()) nodes = without_useless(context, state, binary, nodes);
  const IntArray array = to_array(nodes);
  require(context->ReplaceNodeSubsetsWithDelegateKernels(context, partition_registration(), array.get(), delegate) == kTfLiteOk,
          "TFLite did not take the delegate");
}

}  // namespace

TfLiteStatus prepare_delegate(TfLiteContext* context, TfLiteDelegate* delegate) {
  DelegateState& state = *static_cast<Delegate*>(delegate->data_)->state;
  try {
    take_nodes(context, delegate, state);
    return kTfLiteOk;
  } catch (const std::exception& error) {
    state.report(context, error.what());
    return kTfLiteError;
  }
}

}  // namespace bitat
