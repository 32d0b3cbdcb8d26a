// A delegate that knows its options and nothing else.
#include <cstring>
#include <string>

#include "bitat_delegate.h"

struct TfLiteDelegate {
  std::string kernel = "portable", threads = "0", error;
};

extern "C" {

struct TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  TfLiteDelegate* delegate = new TfLiteDelegate;
  for (size_t i = 0; i < count; ++i) {
    if (std::strcmp(keys[i], "num_threads") == 0 && std::strspn(values[i], "0123456789") == std::strlen(values[i])) {
      delegate->threads = values[i];
    } else if (std::strcmp(keys[i], "kernel") == 0 && std::strcmp(values[i], "neon") != 0) {
      if (std::strcmp(values[i], "auto") != 0) delegate->kernel = values[i];
    } else {
      if (report != nullptr) report((std::string("the stand-in has no option ") + keys[i] + "=" + values[i]).c_str());
      delete delegate;
      return nullptr;
    }
  }
  return delegate;
}
void tflite_plugin_destroy_delegate(struct TfLiteDelegate* delegate) { delete delegate; }
const char* bitat_version(void) { return "0.0.0"; }
const char* bitat_kernel_families(void) { return "portable,fast"; }
const char* bitat_kernel(const struct TfLiteDelegate* delegate) { return delegate->kernel.c_str(); }
const char* bitat_last_error(const struct TfLiteDelegate* delegate) { return delegate->error.c_str(); }
size_t bitat_profile(const struct TfLiteDelegate*, char*, size_t) { return 0; }
void bitat_reset_profile(struct TfLiteDelegate*) {}

}  // extern "C"
