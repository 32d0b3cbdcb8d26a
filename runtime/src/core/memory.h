// Aligned memory, and a plan by which tensors that do not live at the same time share it.
#ifndef BITAT_CORE_MEMORY_H_
#define BITAT_CORE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace bitat {

constexpr std::size_t kAlignment = 64;

inline std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Memory aligned to a cache line, zeroed when it is made.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes);

  void* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(memory_.get());
  }

  // Makes it at least `bytes` large; what it held is lost if it grows.
  void reserve(std::size_t bytes);

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t size_ = 0;
};

// Something that needs memory from step `first` to step `last`, both included.
struct Lifetime {
  std::size_t bytes;
  int first;
  int last;
  std::size_t offset = 0;  // set by plan_memory
};

// Sets the offsets of all lifetimes so that none overlaps another one that lives at the same time: the largest first, each at the
// lowest place that is free. Returns the bytes that all of them need.
std::size_t plan_memory(std::vector<Lifetime>& lifetimes);

}  // namespace bitat

#endif  // BITAT_CORE_MEMORY_H_
