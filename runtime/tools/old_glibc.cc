// What the static parts of GCC (libgcc_eh, libstdc++) take from a new glibc, for wheels that run on an old one.
//
// tools/build_wheels.py links this file into the library. Every name is hidden: nobody else sees these versions.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#define HIDDEN extern "C" __attribute__((visibility("hidden")))

// glibc 2.32. False is always right: it only says that atomic operations cannot be skipped.
HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

// glibc 2.25 and 2.36. libstdc++ has a use of them, std::random_device.
HIDDEN int getentropy(void* buffer, std::size_t length);
int getentropy(void* buffer, std::size_t length) {
  return syscall(SYS_getrandom, buffer, length, 0) == static_cast<long>(length) ? 0 : -1;
}

HIDDEN std::uint32_t arc4random();
std::uint32_t arc4random() {
  std::uint32_t value = 0;
  while (getentropy(&value, sizeof value) != 0) {
  }
  return value;
}

namespace {

struct Search {
  std::uintptr_t address;
  dl_find_object* result;
};

int visit(dl_phdr_info* info, std::size_t, void* data) {
  auto* search = static_cast<Search*>(data);
  const ElfW(Phdr)* unwind_table = nullptr;
  std::uintptr_t start = UINTPTR_MAX, end = 0;
  bool inside = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type == PT_GNU_EH_FRAME) unwind_table = &header;
    if (header.p_type != PT_LOAD) continue;
    const std::uintptr_t first = info->dlpi_addr + header.p_vaddr, last = first + header.p_memsz;
    inside = inside || (search->address >= first && search->address < last);
    start = first < start ? first : start;
    end = last > end ? last : end;
  }
  if (!inside || unwind_table == nullptr) return 0;
  *search->result = {};
  search->result->dlfo_map_start = reinterpret_cast<void*>(start);
  search->result->dlfo_map_end = reinterpret_cast<void*>(end);
  search->result->dlfo_eh_frame = reinterpret_cast<void*>(info->dlpi_addr + unwind_table->p_vaddr);
  return 1;
}

}  // namespace

// glibc 2.35. The unwinder asks it where the table of a code address is, once for each frame that an exception passes.
HIDDEN int _dl_find_object(void* address, dl_find_object* result);
int _dl_find_object(void* address, dl_find_object* result) {
  Search search{reinterpret_cast<std::uintptr_t>(address), result};
  return dl_iterate_phdr(visit, &search) == 1 ? 0 : -1;
}
