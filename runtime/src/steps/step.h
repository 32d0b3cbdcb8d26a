// What runs: the steps of a partition, made from their plan.
#ifndef BITAT_STEPS_STEP_H_
#define BITAT_STEPS_STEP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/geometry.h"
#include "core/memory.h"
#include "core/thread_pool.h"
#include "graph/fusion.h"
#include "kernels/kernels.h"

namespace bitat {

// The shapes of tensors, by index. A step asks for those of its inputs and sets those of its outputs.
using Shapes = std::map<int, Shape>;

// Memory of tensors, by index, for one run.
using Pointers = std::vector<void*>;

// What a step works with while it runs. All but the kernels and the pool belongs to one worker each.
struct Workspace {
  const Kernels& kernels;
  ThreadPool& pool;
  std::vector<AlignedBuffer> scratch;
  std::vector<AlignedBuffer> passed;  // what steps that run in turns hand on
  std::vector<Pointers> pointers;     // where they find it
};

class Step {
 public:
  Step(std::string name, const PlannedStep& plan) : name_(std::move(name)), plan_(plan) {}
  virtual ~Step() = default;

  const std::string& name() const { return name_; }
  const PlannedStep& plan() const { return plan_; }

  // Computes the shapes of its outputs. Throws Error where its inputs do not fit.
  virtual void set_shapes(Shapes& shapes) = 0;
  // The bytes of scratch memory that a worker needs, for the shapes that were set.
  virtual std::size_t scratch_bytes(const Workspace&) const { return 0; }
  virtual void run(const Pointers& pointers, Workspace& workspace) = 0;
  // Binary multiply-accumulates of a run, for the shapes that were set.
  virtual std::int64_t macs() const { return 0; }

 private:
  std::string name_;
  PlannedStep plan_;
};

// Makes a step. Constants are read now; `kernels` says how weights are packed. Throws Error if an operator cannot be run.
std::unique_ptr<Step> make_step(const TfLiteContext& context, const Partition& partition, const PlannedStep& plan,
                                const Kernels& kernels);

// The steps of single kinds, for make_step.
std::unique_ptr<Step> make_bconv_step(std::string name, const TfLiteContext& context, const Partition& partition,
                                      const PlannedStep& plan, const Kernels& kernels);
std::unique_ptr<Step> make_quantize_step(std::string name, const TfLiteContext& context, const PlannedStep& plan);
std::unique_ptr<Step> make_dequantize_step(std::string name, const TfLiteContext& context, const PlannedStep& plan);
std::unique_ptr<Step> make_max_pool_step(std::string name, const PlannedStep& plan, const PoolOptions& options);
std::unique_ptr<Step> make_concatenation_step(std::string name, const PlannedStep& plan, const std::vector<int>& inputs);
std::unique_ptr<Step> make_average_pool_step(std::string name, const PlannedStep& plan, const TfLitePoolParams& options);

// The values of a constant tensor, one for each channel, filled up with zeros to whole blocks. A single value is repeated.
AlignedBuffer channel_values(const TfLiteTensor& tensor, int channels);

}  // namespace bitat

#endif  // BITAT_STEPS_STEP_H_
