// In the place of TensorFlow Lite's header of this name.
#pragma once
#include <string>

namespace tflite {

class OpResolver {
 public:
  virtual ~OpResolver() = default;
  std::string kernel;  // empty: larq-compute-engine's operators are not there
  bool xnnpack = false;
};
class MutableOpResolver : public OpResolver {};

namespace ops {
namespace builtin {
class BuiltinOpResolverWithoutDefaultDelegates : public MutableOpResolver {};
class BuiltinOpResolver : public BuiltinOpResolverWithoutDefaultDelegates {
 public:
  BuiltinOpResolver() { xnnpack = true; }
};
}  // namespace builtin
}  // namespace ops
}  // namespace tflite
