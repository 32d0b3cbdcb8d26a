// Classifies one picture with a .tflite file of larq-compute-engine and says how long that takes.
//
// It ends with 0; with 2 if its arguments are wrong, with 3 if a file cannot be read, with 4 if the network cannot be run.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "classification.h"
#include "kernel.h"
#include "larq_compute_engine/tflite/kernels/lce_ops_register.h"
#include "tensorflow/lite/interpreter.h"
#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model.h"

namespace {

using bitat::Failure;
using bitat::kNotRun;
using bitat::kUnreadable;

const char kUsage[] =
    "usage: classify PICTURE [--model model.tflite] [--labels labels.txt] [--threads 1] [--runs 50]\n"
    "                [--kernel default|indirect|reference] [--xnnpack]\n";

// The file, the operators and the interpreter: they must live equally long.
struct Network {
  std::unique_ptr<tflite::FlatBufferModel> model;
  std::unique_ptr<tflite::ops::builtin::BuiltinOpResolverWithoutDefaultDelegates> operators;
  std::unique_ptr<tflite::Interpreter> interpreter;
};

Network LoadNetwork(const bitat::Arguments& options) {
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

bitat::TensorView View(TfLiteTensor* tensor) {
  bitat::TensorView view;
  view.type = tensor->type;
  view.data = tensor->data.f;
  if (tensor->dims != nullptr) view.shape.assign(tensor->dims->data, tensor->dims->data + tensor->dims->size);
  view.scale = tensor->params.scale;
  view.zero_point = tensor->params.zero_point;
  return view;
}

void Run(const bitat::Arguments& options) {
  const std::vector<std::string> labels = bitat::ReadLabels(options.labels);
  Network network = LoadNetwork(options);
  tflite::Interpreter* interpreter = network.interpreter.get();
  bitat::FillInput(options.picture, View(interpreter->input_tensor(0)));
  const auto run = [&] { return interpreter->Invoke() == kTfLiteOk; };
  // The first run is slower: it packs weights.
  if (!run()) throw Failure(kNotRun, "the network cannot be run");
  bitat::PrintBest(bitat::Scores(View(interpreter->output_tensor(0))), labels, options.labels);
  const double median = bitat::MedianMilliseconds(run, options.runs);
  std::printf("median of %d runs: %.3f ms, threads: %d, kernel: %s\n", options.runs, median, options.threads,
              options.kernel.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const bitat::ArgumentKinds kinds = {{"default", "indirect", "reference"}, kKernel, /*xnnpack=*/true};
  return bitat::RunProgram(kUsage, [&] { Run(bitat::ParseArguments(argc, argv, kinds)); });
}
