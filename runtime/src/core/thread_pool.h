// Threads that share the work of one step.
#ifndef BITAT_CORE_THREAD_POOL_H_
#define BITAT_CORE_THREAD_POOL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace bitat {

// Runs loops on several threads. Its threads are made at the first loop that is worth it, sleep while there is nothing to do, and
// are made anew in a child process: fork copies only the thread that calls it. One loop runs at a time: where another thread of
// the same pool is in a loop already, a loop runs on the caller's thread alone.
class ThreadPool {
 public:
  static constexpr int kMost = 256;  // threads of a pool

  // `threads`: with the caller's, at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // While one lives, threads wait for the next loop with open eyes for some microseconds before they go to sleep: between the
  // steps of a network. Without one they go to sleep at once.
  class Active {
   public:
    explicit Active(ThreadPool& pool);
    ~Active();
    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;

   private:
    ThreadPool& pool_;
  };

  // Calls body(item, worker) for each item in [0, items), worker in [0, threads()); every worker has one item at a time. Returns
  // when all are done. `body` must not throw.
  void run(std::int64_t items, const std::function<void(std::int64_t, int)>& body);

 private:
  struct Crew;
  Crew* crew();

  const int threads_;
  std::mutex mutex_;  // held by who runs a loop
  std::unique_ptr<Crew> crew_;
  std::int64_t process_ = 0;
};

}  // namespace bitat

#endif  // BITAT_CORE_THREAD_POOL_H_
