// In the place of libtensorflowlite_c: an interpreter whose output is the first values of its input, for a model that is a line
// of text (see write_stand_in_model of the tests). It writes its input and the number of threads to the file STAND_IN_DUMP.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "common.h"

struct TfLiteModel {
  std::string content;
};

extern "C" {

const char* TfLiteVersion(void) { return "0.0.0"; }

TfLiteModel* TfLiteModelCreateFromFile(const char* path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word) || word != "STANDIN") return nullptr;
  std::string rest;
  std::getline(file, rest);
  return new TfLiteModel{rest};
}
void TfLiteModelDelete(TfLiteModel* model) { delete model; }

TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel* model, const TfLiteInterpreterOptions* options) {
  TfLiteInterpreter* interpreter = new TfLiteInterpreter;
  interpreter->options = *options;
  TfLiteTensor &input = interpreter->input, &output = interpreter->output;
  int height, width, channels, classes;
  std::sscanf(model->content.c_str(), "%d %f %d %d %d %d %d %f %d %d", &input.type, &input.quantization.scale,
              &input.quantization.zero_point, &height, &width, &channels, &output.type, &output.quantization.scale,
              &output.quantization.zero_point, &classes);
  input.shape = {1, height, width, channels};
  output.shape = {1, classes};
  if (options->delegate == nullptr || height == 0) {
    Report(*options, "%s is no height, says line %d", "0", 7);
    delete interpreter;
    return nullptr;
  }
  return interpreter;
}
void TfLiteInterpreterDelete(TfLiteInterpreter* interpreter) { delete interpreter; }
TfLiteStatus TfLiteInterpreterAllocateTensors(TfLiteInterpreter* interpreter) {
  interpreter->input.Allocate();
  interpreter->output.Allocate();
  return kTfLiteOk;
}
TfLiteStatus TfLiteInterpreterInvoke(TfLiteInterpreter* interpreter) {
  if (interpreter->input.bytes.empty()) return kTfLiteError;  // not allocated
  const std::vector<char>& given = interpreter->input.bytes;
  std::memcpy(interpreter->output.bytes.data(), given.data(), interpreter->output.bytes.size());
  if (const char* path = std::getenv("STAND_IN_DUMP")) {
    std::ofstream file(path, std::ios::binary);
    file << interpreter->options.threads << '\n';
    file.write(given.data(), static_cast<std::streamsize>(given.size()));
  }
  return kTfLiteOk;
}

}  // extern "C"
