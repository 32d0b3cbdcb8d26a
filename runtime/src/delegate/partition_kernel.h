// A kernel in the place of a part of the graph.
#ifndef BITAT_DELEGATE_PARTITION_KERNEL_H_
#define BITAT_DELEGATE_PARTITION_KERNEL_H_

#include <memory>
#include <string>
#include <vector>

#include "delegate/state.h"
#include "steps/bconv_step.h"
#include "steps/step.h"

namespace bitat {

// Reads a partition of TFLite's.
Partition read_partition(TfLiteContext* context, const TfLiteDelegateParams& params);

// What a step took, over all runs.
struct StepTime {
  std::int64_t runs = 0;
  double seconds = 0;
};

class PartitionKernel {
 public:
  PartitionKernel(TfLiteContext* context, const TfLiteDelegateParams& params, std::shared_ptr<DelegateState> state);
  ~PartitionKernel();

  // Plans shapes and memory for the inputs as they are, and resizes the outputs. Throws Error.
  void prepare(TfLiteContext* context);
  // Runs all steps. Throws Error.
  void run(TfLiteContext* context);

  DelegateState& state() const { return *state_; }
  // Appends an object of JSON for each step, separated by commas.
  void append_profile(std::string& json) const;
  void reset_profile() { times_.assign(times_.size(), StepTime{}); }

 private:
  void plan_memory_of_tensors(const TfLiteContext& context);
  // Finds steps that can run in turns, and the tensors that only they need. Returns the bytes that a worker needs for these.
  std::size_t pair_steps(const TfLiteContext& context);
  // Whether anyone but a step reads a tensor.
  bool is_read_outside(int tensor, const Step& reader) const;
  // Runs step number i, with the next one if they are a pair; returns how many steps ran.
  std::size_t run_from(std::size_t i);

  std::shared_ptr<DelegateState> state_;
  std::shared_ptr<ThreadPool> pool_;
  Partition partition_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<std::string> output_names_;  // of the steps
  std::vector<StepTime> times_;
  struct Pair {
    BconvStep* first = nullptr;  // null: the step runs by itself
    BconvStep* second = nullptr;
    std::vector<BconvStep::Passed> passed;
  };
  std::vector<Pair> pairs_;  // by the first one's step
  Shapes shapes_;
  Pointers pointers_;             // by tensor
  std::vector<int> outside_;      // tensors whose memory is TFLite's
  AlignedBuffer memory_;          // of all others
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace bitat

#endif  // BITAT_DELEGATE_PARTITION_KERNEL_H_
