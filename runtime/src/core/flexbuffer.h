// Options of custom operators: flexbuffers maps of integers, read without trusting a byte of them.
#ifndef BITAT_CORE_FLEXBUFFER_H_
#define BITAT_CORE_FLEXBUFFER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace bitat {

// Returns the integers (and booleans) of the map that the buffer holds, by name; values of other types are left out.
// The format: https://flatbuffers.dev/internals/ ("FlexBuffers"). Throws Error if the buffer is not such a map.
std::map<std::string, std::int64_t> read_integer_map(const void* buffer, std::size_t size);

}  // namespace bitat

#endif  // BITAT_CORE_FLEXBUFFER_H_
