// In the place of libtensorflowlite_c, which comes with no Python package: hands everything on to the interpreter of such a
// package, so that a program of the C API runs on stock TensorFlow Lite.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>

#include "common.h"

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

namespace {

PyObject* ForwardOf(TfLiteInterpreter* interpreter) { return static_cast<PyObject*>(interpreter->own); }

TfLiteStatus Failed(const TfLiteInterpreterOptions& options) {
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* text = PyObject_Str(value);
  Report(options, "%s", PyUnicode_AsUTF8(text));
  return kTfLiteError;
}

bool Describe(TfLiteInterpreter* interpreter, const char* which, TfLiteTensor* tensor) {
  PyObject* description = PyObject_CallMethod(ForwardOf(interpreter), "describe", "s", which);
  PyObject* shape;
  double scale, zero_point;
  if (description == nullptr || !PyArg_ParseTuple(description, "iOdd", &tensor->type, &shape, &scale, &zero_point)) return false;
  tensor->shape.clear();
  for (Py_ssize_t i = 0; i < PyList_Size(shape); ++i) {
    tensor->shape.push_back(static_cast<int>(PyLong_AsLong(PyList_GetItem(shape, i))));
  }
  tensor->quantization = {static_cast<float>(scale), static_cast<int32_t>(zero_point)};
  tensor->Allocate();
  return true;
}

}  // namespace

extern "C" {

const char* TfLiteVersion(void) { return "of Python"; }

TfLiteModel* TfLiteModelCreateFromFile(const char* path) { return new TfLiteModel{path}; }
void TfLiteModelDelete(TfLiteModel* model) { delete model; }

TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel* model, const TfLiteInterpreterOptions* options) {
  if (!Py_IsInitialized()) Py_Initialize();
  PyObject* names = PyModule_GetDict(PyImport_AddModule("__main__"));
  TfLiteInterpreter* interpreter = new TfLiteInterpreter;
  interpreter->options = *options;
  if (PyRun_String(kHelper, Py_file_input, names, names) != nullptr) {
    const long long address = static_cast<long long>(reinterpret_cast<intptr_t>(options->delegate));
    interpreter->own = PyObject_CallFunction(PyDict_GetItemString(names, "Forward"), "siL", model->path.c_str(),
                                                 options->threads, address);
  }
  if (interpreter->own != nullptr) return interpreter;
  Failed(*options);
  delete interpreter;
  return nullptr;
}
void TfLiteInterpreterDelete(TfLiteInterpreter* interpreter) {
  Py_XDECREF(ForwardOf(interpreter));
  delete interpreter;
}
TfLiteStatus TfLiteInterpreterAllocateTensors(TfLiteInterpreter* interpreter) {
  const bool good = PyObject_CallMethod(ForwardOf(interpreter), "allocate", nullptr) != nullptr &&
                    Describe(interpreter, "input", &interpreter->input) && Describe(interpreter, "output", &interpreter->output);
  return good ? kTfLiteOk : Failed(interpreter->options);
}
TfLiteStatus TfLiteInterpreterInvoke(TfLiteInterpreter* interpreter) {
  const std::vector<char>& given = interpreter->input.bytes;
  PyObject* result =
      PyObject_CallMethod(ForwardOf(interpreter), "run", "y#", given.data(), static_cast<Py_ssize_t>(given.size()));
  if (result == nullptr) return Failed(interpreter->options);
  std::memcpy(interpreter->output.bytes.data(), PyBytes_AsString(result), interpreter->output.bytes.size());
  Py_DECREF(result);
  return kTfLiteOk;
}

}  // extern "C"
