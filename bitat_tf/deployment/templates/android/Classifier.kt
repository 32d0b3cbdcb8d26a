package com.example.classifier

import android.content.Context
import org.tensorflow.lite.Interpreter

/**
 * Classifies pictures with model.tflite and labels.txt of the app's assets.
 *
 * It loads the native library of larq-compute-engine's AAR, which knows the binary operators; the one of
 * org.tensorflow:tensorflow-lite does not. Calls are taken one after the other. Close it after use.
 */
class Classifier(context: Context, threads: Int = 2) : PictureClassifier(open(context, threads), labelsOf(context)) {
    private companion object {
        fun open(context: Context, threads: Int): Interpreter {
            val options = Interpreter.Options()
            options.setNumThreads(threads)
            // XNNPACK does not work together with the AAR of larq-compute-engine.
            options.setUseXNNPACK(false)
            return Interpreter(modelOf(context), options)
        }
    }
}
