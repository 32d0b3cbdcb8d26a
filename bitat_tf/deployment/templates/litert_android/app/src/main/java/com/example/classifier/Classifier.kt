package com.example.classifier

import android.content.Context
import bitat.runtime.BitatDelegate
import org.tensorflow.lite.Interpreter

/**
 * Classifies pictures with model.tflite and labels.txt of the app's assets, on LiteRT with the delegate of bitat-runtime.
 *
 * The delegate runs the binary operators, XNNPACK the others. Calls are taken one after the other. Close it after use.
 */
class Classifier private constructor(interpreter: Interpreter, labels: List<String>, private val delegate: BitatDelegate) :
    PictureClassifier(interpreter, labels) {
    /** The kernels that run the binary operators: "neon", ... */
    val kernel: String
        get() = delegate.kernel

    override fun close() {
        super.close()
        delegate.close() // last: the interpreter uses it until it is closed
    }

    companion object {
        /**
         * Returns a classifier.
         *
         * @throws IllegalArgumentException If the network is none that can be run: the message has the operator and the reason.
         */
        fun open(context: Context, threads: Int): Classifier {
            val delegate = BitatDelegate(threads)
            var interpreter: Interpreter? = null
            var made: Classifier? = null
            try {
                val options = Interpreter.Options()
                options.setNumThreads(threads)
                options.addDelegate(delegate)
                interpreter = Interpreter(modelOf(context), options)
                made = Classifier(interpreter, labelsOf(context), delegate)
                return made
            } catch (error: RuntimeException) {
                val reason = delegate.lastError
                throw if (reason.isEmpty()) error else IllegalArgumentException(reason, error)
            } finally {
                if (made == null) {
                    interpreter?.close()
                    delegate.close()
                }
            }
        }
    }
}
