// Classifies one picture with a .tflite file of larq-compute-engine and says how long that takes.
//
// It ends with 0; with 2 if its arguments are wrong, with 3 if a file cannot be read, with 4 if the network cannot be run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "larq_compute_engine/tflite/kernels/lce_ops_register.h"
#include "pictures.h"
#include "preprocess.h"
#include "settings.h"
#include "tensorflow/lite/interpreter.h"
#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model.h"

namespace {

constexpr int kWrongArguments = 2, kUnreadable = 3, kNotRun = 4;
constexpr size_t kShown = 5;
const char kUsage[] =
    "usage: classify PICTURE [--model model.tflite] [--labels labels.txt] [--threads 1] [--runs 50]\n"
    "                [--kernel default|indirect|reference] [--xnnpack]\n";

struct Failure : std::runtime_error {
  Failure(int failure_code, const std::string& message) : std::runtime_error(message), code(failure_code) {}
  int code;
};

struct Options {
  std::string picture;
  std::string model = "model.tflite";
  std::string labels = "labels.txt";
  std::string kernel = kKernel;
  int threads = 1;
  int runs = 50;
  bool xnnpack = false;
};

int PositiveNumber(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || number < 1 || number > 1000000) {
    throw Failure(kWrongArguments, name + " must be a whole number from 1 to 1000000. Received: " + text);
  }
  return static_cast<int>(number);
}

Options ParseArguments(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      if (!options.picture.empty()) throw Failure(kWrongArguments, "one picture is expected. Received: a second one, " + name);
      options.picture = name;
      continue;
    }
    if (name == "--xnnpack") {
      options.xnnpack = true;
      continue;
    }
    const bool known = name == "--model" || name == "--labels" || name == "--threads" || name == "--runs" || name == "--kernel";
    if (!known) throw Failure(kWrongArguments, "unknown option: " + name);
    if (++i == argc) throw Failure(kWrongArguments, name + " needs a value");
    const std::string value = argv[i];
    if (name == "--model") options.model = value;
    if (name == "--labels") options.labels = value;
    if (name == "--threads") options.threads = PositiveNumber(name, value);
    if (name == "--runs") options.runs = PositiveNumber(name, value);
    if (name == "--kernel") options.kernel = value;
  }
  if (options.picture.empty()) throw Failure(kWrongArguments, "a picture is expected");
  if (options.kernel != "default" && options.kernel != "indirect" && options.kernel != "reference") {
    throw Failure(kWrongArguments, "--kernel must be default, indirect or reference. Received: " + options.kernel);
  }
  return options;
}

std::vector<std::string> ReadLabels(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Failure(kUnreadable, path + ": cannot be opened");
  std::vector<std::string> labels;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    labels.push_back(line);
  }
  return labels;
}

// The file, the operators and the interpreter: they must live equally long.
struct Network {
  std::unique_ptr<tflite::FlatBufferModel> model;
  std::unique_ptr<tflite::ops::builtin::BuiltinOpResolverWithoutDefaultDelegates> operators;
  std::unique_ptr<tflite::Interpreter> interpreter;
};

Network LoadNetwork(const Options& options) {
  Network network;
  network.model = tflite::FlatBufferModel::BuildFromFile(options.model.c_str());
  if (network.model == nullptr) throw Failure(kUnreadable, options.model + ": cannot be read as a .tflite file");
  // The default delegate is XNNPACK, which takes over float operators only.
  if (options.xnnpack) {
    network.operators = std::make_unique<tflite::ops::builtin::BuiltinOpResolver>();
  } else {
    network.operators = std::make_unique<tflite::ops::builtin::BuiltinOpResolverWithoutDefaultDelegates>();
  }
  compute_engine::tflite::RegisterLCECustomOps(network.operators.get(), options.kernel == "reference",
                                               options.kernel == "indirect");
  tflite::InterpreterBuilder builder(*network.model, *network.operators);
  if (builder(&network.interpreter, options.threads) != kTfLiteOk || network.interpreter == nullptr) {
    throw Failure(kNotRun, options.model + ": no interpreter can be built for it");
  }
  if (network.interpreter->AllocateTensors() != kTfLiteOk) {
    throw Failure(kNotRun, options.model + ": the interpreter refuses it. A grouped convolution needs --kernel indirect");
  }
  if (network.interpreter->inputs().size() != 1 || network.interpreter->outputs().size() != 1) {
    throw Failure(kNotRun, options.model + ": a network of one input and one output is expected");
  }
  return network;
}

void FillInput(const std::string& path, TfLiteTensor* input) {
  const TfLiteIntArray* shape = input->dims;
  if (shape == nullptr || shape->size != 4 || shape->data[0] != 1 || (shape->data[3] != 1 && shape->data[3] != 3)) {
    throw Failure(kNotRun, "an input of shape 1 x height x width x 1 or 3 is expected");
  }
  std::vector<float> values;
  try {
    const bitat::Image picture = bitat::ReadPicture(path);
    values = bitat::Scaled(bitat::Prepare(picture, shape->data[2], shape->data[1], shape->data[3]), kScaling);
  } catch (const std::exception& error) {
    throw Failure(kUnreadable, error.what());
  }
  const float scale = kTakesBytes ? 1.0f : input->params.scale;
  const int32_t zero = !kTakesBytes ? input->params.zero_point : input->type == kTfLiteInt8 ? -128 : 0;
  switch (input->type) {
    case kTfLiteFloat32:
      std::copy(values.begin(), values.end(), input->data.f);
      break;
    case kTfLiteUInt8:
      std::transform(values.begin(), values.end(), input->data.uint8,
                     [&](float value) { return bitat::Quantized<uint8_t>(value, scale, zero); });
      break;
    case kTfLiteInt8:
      std::transform(values.begin(), values.end(), input->data.int8,
                     [&](float value) { return bitat::Quantized<int8_t>(value, scale, zero); });
      break;
    default:
      throw Failure(kNotRun, "an input of float32, uint8 or int8 is expected");
  }
}

std::vector<float> Scores(const TfLiteTensor* output) {
  size_t size = 1;
  for (int i = 0; output->dims != nullptr && i < output->dims->size; ++i) size *= static_cast<size_t>(output->dims->data[i]);
  std::vector<float> scores(size);
  const float scale = output->params.scale > 0.0f ? output->params.scale : 1.0f;
  const int32_t zero = output->params.zero_point;
  for (size_t i = 0; i < size; ++i) {
    switch (output->type) {
      case kTfLiteFloat32:
        scores[i] = output->data.f[i];
        break;
      case kTfLiteUInt8:
        scores[i] = scale * static_cast<float>(output->data.uint8[i] - zero);
        break;
      case kTfLiteInt8:
        scores[i] = scale * static_cast<float>(output->data.int8[i] - zero);
        break;
      default:
        throw Failure(kNotRun, "an output of float32, uint8 or int8 is expected");
    }
  }
  return scores;
}

void PrintBest(const std::vector<float>& scores, const std::vector<std::string>& labels) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t shown = std::min(kShown, order.size());
  // Equal scores stay in the order of their classes.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  for (size_t i = 0; i < shown; ++i) {
    std::printf("%zu. %s  %.6g\n", i + 1, labels[order[i]].c_str(), static_cast<double>(scores[order[i]]));
  }
}

double MedianMilliseconds(tflite::Interpreter* interpreter, int runs) {
  std::vector<double> times;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    if (interpreter->Invoke() != kTfLiteOk) throw Failure(kNotRun, "the network cannot be run");
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  const size_t middle = times.size() / 2;
  return times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

void Run(const Options& options) {
  const std::vector<std::string> labels = ReadLabels(options.labels);
  Network network = LoadNetwork(options);
  tflite::Interpreter* interpreter = network.interpreter.get();
  FillInput(options.picture, interpreter->input_tensor(0));
  // The first run is slower: it packs weights.
  if (interpreter->Invoke() != kTfLiteOk) throw Failure(kNotRun, "the network cannot be run");
  const std::vector<float> scores = Scores(interpreter->output_tensor(0));
  if (scores.size() != labels.size()) {
    throw Failure(kUnreadable, options.labels + ": " + std::to_string(scores.size()) + " classes are expected, " +
                                   std::to_string(labels.size()) + " are there");
  }
  PrintBest(scores, labels);
  const double median = MedianMilliseconds(interpreter, options.runs);
  std::printf("median of %d runs: %.3f ms, threads: %d, kernel: %s\n", options.runs, median, options.threads,
              options.kernel.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Run(ParseArguments(argc, argv));
    return 0;
  } catch (const Failure& failure) {
    std::fprintf(stderr, "classify: %s\n", failure.what());
    if (failure.code == kWrongArguments) std::fputs(kUsage, stderr);
    return failure.code;
  } catch (const std::exception& error) {  // memory that is not there
    std::fprintf(stderr, "classify: %s\n", error.what());
    return kNotRun;
  }
}
