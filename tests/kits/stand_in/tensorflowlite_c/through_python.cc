// In the place of libtensorflowlite_c, which comes with no Python package: hands everything on to the interpreter of such a
// package, so that a program of the C API runs on stock TensorFlow Lite.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdarg>
#include <cstring>
#include <string>
#include <vector>

#include "tflite_c.h"

namespace {

const char kHelper[] = R"(
import numpy as np
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tensorflow import lite
    Interpreter = lite.Interpreter

class Pointer:
    def __init__(self, address):
        self.address = address
    def _get_native_delegate_pointer(self):
        return self.address

class Forward:
    def __init__(self, path, threads, address):
        self.own = Interpreter(path, num_threads=threads, experimental_delegates=[Pointer(address)])
    def allocate(self):
        self.own.allocate_tensors()
    def details(self, which):
        (tensor,) = self.own.get_input_details() if which == "input" else self.own.get_output_details()
        return tensor
    def describe(self, which):
        tensor = self.details(which)
        kind = {"float32": 1, "uint8": 3, "int8": 9}[np.dtype(tensor["dtype"]).name]
        return kind, tensor["shape"].tolist(), *map(float, tensor["quantization"])
    def run(self, content):
        given, taken = self.details("input"), self.details("output")
        self.own.set_tensor(given["index"], np.frombuffer(content, given["dtype"]).reshape(given["shape"]))
        self.own.invoke()
        return self.own.get_tensor(taken["index"]).tobytes()
)";

}  // namespace

struct TfLiteModel {
  std::string path;
};
struct TfLiteInterpreterOptions {
  int threads = 1;
  TfLiteDelegate* delegate = nullptr;
  void (*report)(void*, const char*, va_list) = nullptr;
  void* messages = nullptr;
};
struct TfLiteTensor {
  int type = 0;
  std::vector<int> shape;
  TfLiteQuantizationParams quantization = {0.0f, 0};
  std::vector<char> bytes;
};
struct TfLiteInterpreter {
  TfLiteInterpreterOptions options;
  PyObject* forward = nullptr;
  TfLiteTensor input, output;
};

namespace {

void Report(const TfLiteInterpreterOptions& options, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (options.report != nullptr) options.report(options.messages, format, arguments);
  va_end(arguments);
}

TfLiteStatus Failed(const TfLiteInterpreterOptions& options) {
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* text = PyObject_Str(value);
  Report(options, "%s", PyUnicode_AsUTF8(text));
  return kTfLiteError;
}

bool Describe(TfLiteInterpreter* interpreter, const char* which, TfLiteTensor* tensor) {
  PyObject* description = PyObject_CallMethod(interpreter->forward, "describe", "s", which);
  PyObject* shape;
  double scale, zero_point;
  if (description == nullptr || !PyArg_ParseTuple(description, "iOdd", &tensor->type, &shape, &scale, &zero_point)) return false;
  size_t size = tensor->type == 1 ? 4 : 1;
  tensor->shape.clear();
  for (Py_ssize_t i = 0; i < PyList_Size(shape); ++i) {
    tensor->shape.push_back(static_cast<int>(PyLong_AsLong(PyList_GetItem(shape, i))));
    size *= static_cast<size_t>(tensor->shape.back());
  }
  tensor->quantization = {static_cast<float>(scale), static_cast<int32_t>(zero_point)};
  tensor->bytes.resize(size);
  return true;
}

}  // namespace

extern "C" {

const char* TfLiteVersion(void) { return "of Python"; }

TfLiteModel* TfLiteModelCreateFromFile(const char* path) { return new TfLiteModel{path}; }
void TfLiteModelDelete(TfLiteModel* model) { delete model; }

TfLiteInterpreterOptions* TfLiteInterpreterOptionsCreate(void) { return new TfLiteInterpreterOptions; }
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions* options) { delete options; }
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions* options, int32_t threads) { options->threads = threads; }
void TfLiteInterpreterOptionsAddDelegate(TfLiteInterpreterOptions* options, TfLiteDelegate* delegate) {
  options->delegate = delegate;
}
void TfLiteInterpreterOptionsSetErrorReporter(TfLiteInterpreterOptions* options,
                                              void (*report)(void*, const char*, va_list), void* messages) {
  options->report = report;
  options->messages = messages;
}

TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel* model, const TfLiteInterpreterOptions* options) {
  if (!Py_IsInitialized()) Py_Initialize();
  PyObject* names = PyModule_GetDict(PyImport_AddModule("__main__"));
  TfLiteInterpreter* interpreter = new TfLiteInterpreter;
  interpreter->options = *options;
  if (PyRun_String(kHelper, Py_file_input, names, names) != nullptr) {
    const long long address = static_cast<long long>(reinterpret_cast<intptr_t>(options->delegate));
    interpreter->forward = PyObject_CallFunction(PyDict_GetItemString(names, "Forward"), "siL", model->path.c_str(),
                                                 options->threads, address);
  }
  if (interpreter->forward != nullptr) return interpreter;
  Failed(*options);
  delete interpreter;
  return nullptr;
}
void TfLiteInterpreterDelete(TfLiteInterpreter* interpreter) {
  Py_XDECREF(interpreter->forward);
  delete interpreter;
}
TfLiteStatus TfLiteInterpreterAllocateTensors(TfLiteInterpreter* interpreter) {
  const bool good = PyObject_CallMethod(interpreter->forward, "allocate", nullptr) != nullptr &&
                    Describe(interpreter, "input", &interpreter->input) && Describe(interpreter, "output", &interpreter->output);
  return good ? kTfLiteOk : Failed(interpreter->options);
}
TfLiteStatus TfLiteInterpreterInvoke(TfLiteInterpreter* interpreter) {
  const std::vector<char>& given = interpreter->input.bytes;
  PyObject* result =
      PyObject_CallMethod(interpreter->forward, "run", "y#", given.data(), static_cast<Py_ssize_t>(given.size()));
  if (result == nullptr) return Failed(interpreter->options);
  std::memcpy(interpreter->output.bytes.data(), PyBytes_AsString(result), interpreter->output.bytes.size());
  Py_DECREF(result);
  return kTfLiteOk;
}
int32_t TfLiteInterpreterGetInputTensorCount(const TfLiteInterpreter*) { return 1; }
int32_t TfLiteInterpreterGetOutputTensorCount(const TfLiteInterpreter*) { return 1; }
TfLiteTensor* TfLiteInterpreterGetInputTensor(const TfLiteInterpreter* interpreter, int32_t) {
  return const_cast<TfLiteTensor*>(&interpreter->input);
}
const TfLiteTensor* TfLiteInterpreterGetOutputTensor(const TfLiteInterpreter* interpreter, int32_t) {
  return &interpreter->output;
}
TfLiteType TfLiteTensorType(const TfLiteTensor* tensor) { return tensor->type; }
int32_t TfLiteTensorNumDims(const TfLiteTensor* tensor) { return static_cast<int32_t>(tensor->shape.size()); }
int32_t TfLiteTensorDim(const TfLiteTensor* tensor, int32_t index) { return tensor->shape[static_cast<size_t>(index)]; }
void* TfLiteTensorData(const TfLiteTensor* tensor) { return const_cast<char*>(tensor->bytes.data()); }
TfLiteQuantizationParams TfLiteTensorQuantizationParams(const TfLiteTensor* tensor) { return tensor->quantization; }

}  // extern "C"
