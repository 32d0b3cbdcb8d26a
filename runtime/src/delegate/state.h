// What a delegate and the kernels that it made share.
#ifndef BITAT_DELEGATE_STATE_H_
#define BITAT_DELEGATE_STATE_H_

#include <memory>
#include <mutex>
#include <vector>
#include <string>

#include "abi/tflite.h"
#include "core/thread_pool.h"
#include "graph/fusion.h"
#include "kernels/kernels.h"

namespace bitat {

class PartitionKernel;

// Kernels keep it alive, so that an interpreter may outlive its delegate.
struct DelegateState {
  int num_threads = 0;  // 0: as the interpreter has it
  const Kernels* kernels = nullptr;
  FusionOptions fusion;
  bool profile = false;

  std::mutex mutex;  // guards what follows
  std::vector<PartitionKernel*> partitions;  // in the order in which they were made
  std::string last_error;
  std::shared_ptr<ThreadPool> pool;

  // The pool for an interpreter that recommends a number of threads; one for all that want as many.
  std::shared_ptr<ThreadPool> pool_for(int recommended);

  // Remembers a message and reports it to the interpreter.
  void report(TfLiteContext* context, const std::string& message);
};

// The object that TFLite is handed: data_ points to it.
struct Delegate {
  TfLiteDelegate tflite{};
  std::shared_ptr<DelegateState> state;
};

// The delegate's Prepare: takes over what it can run.
TfLiteStatus prepare_delegate(TfLiteContext* context, TfLiteDelegate* delegate);

// The kernel that runs a partition.
TfLiteRegistration partition_registration();

}  // namespace bitat

#endif  // BITAT_DELEGATE_STATE_H_
