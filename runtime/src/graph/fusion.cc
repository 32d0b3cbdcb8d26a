#include "graph/fusion.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "kernels/kernels.h"

namespace bitat {
namespace {

bool is_float(const TfLiteTensor& tensor) { return tensor.type == kTfLiteFloat32; }

// Whether a constant holds one value for each of `channels` channels, or one for all.
bool is_per_channel(const TfLiteTensor& tensor, std::int32_t channels, std::size_t rank) {
  if (!is_float(tensor) || !is_constant(tensor)) return false;
  const Shape shape = shape_of(tensor);
  if (shape.size() > rank) return false;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) {
    if (shape[i] != 1) return false;
  }
  return shape.empty() || shape.back() == 1 || shape.back() == channels;
}

class Planner {
 public:
  Planner(const TfLiteContext& context, const Partition& partition, const FusionOptions& fusion)
      : context_(context), partition_(partition), fusion_(fusion), outside_(partition.outputs.begin(), partition.outputs.end()) {
    for (int i = 0; i < static_cast<int>(partition.operators.size()); ++i) {
      for (int tensor : partition.operators[i].inputs) {
        if (tensor >= 0) readers_[tensor].push_back(i);
      }
      for (int tensor : partition_.operators[i].outputs) writers_[tensor] = i;
    }
  }

  std::vector<PlannedStep> plan() {
    plan_convolutions();
    for (int i = 0; i < static_cast<int>(partition_.operators.size()); ++i) {
      const Operator& op = partition_.operators[i];
      if (used_.count(i) != 0) continue;
      if (op.kind == Kind::kQuantize) {
        steps_.push_back(plan_quantize(i));
      } else if (op.is_binary() || op.kind == Kind::kAveragePool || op.kind == Kind::kConcatenation) {
        PlannedStep step;
        step.kind = op.kind, step.operators = {i}, step.input = op.inputs[0], step.output = op.outputs[0];
        steps_.push_back(step);
      }
    }
    return in_order();
  }

 private:
  const Operator& op(int index) const { return partition_.operators[index]; }
  const TfLiteTensor& tensor(int index) const { return context_.tensors[index]; }

  // The only reader of a tensor, or -1.
  int only_reader(int tensor) const {
    const auto found = readers_.find(tensor);
    if (found == readers_.end() || found->second.size() != 1 || outside_.count(tensor) != 0) return -1;
    return found->second[0];
  }

  // The constant that an ADD adds to a tensor, one value per channel; -1 if it is no such ADD.
  int added_constant(const Operator& add, int to, std::int32_t channels) const {
    if (add.kind != Kind::kAdd || add.inputs.size() != 2 || add.outputs.size() != 1 || !has_no_activation(add)) return -1;
    if (add.inputs[0] < 0 || add.inputs[1] < 0 || add.outputs[0] < 0) return -1;
    const int other = add.inputs[0] == to ? add.inputs[1] : add.inputs[0];
    const std::size_t rank = shape_of(tensor(to)).size();
    return other != to && is_float(tensor(to)) && is_per_channel(tensor(other), channels, rank) ? other : -1;
  }

  void plan_convolutions() {
    std::map<int, std::vector<PlannedStep>> waiting;  // chains that end before a CONCATENATION, by its index
    for (int i = 0; i < static_cast<int>(partition_.operators.size()); ++i) {
      if (op(i).kind != Kind::kBconv) continue;
      PlannedStep step;
      step.kind = Kind::kBconv, step.operators = {i}, step.output = op(i).outputs[0];
      step.channels = shape_of(tensor(op(i).inputs[1]))[0];
      step.parts.push_back(PlannedPart{i, -1, 0, step.channels, has_whole_words(op(i))});
      used_.insert(i);
      if (!is_float(tensor(step.output))) {
        steps_.push_back(step);
        continue;
      }
      follow(step);
      const int reader = only_reader(step.output);
      if (fusion_.concatenation && reader >= 0 && op(reader).kind == Kind::kConcatenation && step.slope < 0 && step.shift < 0) {
        waiting[reader].push_back(step);
      } else {
        end(step);
      }
    }
    for (auto& [index, chains] : waiting) join(index, chains);
  }

  bool has_whole_words(const Operator& convolution) const {
    const Shape filter = shape_of(tensor(convolution.inputs[1]));
    const int groups = std::max(1, shape_of(tensor(convolution.inputs[0]))[3] / filter[3]);
    return groups == 1 || filter[0] / groups % kBlockChannels == 0;
  }

  // Takes up residual, PReLU and constant as far as they follow.
  void follow(PlannedStep& step) {
    for (;;) {
      const int reader = only_reader(step.output);
      if (reader < 0 || used_.count(reader) != 0) return;
      const Operator& next = op(reader);
      if (next.outputs.size() != 1 || next.outputs[0] < 0) return;
      const int constant = added_constant(next, step.output, step.channels);
      if (constant >= 0) {
        if (step.shift >= 0 || is_quantizer_input(next.outputs[0])) return;  // that one becomes a branch
        step.shift = constant;
      } else if (is_residual(next, step)) {
        step.parts[0].residual = next.inputs[0] == step.output ? next.inputs[1] : next.inputs[0];
      } else if (is_slope(next, step)) {
        step.slope = next.inputs[1];
      } else {
        return;
      }
      step.output = next.outputs[0];
      step.operators.push_back(reader);
      used_.insert(reader);
    }
  }

  bool is_quantizer_input(int tensor) const {
    const int reader = only_reader(tensor);
    return fusion_.quantize && reader >= 0 && op(reader).kind == Kind::kQuantize;
  }

  bool is_residual(const Operator& next, const PlannedStep& step) const {
    if (!fusion_.residual || next.kind != Kind::kAdd || !has_no_activation(next) || next.inputs.size() != 2) return false;
    if (step.parts.size() != 1 || step.parts[0].residual >= 0 || step.slope >= 0 || step.shift >= 0) return false;
    const int other = next.inputs[0] == step.output ? next.inputs[1] : next.inputs[0];
    return other >= 0 && other != step.output && is_float(tensor(other)) && !is_constant(tensor(other)) &&
           shape_of(tensor(other)) == shape_of(tensor(step.output));
  }

  bool is_slope(const Operator& next, const PlannedStep& step) const {
    return fusion_.prelu && next.kind == Kind::kPrelu && next.inputs.size() == 2 && next.inputs[0] == step.output &&
           next.inputs[1] >= 0 && step.slope < 0 && step.shift < 0 &&
           is_per_channel(tensor(next.inputs[1]), step.channels, shape_of(tensor(step.output)).size());
  }

  // Joins the chains whose outputs a CONCATENATION of channels reads, if it reads nothing else.
  void join(int index, std::vector<PlannedStep>& chains) {
    const Operator& concatenation = op(index);
    PlannedStep joined;
    joined.kind = Kind::kBconv;
    for (int input : concatenation.inputs) {
      const auto found = std::find_if(chains.begin(), chains.end(), [&](const PlannedStep& one) { return one.output == input; });
      if (found == chains.end()) break;
      PlannedPart part = found->parts[0];
      part.first_channel = joined.channels;
      joined.channels += part.channels;
      joined.parts.push_back(part);
      joined.operators.insert(joined.operators.end(), found->operators.begin(), found->operators.end());
    }
    const bool whole_words = std::all_of(joined.parts.begin(), joined.parts.end(),
                                         [](const PlannedPart& part) { return part.channels % kBlockChannels == 0; });
    if (joined.parts.size() != concatenation.inputs.size() || joined.parts.size() != chains.size() || !whole_words ||
        concatenation.outputs.size() != 1 || concatenation.outputs[0] < 0) {
      for (PlannedStep& chain : chains) end(chain);
      return;
    }
    joined.output = concatenation.outputs[0];
    joined.operators.push_back(index);
    used_.insert(index);
    follow(joined);
    end(joined);
  }

  // Takes up the branches, and adds the step.
  void end(PlannedStep& step) {
    std::size_t taken = 0;
    const auto found = readers_.find(step.output);
    const std::vector<int> readers = found == readers_.end() ? std::vector<int>{} : found->second;
    const bool whole_words =
        std::all_of(step.parts.begin(), step.parts.end(), [](const PlannedPart& part) { return part.whole_words; });
    for (int reader : readers) {
      if (!fusion_.quantize || !whole_words || static_cast<int>(step.branches.size()) == kMostBranches || used_.count(reader) != 0) continue;
      PlannedBranch branch;
      branch.shift = added_constant(op(reader), step.output, step.channels);
      const int quantizer = branch.shift >= 0 ? only_reader(op(reader).outputs[0]) : reader;
      if (quantizer < 0 || op(quantizer).kind != Kind::kQuantize || used_.count(quantizer) != 0) continue;
      branch.bits = op(quantizer).outputs[0];
      step.branches.push_back(branch);
      for (int index : branch.shift >= 0 ? std::vector<int>{reader, quantizer} : std::vector<int>{quantizer}) {
        step.operators.push_back(index);
        used_.insert(index);
      }
      ++taken;
    }
    step.writes_output = outside_.count(step.output) != 0 || taken < readers.size() || readers.empty();
    steps_.push_back(step);
  }

  // An LceQuantize, with the constant that is added to its input before if nobody else reads the sum.
  PlannedStep plan_quantize(int index) {
    PlannedStep step;
    step.kind = Kind::kQuantize, step.operators = {index}, step.input = op(index).inputs[0], step.output = op(index).outputs[0];
    used_.insert(index);
    if (!fusion_.quantize || only_reader(step.input) != index) return step;
    const auto found = writers_.find(step.input);
    if (found == writers_.end() || used_.count(found->second) != 0) return step;
    const Operator& add = op(found->second);
    for (int input : add.inputs) {
      if (input < 0 || shape_of(tensor(input)).empty() || shape_of(tensor(input)) != shape_of(tensor(step.input))) continue;
      const int constant = added_constant(add, input, shape_of(tensor(input)).back());
      if (constant < 0) continue;
      step.input = input, step.shift = constant;
      step.operators.insert(step.operators.begin(), found->second);
      used_.insert(found->second);
      break;
    }
    return step;
  }

  // Orders the steps so that each comes after those whose results it reads; those that stand first in the graph come first.
  std::vector<PlannedStep> in_order() {
    std::sort(steps_.begin(), steps_.end(), [](const PlannedStep& a, const PlannedStep& b) {
      return *std::min_element(a.operators.begin(), a.operators.end()) <
             *std::min_element(b.operators.begin(), b.operators.end());
    });
    std::map<int, std::size_t> writers;  // of tensors, among the steps
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      for (int tensor : steps_[i].writes()) writers[tensor] = i;
    }
    std::vector<std::vector<std::size_t>> followers(steps_.size());
    std::vector<int> waits_for(steps_.size(), 0);
    std::set<std::size_t> ready;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      for (int tensor : steps_[i].reads(partition_)) {
        const auto writer = writers.find(tensor);
        if (writer == writers.end()) continue;
        followers[writer->second].push_back(i);
        ++waits_for[i];
      }
      if (waits_for[i] == 0) ready.insert(i);
    }
    std::vector<PlannedStep> result;
    while (!ready.empty()) {
      const std::size_t next = *ready.begin();
      ready.erase(ready.begin());
      result.push_back(steps_[next]);
      for (std::size_t follower : followers[next]) {
        if (--waits_for[follower] == 0) ready.insert(follower);
      }
    }
    require(result.size() == steps_.size(), "the operators of the file form a circle");
    return result;
  }

  const TfLiteContext& context_;
  const Partition& partition_;
  const FusionOptions& fusion_;
  std::set<int> outside_;
  std::map<int, std::vector<int>> readers_;  // of tensors, by indices into the operators
  std::map<int, int> writers_;
  std::set<int> used_;
  std::vector<PlannedStep> steps_;
};

}  // namespace

std::vector<int> PlannedStep::reads(const Partition& partition) const {
  if (kind == Kind::kConcatenation) return partition.operators[operators[0]].inputs;
  if (kind != Kind::kBconv) return {input};
  std::vector<int> result;
  for (const PlannedPart& part : parts) {
    result.push_back(partition.operators[part.op].inputs[0]);
    if (part.residual >= 0) result.push_back(part.residual);
  }
  return result;
}

std::vector<int> PlannedStep::writes() const {
  std::vector<int> result;
  if (writes_output) result.push_back(output);
  for (const PlannedBranch& branch : branches) result.push_back(branch.bits);
  return result;
}

std::vector<PlannedStep> plan_steps(const TfLiteContext& context, const Partition& partition, const FusionOptions& fusion) {
  return Planner(context, partition, fusion).plan();
}

}  // namespace bitat
