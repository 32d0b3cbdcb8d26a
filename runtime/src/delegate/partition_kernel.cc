#include "delegate/partition_kernel.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>

#include "core/denormals.h"
#include "core/error.h"

namespace bitat {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<int> to_vector(const TfLiteIntArray* array) {
  return array == nullptr ? std::vector<int>{} : std::vector<int>(array->data, array->data + array->size);
}

std::string json_string(const std::string& value) {
  std::string result = "\"";
  for (char c : value) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += {'\\', c};
    } else if (code < 0x20 || code > 0x7e) {  // names of tensors can hold anything
      result += '?';
    } else {
      result += c;
    }
  }
  return result + "\"";
}

std::size_t bytes_of(TfLiteType type, const Shape& shape) {
  const std::size_t bytes = type == kTfLiteInt8 || type == kTfLiteBool ? 1 : 4;
  return static_cast<std::size_t>(count(shape)) * bytes;
}

void resize(TfLiteContext* context, int tensor, const Shape& shape) {
  if (shape_of(context->tensors[tensor]) == shape && context->tensors[tensor].allocation_type != kTfLiteDynamic) return;
  auto* size = static_cast<TfLiteIntArray*>(std::malloc(sizeof(TfLiteIntArray) + shape.size() * sizeof(int)));
  require(size != nullptr, "there is no memory left");
  size->size = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), size->data);
  require(context->ResizeTensor(context, &context->tensors[tensor], size) == kTfLiteOk, "its output cannot be resized to ",
          to_string(shape));
}

}  // namespace

Partition read_partition(TfLiteContext* context, const TfLiteDelegateParams& params) {
  Partition result;
  for (int node : to_vector(params.nodes_to_replace)) result.operators.push_back(read_operator(context, node));
  result.inputs = to_vector(params.input_tensors);
  result.outputs = to_vector(params.output_tensors);
  return result;
}

PartitionKernel::PartitionKernel(TfLiteContext* context, const TfLiteDelegateParams& params,
                                 std::shared_ptr<DelegateState> state)
    : state_(std::move(state)), partition_(read_partition(context, params)) {
  std::size_t planned = 0;
  for (const PlannedStep& plan : plan_steps(*context, partition_, state_->fusion)) {
    planned += plan.operators.size();
    steps_.push_back(make_step(*context, partition_, plan, *state_->kernels));
    const char* name = context->tensors[plan.output].name;
    output_names_.push_back(name == nullptr ? "" : name);
  }
  require(planned == partition_.operators.size(), "TFLite divided the graph in another way than it had announced");
  times_.resize(steps_.size());
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->partitions.push_back(this);
}

PartitionKernel::~PartitionKernel() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  auto& all = state_->partitions;
  all.erase(std::remove(all.begin(), all.end(), this), all.end());
}

void PartitionKernel::prepare(TfLiteContext* context) {
  pool_ = state_->pool_for(context->recommended_num_threads);
  workspace_ = std::make_unique<Workspace>(Workspace{*state_->kernels, *pool_, {}, {}, {}});
  shapes_.clear();
  std::set<int> written;
  for (const auto& step : steps_) {
    for (int tensor : step->plan().writes()) written.insert(tensor);
  }
  for (const auto& step : steps_) {
    for (int tensor : step->plan().reads(partition_)) {
      if (written.count(tensor) != 0) continue;
      require(context->tensors[tensor].allocation_type != kTfLiteDynamic, step->name(), ": its input ",
              context->tensors[tensor].name == nullptr ? "" : context->tensors[tensor].name,
              " has a size that is known only while the network runs; that is not supported");
      shapes_[tensor] = shape_of(context->tensors[tensor]);
    }
    try {
      step->set_shapes(shapes_);
    } catch (const Error& error) {
      // Of no samples other delegates make shapes of random sizes, of which nothing that is said helps.
      const bool empty = std::any_of(shapes_.begin(), shapes_.end(),
                                     [](const auto& shape) { return !shape.second.empty() && shape.second[0] == 0; });
      throw Error(partition_.operators[step->plan().operators.front()].label() + ": " +
                  (empty ? "there are no samples; resize the network's input to at least one" : error.what()));
    }
  }
  for (int tensor : partition_.outputs) {
    const auto shape = shapes_.find(tensor);
    require(shape != shapes_.end(), "tensor ", tensor, " is read, but nothing writes it");
    resize(context, tensor, shape->second);
  }
  const std::size_t passed = pair_steps(*context);
  plan_memory_of_tensors(*context);
  std::size_t scratch = 0;
  for (const auto& step : steps_) scratch = std::max(scratch, step->scratch_bytes(*workspace_));
  for (int worker = 0; worker < pool_->threads(); ++worker) {
    workspace_->scratch.emplace_back(scratch);
    workspace_->passed.emplace_back(passed);
  }
  workspace_->pointers.assign(pool_->threads(), Pointers(context->tensors_size));  // memory that a run need not ask for
}

void PartitionKernel::plan_memory_of_tensors(const TfLiteContext& context) {
  const std::set<int> outputs(partition_.outputs.begin(), partition_.outputs.end());
  std::map<int, Lifetime> lifetimes;
  std::set<int> outside(outputs);
  // When a step runs; those of a pair run at the same time.
  std::vector<int> time(steps_.size());
  for (std::size_t i = 1; i < steps_.size(); ++i) time[i] = time[i - 1] + (pairs_[i - 1].first == nullptr);
  std::set<int> passed;
  for (const Pair& pair : pairs_) {
    for (const BconvStep::Passed& one : pair.passed) passed.insert(one.tensor);
  }
  for (int i = 0; i < static_cast<int>(steps_.size()); ++i) {
    for (int tensor : steps_[i]->plan().writes()) {
      if (outputs.count(tensor) != 0 || passed.count(tensor) != 0) continue;
      lifetimes[tensor] = Lifetime{bytes_of(context.tensors[tensor].type, shapes_.at(tensor)), time[i], time[i]};
    }
  }
  for (int i = 0; i < static_cast<int>(steps_.size()); ++i) {
    for (int tensor : steps_[i]->plan().reads(partition_)) {
      const auto found = lifetimes.find(tensor);
      if (found != lifetimes.end()) {
        found->second.last = std::max(found->second.last, time[i]);
      } else if (passed.count(tensor) == 0) {
        outside.insert(tensor);
      }
    }
  }
  std::vector<Lifetime> planned;
  for (const auto& [tensor, lifetime] : lifetimes) planned.push_back(lifetime);
  memory_.reserve(plan_memory(planned));
  pointers_.assign(context.tensors_size, nullptr);
  std::size_t next = 0;
  for (const auto& [tensor, lifetime] : lifetimes) pointers_[tensor] = memory_.as<std::uint8_t>() + planned[next++].offset;
  outside_.assign(outside.begin(), outside.end());
}

void PartitionKernel::run(TfLiteContext* context) {
  for (int tensor : outside_) {
    const TfLiteTensor& one = context->tensors[tensor];
    const auto shape = shapes_.find(tensor);
    const std::size_t needed = shape == shapes_.end() ? 0 : bytes_of(one.type, shape->second);
    require(needed == 0 || (one.data != nullptr && one.bytes >= needed), "the memory of tensor ", tensor, " (",
            one.name == nullptr ? "" : one.name, ") has ", one.data == nullptr ? 0 : one.bytes, " bytes, its shape needs ",
            needed);
    pointers_[tensor] = one.data;
  }
  const DenormalsAreZero denormals;
  const ThreadPool::Active active(*pool_);
  for (std::size_t i = 0; i < steps_.size();) i += run_from(i);
}

std::size_t PartitionKernel::run_from(std::size_t i) {
  const auto start = Clock::now();
  double seconds[2] = {};
  const Pair& pair = pairs_[i];
  const bool paired = pair.first != nullptr;
  if (paired) {
    pair.first->run_with(*pair.second, pair.passed, pointers_, *workspace_, state_->profile ? seconds : nullptr);
  } else {
    steps_[i]->run(pointers_, *workspace_);
  }
  const std::size_t count = paired ? 2 : 1;
  if (!state_->profile) return count;
  const double taken = std::chrono::duration<double>(Clock::now() - start).count();
  for (std::size_t j = 0; j < count; ++j) {
    // What two steps took together is divided as their threads' times are.
    times_[i + j].seconds += paired ? taken * seconds[j] / std::max(1e-9, seconds[0] + seconds[1]) : taken;
    ++times_[i + j].runs;
  }
  return count;
}

std::size_t PartitionKernel::pair_steps(const TfLiteContext& context) {
  std::size_t bytes = 0;
  pairs_.assign(steps_.size(), Pair{});
  for (std::size_t i = 0; i + 1 < steps_.size(); ++i) {
    auto* first = dynamic_cast<BconvStep*>(steps_[i].get());
    auto* second = dynamic_cast<BconvStep*>(steps_[i + 1].get());
    if (first == nullptr || second == nullptr || !second->can_follow(*first, partition_, *workspace_)) continue;
    Pair& pair = pairs_[i++];
    pair.first = first, pair.second = second;
    for (int tensor : first->plan().writes()) {
      if (is_read_outside(tensor, *second)) continue;
      const Shape& shape = shapes_.at(tensor);
      const std::int64_t pixels = count_rows(shape);
      const std::size_t size = bytes_of(context.tensors[tensor].type, shape);
      pair.passed.push_back({tensor, pixels == 0 ? 0 : size / static_cast<std::size_t>(pixels), 0});
    }
    bytes = std::max(bytes, first->plan_passed(pair.passed, *workspace_));
  }
  return bytes;
}

bool PartitionKernel::is_read_outside(int tensor, const Step& reader) const {
  const auto reads = [&](const std::vector<int>& tensors) { return std::count(tensors.begin(), tensors.end(), tensor) != 0; };
  return reads(partition_.outputs) || std::any_of(steps_.begin(), steps_.end(), [&](const auto& step) {
           return step.get() != &reader && reads(step->plan().reads(partition_));
         });
}

void PartitionKernel::append_profile(std::string& json) const {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    std::string nodes;
    for (int index : steps_[i]->plan().operators) {
      nodes += (nodes.empty() ? "" : ", ") + std::to_string(partition_.operators[index].node);
    }
    // In digits, whatever the locale: printf would write a comma where people do.
    const auto nanoseconds = static_cast<std::int64_t>(times_[i].seconds * 1e9);
    const std::string rest = std::to_string(nanoseconds % 1000000000);
    const std::string seconds = text(nanoseconds / 1000000000, ".", std::string(9 - rest.size(), '0'), rest);
    json += (json.empty() ? "" : ", ") + text("{\"name\": ", json_string(steps_[i]->name()), ", \"nodes\": [", nodes,
                                              "], \"output\": ", json_string(output_names_[i]),
                                              ", \"runs\": ", times_[i].runs, ", \"seconds\": ", seconds,
                                              ", \"macs\": ", steps_[i]->macs(), "}");
  }
}

}  // namespace bitat
