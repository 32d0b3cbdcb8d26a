// What a program does with an image classifier, but for running it: labels, pixels in, scores out, the median time.
#ifndef BITAT_CLASSIFICATION_H_
#define BITAT_CLASSIFICATION_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "pictures.h"
#include "preprocess.h"

namespace bitat {

// The program ends with one of these: its arguments are wrong, a file cannot be read, the network cannot be run.
constexpr int kWrongArguments = 2, kUnreadable = 3, kNotRun = 4;

struct Failure : std::runtime_error {
  Failure(int failure_code, const std::string& message) : std::runtime_error(message), code(failure_code) {}
  int code;
};

// The types of TfLiteType that an image classifier has.
enum class Type { kFloat32 = 1, kUInt8 = 3, kInt8 = 9 };

// An input or output in the interpreter's memory; 8-bit values stand for scale * (value - zero_point).
struct TensorView {
  int type = 0;  // a number of TfLiteType
  void* data = nullptr;
  std::vector<int> shape;
  float scale = 0.0f;
  int32_t zero_point = 0;
};

inline int PositiveNumber(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || number < 1 || number > 1000000) {
    throw Failure(kWrongArguments, name + " must be a whole number from 1 to 1000000. Received: " + text);
  }
  return static_cast<int>(number);
}

inline std::vector<std::string> ReadLabels(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Failure(kUnreadable, path + ": cannot be opened");
  std::vector<std::string> labels;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    labels.push_back(line);
  }
  return labels;
}

// Writes a picture into the input of the network, which expects `scaling` of pixels, or takes them as they are.
inline void FillInput(const std::string& path, const TensorView& input, const Scaling& scaling, bool takes_bytes) {
  const std::vector<int>& shape = input.shape;
  if (shape.size() != 4 || shape[0] != 1 || (shape[3] != 1 && shape[3] != 3)) {
    throw Failure(kNotRun, "an input of shape 1 x height x width x 1 or 3 is expected");
  }
  std::vector<float> values;
  try {
    values = Scaled(Prepare(ReadPicture(path), shape[2], shape[1], shape[3]), scaling);
  } catch (const std::exception& error) {
    throw Failure(kUnreadable, error.what());
  }
  const Type type = static_cast<Type>(input.type);
  const float scale = takes_bytes ? 1.0f : input.scale;
  const int32_t zero = !takes_bytes ? input.zero_point : type == Type::kInt8 ? -128 : 0;
  switch (type) {
    case Type::kFloat32:
      std::copy(values.begin(), values.end(), static_cast<float*>(input.data));
      return;
    case Type::kUInt8:
      std::transform(values.begin(), values.end(), static_cast<uint8_t*>(input.data),
                     [&](float value) { return Quantized<uint8_t>(value, scale, zero); });
      return;
    case Type::kInt8:
      std::transform(values.begin(), values.end(), static_cast<int8_t*>(input.data),
                     [&](float value) { return Quantized<int8_t>(value, scale, zero); });
      return;
  }
  throw Failure(kNotRun, "an input of float32, uint8 or int8 is expected");
}

template <typename Integer>
std::vector<float> Dequantized(const TensorView& tensor, size_t size) {
  const float scale = tensor.scale > 0.0f ? tensor.scale : 1.0f;
  const Integer* values = static_cast<const Integer*>(tensor.data);
  std::vector<float> result(size);
  for (size_t i = 0; i < size; ++i) result[i] = scale * static_cast<float>(values[i] - tensor.zero_point);
  return result;
}

inline std::vector<float> Scores(const TensorView& output) {
  size_t size = 1;
  for (const int extent : output.shape) size *= static_cast<size_t>(extent);
  const float* values = static_cast<const float*>(output.data);
  switch (static_cast<Type>(output.type)) {
    case Type::kFloat32:
      return std::vector<float>(values, values + size);
    case Type::kUInt8:
      return Dequantized<uint8_t>(output, size);
    case Type::kInt8:
      return Dequantized<int8_t>(output, size);
  }
  throw Failure(kNotRun, "an output of float32, uint8 or int8 is expected");
}

// Prints the best classes, the best one first.
inline void PrintBest(const std::vector<float>& scores, const std::vector<std::string>& labels,
                      const std::string& labels_path) {
  constexpr size_t kShown = 5;
  if (scores.size() != labels.size()) {
    throw Failure(kUnreadable, labels_path + ": " + std::to_string(scores.size()) + " classes are expected, " +
                                   std::to_string(labels.size()) + " are there");
  }
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t shown = std::min(kShown, order.size());
  // Equal scores stay in the order of their classes.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  for (size_t i = 0; i < shown; ++i) {
    std::printf("%zu. %s  %.6g\n", i + 1, labels[order[i]].c_str(), static_cast<double>(scores[order[i]]));
  }
}

// Returns the median time of `run`, which returns whether it succeeded.
template <typename Run>
double MedianMilliseconds(const Run& run, int runs) {
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (!run()) throw Failure(kNotRun, "the network cannot be run");
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  const size_t middle = times.size() / 2;
  return times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

}  // namespace bitat

#endif  // BITAT_CLASSIFICATION_H_
