// The functions that the library exports.
#include "bitat_delegate.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "core/error.h"
#include "delegate/partition_kernel.h"
#include "delegate/state.h"

namespace {

using bitat::Delegate;
using bitat::DelegateState;

int parse_number(const char* option, const char* value, int most) {
  char* end = nullptr;
  const long number = std::strtol(value, &end, 10);
  bitat::require(end != value && *end == 0 && number >= 0 && number <= most, "the option ", option, " must be a number from 0 to ",
                 most, ", not '", value, "'");
  return static_cast<int>(number);
}

std::shared_ptr<DelegateState> parse(char** keys, char** values, size_t count) {
  auto state = std::make_shared<DelegateState>();
  state->kernels = bitat::find_kernels("auto");
  for (size_t i = 0; i < count; ++i) {
    const std::string key = keys[i], value = values[i];
    if (key == "num_threads") {
      state->num_threads = parse_number("num_threads", values[i], bitat::ThreadPool::kMost);
    } else if (key == "profile") {
      state->profile = parse_number("profile", values[i], 1) == 1;
    } else if (key == "fusion") {
      state->fusion = bitat::parse_fusion(value);
    } else if (key == "kernel") {
      state->kernels = bitat::find_kernels(values[i]);
      bitat::require(state->kernels != nullptr, "the option kernel must be auto or one of ", bitat::kernel_families(),
                     " on this processor, not '", value, "'");
    } else {
      throw bitat::Error("the options are num_threads, kernel, fusion and profile, not '" + key + "'");
    }
  }
  return state;
}

DelegateState& state_of(const TfLiteDelegate* delegate) { return *static_cast<Delegate*>(delegate->data_)->state; }

}  // namespace

extern "C" {

TfLiteDelegate* tflite_plugin_create_delegate(char** options_keys, char** options_values, size_t num_options,
                                              void (*report_error)(const char*)) {
  try {
    auto delegate = std::make_unique<Delegate>();
    delegate->state = parse(options_keys, options_values, num_options);
    delegate->tflite.data_ = delegate.get();
    delegate->tflite.Prepare = bitat::prepare_delegate;
    // Without it TFLite would prepare the operators that it does not know before it asks the delegate.
    delegate->tflite.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
    return &delegate.release()->tflite;
  } catch (const std::exception& error) {
    if (report_error != nullptr) report_error(error.what());
    return nullptr;
  }
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate != nullptr) delete static_cast<Delegate*>(delegate->data_);
}

const char* bitat_version(void) { return BITAT_VERSION; }

const char* bitat_kernel_families(void) { return bitat::kernel_families(); }

const char* bitat_kernel(const TfLiteDelegate* delegate) { return state_of(delegate).kernels->name; }

const char* bitat_last_error(const TfLiteDelegate* delegate) { return state_of(delegate).last_error.c_str(); }

size_t bitat_profile(const TfLiteDelegate* delegate, char* buffer, size_t capacity) {
  DelegateState& state = state_of(delegate);
  const std::lock_guard<std::mutex> lock(state.mutex);
  std::string steps;
  for (const bitat::PartitionKernel* partition : state.partitions) partition->append_profile(steps);
  const std::string json = "[" + steps + "]";
  if (capacity > json.size()) std::memcpy(buffer, json.c_str(), json.size() + 1);
  return json.size() + 1;
}

void bitat_reset_profile(TfLiteDelegate* delegate) {
  DelegateState& state = state_of(delegate);
  const std::lock_guard<std::mutex> lock(state.mutex);
  for (bitat::PartitionKernel* partition : state.partitions) partition->reset_profile();
}

}  // extern "C"
