// Which operators of a partition are computed together.
//
// The output of a binary convolution is read from a register as long as what follows works on one value at a time:
//
//   LceBconv2d -> ADD (a shortcut) -> CONCATENATION -> PRELU -> ADD (a constant) -> tensor -> ADD (a constant) -> LceQuantize
//
// Each of these is optional. A tensor in between has one reader, the next of the chain; the last one may have several: it is
// written if anyone else reads it, and each LceQuantize that reads it (with or without a constant added) becomes a branch. A
// CONCATENATION of channels ends in one tensor, of which each of its convolutions writes its part. An AVERAGE_POOL_2D or another
// CONCATENATION, as they stand in shortcuts, is a step of its own.
#ifndef BITAT_GRAPH_FUSION_H_
#define BITAT_GRAPH_FUSION_H_

#include <string>
#include <vector>

#include "graph/operators.h"

namespace bitat {

struct FusionOptions {
  bool residual = true;
  bool prelu = true;
  bool quantize = true;
  bool concatenation = true;
};

// Parses "on", "off" or a list of "residual", "prelu", "quantize", "concat". Throws Error.
FusionOptions parse_fusion(const std::string& text);

// A part of a graph that is run as a whole: operators in order, tensors that come from outside, tensors that are read outside.
struct Partition {
  std::vector<Operator> operators;
  std::vector<int> inputs;
  std::vector<int> outputs;
};

struct PlannedBranch {
  int shift = -1;  // a constant tensor that is added first, or -1
  int bits = -1;   // the tensor that is written
};

struct PlannedPart {
  int op = 0;  // the convolution, an index into the partition's operators
  int residual = -1;
  int first_channel = 0;  // in the output
  int channels = 0;
  bool whole_words = true;  // whether no two groups of its output channels share a word of bits
};

// A step: operators that run together.
struct PlannedStep {
  Kind kind = Kind::kOther;      // of its first operator
  std::vector<int> operators;    // indices into the partition's operators, in order
  int input = -1;                // of all but convolutions and concatenations
  int output = -1;               // the last tensor of the chain
  bool writes_output = true;     // false if only branches read it
  int slope = -1, shift = -1;    // constant tensors
  int channels = 0;              // of the output of convolutions
  std::vector<PlannedPart> parts;        // of convolutions
  std::vector<PlannedBranch> branches;   // of convolutions with float output

  // The tensors whose values it reads while it runs, and those that it writes. Weights and the like are read when it is made.
  std::vector<int> reads(const Partition& partition) const;
  std::vector<int> writes() const;
};

// Returns the steps of a partition in an order in which they can run.
std::vector<PlannedStep> plan_steps(const TfLiteContext& context, const Partition& partition, const FusionOptions& fusion);

// Whether a step is one of float operators alone: of use only where another step of its partition reads what it writes, as the
// partition would otherwise be divided there.
inline bool is_support(const PlannedStep& step) {
  return step.kind == Kind::kAveragePool || step.kind == Kind::kConcatenation;
}

// Whether an ADD, CONCATENATION or AVERAGE_POOL_2D has no activation fused into it; true for all others.
bool has_no_activation(const Operator& op);

// Whether a float operator may be part of a step at all; whether it is, plan_steps decides.
bool may_be_fused(const TfLiteContext& context, const Operator& op, const FusionOptions& fusion);

}  // namespace bitat

#endif  // BITAT_GRAPH_FUSION_H_
