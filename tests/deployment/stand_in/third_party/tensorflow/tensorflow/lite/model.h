// In the place of TensorFlow Lite's header of this name. Its "models" are lines of text: STANDIN, whether it is grouped,
// then type, scale, zero point of the input, height, width, channels, then type, scale, zero point of the output, classes.
#pragma once
#include <fstream>
#include <memory>
#include <string>

namespace tflite {
namespace impl {

class FlatBufferModel {
 public:
  static std::unique_ptr<FlatBufferModel> BuildFromFile(const char* path) {
    std::ifstream file(path);
    std::unique_ptr<FlatBufferModel> model(new FlatBufferModel);
    std::string mark;
    file >> mark >> model->grouped >> model->input_type >> model->input_scale >> model->input_zero >> model->height >>
        model->width >> model->channels >> model->output_type >> model->output_scale >> model->output_zero >> model->classes;
    if (!file || mark != "STANDIN") return nullptr;
    return model;
  }
  bool grouped = false;
  int input_type = 0, input_zero = 0, height = 0, width = 0, channels = 0, output_type = 0, output_zero = 0, classes = 0;
  float input_scale = 0, output_scale = 0;
};

}  // namespace impl
using FlatBufferModel = impl::FlatBufferModel;
}  // namespace tflite
