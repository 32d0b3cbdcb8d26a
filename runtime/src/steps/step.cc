#include "steps/step.h"

#include <algorithm>

#include "core/error.h"

namespace bitat {

AlignedBuffer channel_values(const TfLiteTensor& tensor, int channels) {
  AlignedBuffer result(static_cast<std::size_t>(blocks_of(channels)) * kBlockChannels * sizeof(float));
  const auto* values = static_cast<const float*>(tensor.data);
  const bool single = count(shape_of(tensor)) == 1;
  for (int channel = 0; channel < channels; ++channel) result.as<float>()[channel] = values[single ? 0 : channel];
  return result;
}

std::unique_ptr<Step> make_step(const TfLiteContext& context, const Partition& partition, const PlannedStep& plan,
                                const Kernels& kernels) {
  const Operator& first = partition.operators[plan.operators.front()];
  std::string name, previous;
  int repeated = 0;
  const auto add = [&] {
    if (previous.empty()) return;
    name += (name.empty() ? "" : "+") + previous + (repeated > 1 ? " x" + std::to_string(repeated) : "");
  };
  std::vector<int> sorted = plan.operators;
  std::sort(sorted.begin(), sorted.end());
  for (int index : sorted) {
    const std::string& one = partition.operators[index].name;
    if (one == previous) {
      ++repeated;
      continue;
    }
    add();
    previous = one, repeated = 1;
  }
  add();
  try {
    switch (plan.kind) {
      case Kind::kBconv:
        return make_bconv_step(name, context, partition, plan, kernels);
      case Kind::kQuantize:
        return make_quantize_step(name, context, plan);
      case Kind::kDequantize:
        check_dequantize(context, first);
        return make_dequantize_step(name, context, plan);
      case Kind::kMaxPool:
        return make_max_pool_step(name, plan, check_max_pool(context, first));
      case Kind::kConcatenation:
        return make_concatenation_step(name, plan, first.inputs);
      case Kind::kAveragePool:
        return make_average_pool_step(name, plan, *static_cast<const TfLitePoolParams*>(first.builtin_options));
      default:
        break;
    }
  } catch (const Error& error) {
    throw Error(first.label() + ": " + error.what());
  }
  throw Error(first.label() + ": it cannot be run by itself");
}

}  // namespace bitat
