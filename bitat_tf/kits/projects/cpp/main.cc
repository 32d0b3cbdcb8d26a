// Classifies one picture with a .tflite file on the stock TensorFlow Lite library, through its C API, with the delegate of
// bitat-runtime for the binary operators, and says how long that takes.
//
// It ends with 0; with 2 if its arguments are wrong, with 3 if a file cannot be read, with 4 if the network cannot be run.
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bitat_delegate.h"
#include "classification.h"
#include "settings.h"
#include "tflite_c.h"

namespace {

using bitat::Failure;
using bitat::kNotRun;
using bitat::kUnreadable;
using bitat::kWrongArguments;

struct Arguments {
  std::string picture;
  std::string model = "model.tflite";
  std::string labels = "labels.txt";
  std::string kernel = "auto";
  int threads = 1;
  int runs = 50;
};

Arguments ParseArguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      if (!arguments.picture.empty()) {
        throw Failure(kWrongArguments, "one picture is expected. Received: a second one, " + name);
      }
      arguments.picture = name;
      continue;
    }
    std::string* text = name == "--model"    ? &arguments.model
                        : name == "--labels" ? &arguments.labels
                        : name == "--kernel" ? &arguments.kernel
                                             : nullptr;
    int* number = name == "--threads" ? &arguments.threads : name == "--runs" ? &arguments.runs : nullptr;
    if (text == nullptr && number == nullptr) throw Failure(kWrongArguments, "unknown option: " + name);
    if (++i == argc) throw Failure(kWrongArguments, name + " needs a value");
    if (text != nullptr) *text = argv[i];
    if (number != nullptr) *number = bitat::PositiveNumber(name, argv[i]);
  }
  if (arguments.picture.empty()) throw Failure(kWrongArguments, "a picture is expected");
  return arguments;
}

// What an object of the C API is taken down with.
struct Deleter {
  void operator()(TfLiteModel* model) const { TfLiteModelDelete(model); }
  void operator()(TfLiteInterpreterOptions* options) const { TfLiteInterpreterOptionsDelete(options); }
  void operator()(TfLiteInterpreter* interpreter) const { TfLiteInterpreterDelete(interpreter); }
  void operator()(TfLiteDelegate* delegate) const { tflite_plugin_destroy_delegate(delegate); }
};

// Destroyed from the last to the first: the interpreter needs the delegate, the delegate the messages.
struct Network {
  std::string messages;  // what TensorFlow Lite reports
  std::unique_ptr<TfLiteModel, Deleter> model;
  std::unique_ptr<TfLiteDelegate, Deleter> delegate;
  std::unique_ptr<TfLiteInterpreter, Deleter> interpreter;
};

std::string g_refusal;  // of the delegate's constructor, whose callback has no place for a pointer

void Refuse(const char* message) { g_refusal = message; }

void Report(void* messages, const char* format, va_list arguments) {
  char line[1024];
  std::vsnprintf(line, sizeof line, format, arguments);
  *static_cast<std::string*>(messages) += std::string("\n  ") + line;
}

std::unique_ptr<TfLiteDelegate, Deleter> MakeDelegate(const Arguments& arguments) {
  std::string threads = std::to_string(arguments.threads), kernel = arguments.kernel;
  char threads_key[] = "num_threads", kernel_key[] = "kernel";
  char* keys[] = {threads_key, kernel_key};
  char* values[] = {&threads[0], &kernel[0]};
  std::unique_ptr<TfLiteDelegate, Deleter> delegate(tflite_plugin_create_delegate(keys, values, 2, Refuse));
  if (delegate == nullptr) throw Failure(kWrongArguments, "the delegate cannot be made: " + g_refusal);
  return delegate;
}

std::unique_ptr<Network> LoadNetwork(const Arguments& arguments) {
  std::unique_ptr<Network> network(new Network);  // it stays where it is: TensorFlow Lite keeps the place of the messages
  network->model.reset(TfLiteModelCreateFromFile(arguments.model.c_str()));
  if (network->model == nullptr) throw Failure(kUnreadable, arguments.model + ": cannot be read as a .tflite file");
  network->delegate = MakeDelegate(arguments);

  std::unique_ptr<TfLiteInterpreterOptions, Deleter> options(TfLiteInterpreterOptionsCreate());
  TfLiteInterpreterOptionsSetNumThreads(options.get(), arguments.threads);
  TfLiteInterpreterOptionsSetErrorReporter(options.get(), Report, &network->messages);
  TfLiteInterpreterOptionsAddDelegate(options.get(), network->delegate.get());
  network->interpreter.reset(TfLiteInterpreterCreate(network->model.get(), options.get()));
  TfLiteInterpreter* interpreter = network->interpreter.get();
  if (interpreter == nullptr || TfLiteInterpreterAllocateTensors(interpreter) != kTfLiteOk) {
    const std::string reason = bitat_last_error(network->delegate.get());
    throw Failure(kNotRun, arguments.model + ": the network is refused: " + reason + network->messages);
  }
  if (TfLiteInterpreterGetInputTensorCount(interpreter) != 1 || TfLiteInterpreterGetOutputTensorCount(interpreter) != 1) {
    throw Failure(kNotRun, arguments.model + ": a network of one input and one output is expected");
  }
  return network;
}

bitat::TensorView View(const TfLiteTensor* tensor) {
  bitat::TensorView view;
  view.type = TfLiteTensorType(tensor);
  view.data = TfLiteTensorData(tensor);
  for (int32_t i = 0; i < TfLiteTensorNumDims(tensor); ++i) view.shape.push_back(TfLiteTensorDim(tensor, i));
  const TfLiteQuantizationParams quantization = TfLiteTensorQuantizationParams(tensor);
  view.scale = quantization.scale;
  view.zero_point = quantization.zero_point;
  return view;
}

void Run(const Arguments& arguments) {
  const std::vector<std::string> labels = bitat::ReadLabels(arguments.labels);
  const std::unique_ptr<Network> network = LoadNetwork(arguments);
  TfLiteInterpreter* interpreter = network->interpreter.get();
  bitat::FillInput(arguments.picture, View(TfLiteInterpreterGetInputTensor(interpreter, 0)), kScaling, kTakesBytes);
  const auto run = [&] { return TfLiteInterpreterInvoke(interpreter) == kTfLiteOk; };
  // The first run is slower: it packs weights.
  if (!run()) throw Failure(kNotRun, "the network cannot be run: " + network->messages);
  bitat::PrintBest(bitat::Scores(View(TfLiteInterpreterGetOutputTensor(interpreter, 0))), labels, arguments.labels);
  const double median = bitat::MedianMilliseconds(run, arguments.runs);
  std::printf("median of %d runs: %.3f ms, threads: %d, kernel: %s, TensorFlow Lite %s\n", arguments.runs, median,
              arguments.threads, bitat_kernel(network->delegate.get()), TfLiteVersion());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Run(ParseArguments(argc, argv));
    return 0;
  } catch (const Failure& failure) {
    std::fprintf(stderr, "classify: %s\n", failure.what());
    if (failure.code == kWrongArguments) {
      std::fprintf(stderr,
                   "usage: classify PICTURE [--model model.tflite] [--labels labels.txt] [--threads 1] [--runs 50]\n"
                   "                [--kernel auto]\n"
                   "kernels of this processor: %s\n",
                   bitat_kernel_families());
    }
    return failure.code;
  } catch (const std::exception& error) {  // memory that is not there
    std::fprintf(stderr, "classify: %s\n", error.what());
    return kNotRun;
  }
}
