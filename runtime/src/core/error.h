// Errors with a message for the user.
#ifndef BITAT_CORE_ERROR_H_
#define BITAT_CORE_ERROR_H_

#include <stdexcept>
#include <string>
#include <type_traits>

namespace bitat {

// What is thrown inside of the library; the delegate's entry points turn it into a status and a message.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Joins texts and integers to one string. Not with streams: their locales clash where a process holds several copies of the C++
// library, as one does that loads this one beside TensorFlow.
template <typename... Parts>
std::string text(const Parts&... parts) {
  std::string result;
  const auto append = [&](const auto& part) {
    if constexpr (std::is_integral_v<std::decay_t<decltype(part)>>) {
      result += std::to_string(part);
    } else {
      result += part;
    }
  };
  (append(parts), ...);
  return result;
}

// Throws an Error with the joined arguments unless `condition` holds.
template <typename... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) throw Error(text(parts...));
}

}  // namespace bitat

#endif  // BITAT_CORE_ERROR_H_
