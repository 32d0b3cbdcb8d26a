// The delegate on several threads, in several interpreters at once, and in a child process. Built with ThreadSanitizer it holds
// that no two threads meet in memory without order.
//
//   threads_test RUNS     many runs on 1 to 4 threads, alone and side by side, sharing a delegate and not
//   threads_test --fork   a child process uses what its parent has used on several threads, and the parent goes on
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "host.h"

namespace {

using bitat_test::Host;
using Bytes = std::vector<std::uint8_t>;

constexpr int kSize = 20, kChannels = 96;

void fail(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(1);
}

struct DelegateDeleter {
  void operator()(TfLiteDelegate* delegate) const { tflite_plugin_destroy_delegate(delegate); }
};
using DelegatePointer = std::unique_ptr<TfLiteDelegate, DelegateDeleter>;

DelegatePointer make_delegate(const std::string& kernel, int threads) {
  const std::string number = std::to_string(threads);
  char* keys[] = {const_cast<char*>("kernel"), const_cast<char*>("num_threads")};
  char* values[] = {const_cast<char*>(kernel.c_str()), const_cast<char*>(number.c_str())};
  DelegatePointer delegate(tflite_plugin_create_delegate(keys, values, 2, [](const char* text) { fail(text); }));
  if (delegate == nullptr) fail("there is no delegate");
  return delegate;
}

// A network of every operator: quantize, a float convolution with a shortcut, a PReLU and a quantizer behind it, one with bits, a
// pooling, one with int8, one with padding of zeros, and both conversions back.
class Network {
 public:
  explicit Network(TfLiteDelegate* delegate) : host_(1) {
    const int x = input_ = host_.tensor(kTfLiteFloat32, {1, kSize, kSize, kChannels});
    const int y = float_convolution(quantize(x), 1);
    const int sum = host_.tensor(kTfLiteFloat32, {1, kSize, kSize, kChannels});
    host_.builtin(kTfLiteBuiltinAdd, {y, x}, sum, &add_);
    const int activated = host_.tensor(kTfLiteFloat32, {1, kSize, kSize, kChannels});
    host_.builtin(kTfLiteBuiltinPrelu, {sum, constant(kTfLiteFloat32, {1, 1, kChannels})}, activated);
    const int bits = convolution(quantize(activated), kTfLiteInt32, 3, 1);
    const int half = kSize / 2;
    const int pooled = host_.tensor(kTfLiteInt32, {1, half, half, kChannels / 32});
    host_.custom("LceBMaxPool2d", {bits}, pooled,
                 {{"filter_height", 2}, {"filter_width", 2}, {"stride_height", 2}, {"stride_width", 2}, {"padding", 0}});
    outputs_ = {activated, convolution(pooled, kTfLiteInt8, 3, 1), float_convolution(bits, 0)};
    outputs_.push_back(host_.tensor(kTfLiteFloat32, {1, half, half, kChannels}));
    host_.custom("LceDequantize", {pooled}, outputs_.back());
    for (int output : outputs_) host_.output(output);
    if (!host_.apply(delegate)) fail(host_.message());
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    for (int i = 0; i < kSize * kSize * kChannels; ++i) host_.data<float>(input_)[i] = normal(generator);
  }

  std::vector<Bytes> run() {
    if (!host_.run()) fail(host_.message());
    std::vector<Bytes> results;
    for (int output : outputs_) results.push_back(host_.bytes(output));
    return results;
  }

 private:
  int constant(TfLiteType type, const std::vector<int>& shape) {
    std::size_t count = 1;
    for (int size : shape) count *= static_cast<std::size_t>(size);
    std::vector<std::uint32_t> words(count);
    std::normal_distribution<float> normal;
    for (std::uint32_t& word : words) {
      const float number = normal(generator_);
      std::memcpy(&word, &number, sizeof(word));
      if (type == kTfLiteInt32) word = static_cast<std::uint32_t>(generator_());
    }
    return host_.tensor(type, shape, words.data());
  }

  int quantize(int x) {
    const int bits = host_.tensor(kTfLiteInt32, {1, kSize, kSize, kChannels / 32});
    host_.custom("LceQuantize", {x}, bits);
    return bits;
  }

  int float_convolution(int bits, int pad) { return convolution(bits, kTfLiteFloat32, 3, pad); }

  int convolution(int bits, TfLiteType type, int kernel, int pad) {
    const int weights = constant(kTfLiteInt32, {kChannels, kernel, kernel, kChannels / 32});
    int multiplier = -1, bias = -1, thresholds = -1;
    if (type == kTfLiteInt32) {
      const std::vector<std::int32_t> values(kChannels, kChannels * kernel * kernel / 2);
      thresholds = host_.tensor(kTfLiteInt32, {kChannels}, values.data());
    } else {
      multiplier = constant(kTfLiteFloat32, {kChannels}), bias = constant(kTfLiteFloat32, {kChannels});
    }
    const TfLiteIntArray& shape = *host_.at(bits).dims;
    const int channels = type == kTfLiteInt32 ? kChannels / 32 : kChannels;
    const int output = host_.tensor(type, {1, shape.data[1], shape.data[2], channels});
    if (type == kTfLiteInt8) host_.quantize(output, 0.5f, 3);
    host_.custom("LceBconv2d", {bits, weights, multiplier, bias, thresholds}, output,
                 {{"channels_in", kChannels},
                  {"dilation_height_factor", 1},
                  {"dilation_width_factor", 1},
                  {"fused_activation_function", 0},
                  {"pad_values", pad},
                  {"padding", 0},
                  {"stride_height", 1},
                  {"stride_width", 1}});
    return output;
  }

  std::mt19937 generator_{0};
  TfLiteAddParams add_{kTfLiteActNone, false};
  Host host_;
  int input_ = 0;
  std::vector<int> outputs_;
};

void check(Network& network, const std::vector<Bytes>& expected, int runs, const std::string& text) {
  for (int run = 0; run < runs; ++run) {
    if (network.run() != expected) fail("other results: " + text);
  }
}

std::vector<std::string> families() {
  std::vector<std::string> result(1);
  for (const char* c = bitat_kernel_families(); *c != 0; ++c) {
    if (*c == ',') {
      result.emplace_back();
    } else {
      result.back() += *c;
    }
  }
  return result;
}

std::vector<Bytes> expected_results() {
  const DelegatePointer delegate = make_delegate("portable", 1);
  return Network(delegate.get()).run();
}

void one_after_the_other(const std::vector<Bytes>& expected, int runs) {
  for (const std::string& family : families()) {
    for (int threads = 1; threads <= 4; ++threads) {
      const DelegatePointer delegate = make_delegate(family, threads);
      Network network(delegate.get());
      check(network, expected, runs, family + " on " + std::to_string(threads) + " threads");
    }
  }
}

// `shared`: both use one delegate, and so its threads; who comes second does all of a step itself.
void side_by_side(const std::vector<Bytes>& expected, int runs, bool shared) {
  for (int threads = 1; threads <= 4; ++threads) {
    const DelegatePointer one = make_delegate("auto", threads), two = make_delegate("auto", threads);
    const auto work = [&](TfLiteDelegate* delegate) {
      for (int life = 0; life < 3; ++life) {
        Network network(delegate);
        check(network, expected, runs, shared ? "with one delegate" : "with two delegates");
      }
    };
    std::thread first(work, one.get()), second(work, shared ? one.get() : two.get());
    first.join();
    second.join();
  }
}

// Threads that wait for the next run take no time of the processor.
void idle() {
  const DelegatePointer delegate = make_delegate("auto", 4);
  Network network(delegate.get());
  network.run();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  if (seconds > 0.1) fail("idle threads took " + std::to_string(seconds) + " s of 0.4 s");
}

// A child has none of its parent's threads: it makes its own, or does the work alone.
void in_child(const std::vector<Bytes>& expected) {
  for (int threads = 1; threads <= 4; ++threads) {
    const DelegatePointer delegate = make_delegate("auto", threads);
    Network used(delegate.get()), fresh(delegate.get());
    check(used, expected, 5, "before the fork");
    const pid_t child = fork();
    if (child < 0) fail("there is no other process");
    if (child == 0) {
      alarm(60);  // a child that waits for threads it does not have ends with a signal
      check(used, expected, 5, "in the child");
      check(fresh, expected, 5, "in the child, first used there");
      const DelegatePointer own = make_delegate("auto", threads);
      Network another(own.get());
      check(another, expected, 5, "in the child, made there");
      std::exit(0);  // with all destructors
    }
    check(used, expected, 5, "after the fork");
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      fail("the child ended with status " + std::to_string(status) + " on " + std::to_string(threads) + " threads");
    }
    check(used, expected, 5, "after the child");
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) fail("usage: threads_test RUNS | --fork");
  const std::vector<Bytes> expected = expected_results();
  if (std::strcmp(arguments[1], "--fork") == 0) {
    in_child(expected);
  } else {
    const int runs = std::atoi(arguments[1]);
    one_after_the_other(expected, runs);
    side_by_side(expected, runs, false);
    side_by_side(expected, runs, true);
    idle();
  }
  std::printf("ok\n");
  return 0;
}
