#include "core/memory.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

namespace bitat {

AlignedBuffer::AlignedBuffer(std::size_t bytes) : size_(aligned(bytes)) {
  if (size_ == 0) return;
  if (size_ < bytes) throw std::bad_alloc();
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, size_) != 0) throw std::bad_alloc();
  memory_.reset(memory);
  std::memset(memory, 0, size_);
}

void AlignedBuffer::reserve(std::size_t bytes) {
  if (bytes > size_) *this = AlignedBuffer(bytes);
}

std::size_t plan_memory(std::vector<Lifetime>& lifetimes) {
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  std::size_t total = 0;
  std::vector<const Lifetime*> placed;
  for (std::size_t index : order) {
    Lifetime& one = lifetimes[index];
    std::vector<const Lifetime*> beside;
    for (const Lifetime* other : placed) {
      if (other->first <= one.last && one.first <= other->last) beside.push_back(other);
    }
    std::sort(beside.begin(), beside.end(), [](const Lifetime* a, const Lifetime* b) { return a->offset < b->offset; });
    one.offset = 0;
    for (const Lifetime* other : beside) {
      if (one.offset + one.bytes <= other->offset) break;
      one.offset = std::max(one.offset, aligned(other->offset + other->bytes));
    }
    total = std::max(total, one.offset + one.bytes);
    placed.push_back(&one);
  }
  return aligned(total);
}

}  // namespace bitat
