// LceBconv2d and what is fused with it.
#ifndef BITAT_STEPS_BCONV_STEP_H_
#define BITAT_STEPS_BCONV_STEP_H_

#include <string>
#include <vector>

#include "steps/packed_convolution.h"
#include "steps/step.h"

namespace bitat {

class BconvStep : public Step {
 public:
  BconvStep(std::string name, const PlannedStep& plan, std::vector<PackedConvolution> convolutions, TfLiteType type);

  void set_shapes(Shapes& shapes) override;
  std::size_t scratch_bytes(const Workspace& workspace) const override;
  std::int64_t macs() const override;
  void run(const Pointers& pointers, Workspace& workspace) override;

  // Whether each pixel of this step needs no more of another step's results than the same pixel: then they can run in turns,
  // some pixels at a time, and this one reads what is still in the cache. Not where that would leave threads idle.
  bool can_follow(const BconvStep& other, const Partition& partition, const Workspace& workspace) const;

  // A tensor that lives only from the turn of one step to that of the next: the pixels of a turn, in a worker's own memory.
  struct Passed {
    int tensor;
    std::size_t pixel_bytes;
    std::size_t offset;  // in the worker's memory
  };

  // The bytes that a worker needs for what this step passes to the next; sets the offsets.
  std::size_t plan_passed(std::vector<Passed>& passed, const Workspace& workspace) const;

  // Runs this step and one that can follow it, in turns. Two `seconds` get what each took, summed over threads; they may be null.
  void run_with(const BconvStep& next, const std::vector<Passed>& passed, const Pointers& pointers, Workspace& workspace,
                double* seconds) const;

 private:
  // Where a worker's patches, corrections and the kernels' own memory lie.
  struct Memory {
    std::size_t correction = 0, kernels = 0, total = 0;
  };

  std::int64_t pixels() const { return convolutions_.front().geometry.pixels(); }
  std::int64_t chunk(const Workspace& workspace) const;
  Memory memory(const PackedConvolution& one, std::int64_t chunk, const Workspace& workspace) const;
  bool shares_words(const PackedConvolution& one) const { return type_ == kTfLiteInt32 && !one.part.whole_words; }
  std::uint32_t* group_bits(const PackedConvolution& one, int group) const;
  void join_groups(const PackedConvolution& one, std::uint32_t* output) const;

  // Computes some pixels, and of their output channels the share number `split` of `splits`.
  void run_chunk(std::int64_t first, std::int64_t chunk, std::int64_t split, std::int64_t splits, int worker,
                 const Pointers& pointers, Workspace& workspace) const;
  void convolve(const PackedConvolution& one, int group, std::int64_t first, int count, std::int64_t split,
                std::int64_t splits, const Memory& memory, std::uint8_t* scratch, const Pointers& pointers,
                const Kernels& kernels) const;
  Epilogue epilogue_of(const PackedConvolution& one, int group, const Pointers& pointers) const;

  std::vector<PackedConvolution> convolutions_;
  TfLiteType type_;
  AlignedBuffer group_bits_;  // [group][pixel][words of a group], where groups share words of the output
};

}  // namespace bitat

#endif  // BITAT_STEPS_BCONV_STEP_H_
