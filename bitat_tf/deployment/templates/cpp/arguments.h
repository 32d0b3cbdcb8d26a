// The arguments of the program.
#ifndef BITAT_ARGUMENTS_H_
#define BITAT_ARGUMENTS_H_

#include <algorithm>
#include <string>
#include <vector>

#include "classification.h"

namespace bitat {

struct Arguments {
  std::string picture;
  std::string model = "model.tflite";
  std::string labels = "labels.txt";
  std::string kernel;
  int threads = 1;
  int runs = 50;
  bool xnnpack = false;
};

// Which arguments a program takes besides those that all take.
struct ArgumentKinds {
  std::vector<std::string> kernels;  // what --kernel may be
  std::string kernel;                // what it is if it is not given
  bool xnnpack = false;              // whether there is a switch --xnnpack
};

inline std::string Listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  return text;
}

inline Arguments ParseArguments(int argc, char** argv, const ArgumentKinds& kinds) {
  Arguments arguments;
  arguments.kernel = kinds.kernel;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      if (!arguments.picture.empty()) {
        throw Failure(kWrongArguments, "one picture is expected. Received: a second one, " + name);
      }
      arguments.picture = name;
      continue;
    }
    if (kinds.xnnpack && name == "--xnnpack") {
      arguments.xnnpack = true;
      continue;
    }
    const bool known = name == "--model" || name == "--labels" || name == "--threads" || name == "--runs" || name == "--kernel";
    if (!known) throw Failure(kWrongArguments, "unknown option: " + name);
    if (++i == argc) throw Failure(kWrongArguments, name + " needs a value");
    const std::string value = argv[i];
    if (name == "--model") arguments.model = value;
    if (name == "--labels") arguments.labels = value;
    if (name == "--threads") arguments.threads = PositiveNumber(name, value);
    if (name == "--runs") arguments.runs = PositiveNumber(name, value);
    if (name == "--kernel") arguments.kernel = value;
  }
  if (arguments.picture.empty()) throw Failure(kWrongArguments, "a picture is expected");
  if (std::find(kinds.kernels.begin(), kinds.kernels.end(), arguments.kernel) == kinds.kernels.end()) {
    throw Failure(kWrongArguments, "--kernel must be " + Listed(kinds.kernels) + ". Received: " + arguments.kernel);
  }
  return arguments;
}

}  // namespace bitat

#endif  // BITAT_ARGUMENTS_H_
