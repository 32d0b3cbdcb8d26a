#include "core/flexbuffer.h"

#include <cstring>

#include "core/error.h"

namespace bitat {
namespace {

// Types of flexbuffers that are read here.
constexpr int kInt = 1, kUInt = 2, kIndirectInt = 6, kIndirectUInt = 7, kMap = 9, kBool = 26;

class Reader {
 public:
  Reader(const std::uint8_t* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

  // An unsigned number of `width` bytes, little-endian.
  std::uint64_t number(std::size_t at, std::size_t width) const {
    check(at, width);
    std::uint64_t value = 0;
    for (std::size_t i = width; i-- > 0;) value = value << 8 | bytes_[at + i];
    return value;
  }

  std::int64_t signed_number(std::size_t at, std::size_t width) const {
    const int unused = 64 - static_cast<int>(width) * 8;
    return static_cast<std::int64_t>(number(at, width) << unused) >> unused;
  }

  // Where the offset that stands at `at` points: that many bytes before it.
  std::size_t target(std::size_t at, std::size_t width) const {
    const std::uint64_t distance = number(at, width);
    require(distance <= at, "an offset points before the start");
    return at - static_cast<std::size_t>(distance);
  }

  std::size_t before(std::size_t at, std::size_t bytes) const {
    require(bytes <= at, "a field lies before the start");
    return at - bytes;
  }

  std::string key(std::size_t at) const {
    require(at < size_, "a key lies behind the end");
    const void* end = std::memchr(bytes_ + at, 0, size_ - at);
    require(end != nullptr, "a key has no end");
    return std::string(reinterpret_cast<const char*>(bytes_ + at), static_cast<const char*>(end));
  }

  void check(std::size_t at, std::size_t bytes) const {
    require(bytes <= size_ && at <= size_ - bytes, "a field lies behind the end");
  }

 private:
  const std::uint8_t* bytes_;
  std::size_t size_;
};

bool is_width(std::uint64_t width) { return width == 1 || width == 2 || width == 4 || width == 8; }

std::map<std::string, std::int64_t> read(const Reader& reader, std::size_t size) {
  require(size >= 3, "it is empty");
  const std::uint64_t root_width = reader.number(size - 1, 1);
  const int root_type = static_cast<int>(reader.number(size - 2, 1));
  require(is_width(root_width) && root_type >> 2 == kMap, "it is not a map");
  const std::size_t width = std::size_t{1} << (root_type & 3);
  const std::size_t values = reader.target(reader.before(size - 2, root_width), root_width);
  const std::uint64_t length = reader.number(reader.before(values, width), width);
  const std::uint64_t key_width = reader.number(reader.before(values, 2 * width), width);
  require(is_width(key_width), "the keys have an impossible width");
  const std::size_t keys = reader.target(reader.before(values, 3 * width), width);
  require(length <= size, "it has more values than bytes");
  const std::size_t types = values + length * width;
  reader.check(types, length);
  std::map<std::string, std::int64_t> result;
  for (std::size_t i = 0; i < length; ++i) {
    const std::string name = reader.key(reader.target(keys + i * key_width, key_width));
    const int type = static_cast<int>(reader.number(types + i, 1));
    const std::size_t at = values + i * width;
    const std::size_t indirect_width = std::size_t{1} << (type & 3);
    switch (type >> 2) {
      case kInt:
        result[name] = reader.signed_number(at, width);
        break;
      case kUInt:
      case kBool:
        result[name] = static_cast<std::int64_t>(reader.number(at, width));
        break;
      case kIndirectInt:
        result[name] = reader.signed_number(reader.target(at, width), indirect_width);
        break;
      case kIndirectUInt:
        result[name] = static_cast<std::int64_t>(reader.number(reader.target(at, width), indirect_width));
        break;
      default:
        break;
    }
  }
  return result;
}

}  // namespace

std::map<std::string, std::int64_t> read_integer_map(const void* buffer, std::size_t size) {
  require(buffer != nullptr && size > 0, "the operator has no options");
  try {
    return read(Reader(static_cast<const std::uint8_t*>(buffer), size), size);
  } catch (const Error& error) {
    throw Error(text("the options cannot be read, they are no flexbuffers map: ", error.what()));
  }
}

}  // namespace bitat
