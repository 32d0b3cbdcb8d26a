#include "delegate/state.h"

#include <algorithm>

namespace bitat {

std::shared_ptr<ThreadPool> DelegateState::pool_for(int recommended) {
  const int wanted = std::clamp(num_threads > 0 ? num_threads : recommended, 1, ThreadPool::kMost);
  const std::lock_guard<std::mutex> lock(mutex);
  if (pool == nullptr || pool->threads() != wanted) pool = std::make_shared<ThreadPool>(wanted);
  return pool;
}

void DelegateState::report(TfLiteContext* context, const std::string& message) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    last_error = message;
  }
  context->ReportError(context, "%s", message.c_str());
}

}  // namespace bitat
