#include "core/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "core/denormals.h"

namespace bitat {
namespace {

// How long a thread looks for the next loop before it sleeps: about as long as the steps between two loops take.
constexpr std::chrono::microseconds kLook{100};
constexpr int kLooksPerClock = 64;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::Crew {
  explicit Crew(int helpers) {
    threads.reserve(helpers);
    try {
      for (int worker = 1; worker <= helpers; ++worker) threads.emplace_back([this, worker] { work(worker); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those that are there do the work.
    }
  }

  ~Crew() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      leaving = true;
    }
    wake.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void run(std::int64_t count, const std::function<void(std::int64_t, int)>& work_item) {
    body = &work_item;
    items = count;
    next.store(0, std::memory_order_relaxed);
    busy.store(static_cast<int>(threads.size()), std::memory_order_relaxed);
    {
      // The lock orders the new number against a thread that is about to sleep.
      const std::lock_guard<std::mutex> lock(mutex);
      loop.fetch_add(1, std::memory_order_release);
    }
    if (sleeping.load(std::memory_order_acquire) > 0) wake.notify_all();
    take_items(0);
    if (busy.load(std::memory_order_acquire) == 0) return;
    for (int look = 0; look < 4096; ++look) {
      if (busy.load(std::memory_order_acquire) == 0) return;
      relax();
    }
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [this] { return busy.load(std::memory_order_acquire) == 0; });
  }

  void take_items(int worker) {
    for (std::int64_t item = next.fetch_add(1, std::memory_order_relaxed); item < items;
         item = next.fetch_add(1, std::memory_order_relaxed)) {
      (*body)(item, worker);
    }
  }

  void work(int worker) {
    const DenormalsAreZero denormals;
    std::uint64_t seen = 0;
    for (;;) {
      if (!wait_for_loop(seen)) return;
      seen = loop.load(std::memory_order_acquire);
      take_items(worker);
      if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::lock_guard<std::mutex> lock(mutex);
        done.notify_one();
      }
    }
  }

  // Returns false when the crew is dissolved.
  bool wait_for_loop(std::uint64_t seen) {
    if (active.load(std::memory_order_acquire)) {
      const auto end = std::chrono::steady_clock::now() + kLook;
      do {
        for (int look = 0; look < kLooksPerClock; ++look) {
          if (loop.load(std::memory_order_acquire) != seen) return true;
          relax();
        }
      } while (active.load(std::memory_order_acquire) && std::chrono::steady_clock::now() < end);
    }
    std::unique_lock<std::mutex> lock(mutex);
    sleeping.fetch_add(1, std::memory_order_acq_rel);
    wake.wait(lock, [&] { return leaving || loop.load(std::memory_order_acquire) != seen; });
    sleeping.fetch_sub(1, std::memory_order_acq_rel);
    return !leaving;
  }

  std::mutex mutex;
  std::condition_variable wake, done;
  bool leaving = false;
  std::atomic<std::uint64_t> loop{0};
  std::atomic<int> sleeping{0}, busy{0};
  std::atomic<bool> active{false};
  std::atomic<std::int64_t> next{0};
  std::int64_t items = 0;
  const std::function<void(std::int64_t, int)>* body = nullptr;
  std::vector<std::thread> threads;
};

ThreadPool::ThreadPool(int threads) : threads_(std::max(1, threads)) {}

ThreadPool::~ThreadPool() {
  // The threads of another process are not here to be joined.
  if (crew_ != nullptr && process_ != getpid()) (void)crew_.release();
}

ThreadPool::Crew* ThreadPool::crew() {
  const std::int64_t process = getpid();
  if (process_ != process) {
    (void)crew_.release();  // left to the parent: its threads did not come along
    process_ = process;
  }
  if (crew_ == nullptr) crew_ = std::make_unique<Crew>(threads_ - 1);
  return crew_.get();
}

void ThreadPool::run(std::int64_t items, const std::function<void(std::int64_t, int)>& body) {
  if (threads_ > 1 && items > 1) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (lock.owns_lock()) {
      crew()->run(items, body);
      return;
    }
  }
  for (std::int64_t item = 0; item < items; ++item) body(item, 0);
}

ThreadPool::Active::Active(ThreadPool& pool) : pool_(pool) {
  if (pool_.threads_ == 1) return;
  const std::unique_lock<std::mutex> lock(pool_.mutex_, std::try_to_lock);
  if (lock.owns_lock() && pool_.crew_ != nullptr && pool_.process_ == getpid()) {
    pool_.crew_->active.store(true, std::memory_order_release);
  }
}

ThreadPool::Active::~Active() {
  if (pool_.threads_ == 1) return;
  const std::unique_lock<std::mutex> lock(pool_.mutex_, std::try_to_lock);
  if (lock.owns_lock() && pool_.crew_ != nullptr && pool_.process_ == getpid()) {
    pool_.crew_->active.store(false, std::memory_order_release);
  }
}

}  // namespace bitat
