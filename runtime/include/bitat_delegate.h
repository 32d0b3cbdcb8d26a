/* The public interface of libbitat_delegate: a TFLite external delegate that runs larq-compute-engine's operators.
 *
 * The library links against nothing but the C library. It is handed to a stock TFLite or LiteRT interpreter, which
 * must be of the C structs' layout that TensorFlow 2.16 to 2.21 and ai-edge-litert 1.4 to 2.3 share (src/abi/tflite.h).
 */
#ifndef BITAT_DELEGATE_H_
#define BITAT_DELEGATE_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BITAT_EXPORT __attribute__((visibility("default")))

struct TfLiteDelegate;

/* Creates a delegate: the two entry points that TFLite looks for in external delegates.
 *
 * Options, all of them strings:
 *   num_threads  "1" to "256"; "0" (default): as many as the interpreter has.
 *   kernel       "auto" (default), or one of bitat_kernel_families().
 *   fusion       "on" (default), "off", or a comma-separated list of "residual", "prelu", "quantize", "concat".
 *   profile      "0" (default) or "1": measure each step, for bitat_profile().
 *
 * Returns NULL if an option is unknown or has a value that it cannot have; report_error (may be NULL) gets the reason. */
BITAT_EXPORT struct TfLiteDelegate* tflite_plugin_create_delegate(char** options_keys, char** options_values,
                                                                  size_t num_options, void (*report_error)(const char*));

/* Ends a delegate. TFLite demands that it lives as long as the interpreters that it was handed to. What runs in these keeps its own
 * share of the delegate's state alive, so that an interpreter which is deleted after it does no harm. */
BITAT_EXPORT void tflite_plugin_destroy_delegate(struct TfLiteDelegate* delegate);

/* The version of the library, "0.1.0". */
BITAT_EXPORT const char* bitat_version(void);

/* The kernels that this processor can run, separated by commas, from the slowest to the fastest: "portable,avx2,avx512". */
BITAT_EXPORT const char* bitat_kernel_families(void);

/* The kernels that a delegate uses: one of bitat_kernel_families(). */
BITAT_EXPORT const char* bitat_kernel(const struct TfLiteDelegate* delegate);

/* What a delegate refused or failed at last, "" if nothing: "LceBconv2d (node 7): ...". Valid until the next call that fails:
 * not to be called while an interpreter with this delegate works on another thread. */
BITAT_EXPORT const char* bitat_last_error(const struct TfLiteDelegate* delegate);

/* Writes what each step of the delegate took as JSON, ended by a zero, and returns the bytes it needs with the zero.
 * Nothing is written where capacity is less. A list of objects, in the order of execution:
 *   {"name": "LceBconv2d+ADD+PRELU", "nodes": [5, 6, 7], "output": "tensor name", "runs": 10, "seconds": 0.0012,
 *    "macs": 115605504}
 * "seconds" is the sum over all runs, "macs" are the binary multiply-accumulates of one run. Without the option
 * "profile" runs and seconds are 0. Not to be called while an interpreter runs. */
BITAT_EXPORT size_t bitat_profile(const struct TfLiteDelegate* delegate, char* buffer, size_t capacity);
BITAT_EXPORT void bitat_reset_profile(struct TfLiteDelegate* delegate);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* BITAT_DELEGATE_H_ */
