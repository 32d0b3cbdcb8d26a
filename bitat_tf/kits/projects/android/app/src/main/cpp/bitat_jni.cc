// What bitat.runtime.BitatDelegate calls. Plain C in C++ dress: only the delegate needs a C++ library.
#include <jni.h>
#include <string.h>

#include "bitat_delegate.h"

namespace {

constexpr jsize kMostOptions = 4;  // the delegate has no more

// Why the last delegate of this thread could not be made: the callback of the delegate has no place for a pointer.
thread_local char t_refusal[512];

void Refuse(const char* message) {
  strncpy(t_refusal, message, sizeof t_refusal - 1);
  t_refusal[sizeof t_refusal - 1] = '\0';
}

void Throw(JNIEnv* env, const char* class_name, const char* message) {
  jclass kind = env->FindClass(class_name);
  if (kind != nullptr) env->ThrowNew(kind, message);  // if not, FindClass has thrown already
}

// The texts of a Java array while it lives; `complete` says whether all of them are there.
class Texts {
 public:
  Texts(JNIEnv* env, jobjectArray array, jsize count) : env_(env) {
    for (; size_ < count; ++size_) {
      strings_[size_] = static_cast<jstring>(env->GetObjectArrayElement(array, size_));
      const char* value = strings_[size_] == nullptr ? nullptr : env->GetStringUTFChars(strings_[size_], nullptr);
      if (value == nullptr) return;
      values_[size_] = const_cast<char*>(value);
    }
    complete = true;
  }
  // Nothing but these two functions may be called while an exception is on its way.
  ~Texts() {
    for (jsize i = 0; i < size_; ++i) {
      env_->ReleaseStringUTFChars(strings_[i], values_[i]);
      env_->DeleteLocalRef(strings_[i]);
    }
  }
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;

  char** values() { return values_; }
  bool complete = false;

 private:
  JNIEnv* env_;
  jsize size_ = 0;
  jstring strings_[kMostOptions] = {};
  char* values_[kMostOptions] = {};
};

TfLiteDelegate* DelegateOf(jlong handle) { return reinterpret_cast<TfLiteDelegate*>(handle); }

}  // namespace

extern "C" {

// Returns the delegate, as org.tensorflow.lite.Delegate hands it to the interpreter.
JNIEXPORT jlong JNICALL Java_bitat_runtime_BitatNative_create(JNIEnv* env, jobject, jobjectArray keys, jobjectArray values) {
  const jsize count = env->GetArrayLength(keys);
  if (count != env->GetArrayLength(values) || count > kMostOptions) {
    Throw(env, "java/lang/IllegalArgumentException", "the options of the delegate must be at most 4 pairs of key and value");
    return 0;
  }
  Texts key_texts(env, keys, count), value_texts(env, values, count);
  if (!key_texts.complete || !value_texts.complete) {
    if (!env->ExceptionCheck()) Throw(env, "java/lang/NullPointerException", "an option of the delegate is null");
    return 0;
  }
  Refuse("no reason was given");
  TfLiteDelegate* delegate =
      tflite_plugin_create_delegate(key_texts.values(), value_texts.values(), static_cast<size_t>(count), Refuse);
  if (delegate == nullptr) Throw(env, "java/lang/IllegalArgumentException", t_refusal);
  return reinterpret_cast<jlong>(delegate);
}

JNIEXPORT void JNICALL Java_bitat_runtime_BitatNative_destroy(JNIEnv*, jobject, jlong handle) {
  tflite_plugin_destroy_delegate(DelegateOf(handle));
}

JNIEXPORT jstring JNICALL Java_bitat_runtime_BitatNative_kernel(JNIEnv* env, jobject, jlong handle) {
  return env->NewStringUTF(bitat_kernel(DelegateOf(handle)));
}

JNIEXPORT jstring JNICALL Java_bitat_runtime_BitatNative_lastError(JNIEnv* env, jobject, jlong handle) {
  return env->NewStringUTF(bitat_last_error(DelegateOf(handle)));
}

JNIEXPORT jstring JNICALL Java_bitat_runtime_BitatNative_version(JNIEnv* env, jobject) {
  return env->NewStringUTF(bitat_version());
}

}  // extern "C"
