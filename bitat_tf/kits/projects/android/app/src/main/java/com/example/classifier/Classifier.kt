package com.example.classifier

import android.content.Context
import android.graphics.Bitmap
import bitat.runtime.BitatDelegate
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.min

/**
 * Classifies pictures with model.tflite and labels.txt of the app's assets, on LiteRT with the delegate of bitat-runtime.
 *
 * The delegate runs the binary operators, XNNPACK the others. Calls are taken one after the other. Close it after use.
 */
class Classifier private constructor(
    private val interpreter: Interpreter,
    private val delegate: BitatDelegate,
    private val labels: List<String>,
) : AutoCloseable {
    class Result(val label: String, val score: Float)

    init {
        val classes = interpreter.getOutputTensor(0).shape().last()
        require(labels.size == classes) { "labels.txt must have $classes lines. Received: ${labels.size}." }
    }

    /** The kernels that run the binary operators: "neon", ... */
    val kernel: String
        get() = delegate.kernel

    /**
     * Returns the best classes, the best one first.
     *
     * @param bitmap The picture, upright: BitmapFactory does not turn photos as their EXIF orientation says.
     * @param top How many classes.
     */
    @Synchronized
    fun classify(bitmap: Bitmap, top: Int = 5): List<Result> {
        val output = interpreter.getOutputTensor(0)
        val outputBuffer = bufferFor(output)
        interpreter.run(input(bitmap), outputBuffer)
        outputBuffer.rewind()
        val scores = FloatArray(labels.size) { score(outputBuffer, output) }
        return scores.indices.sortedByDescending { scores[it] }.take(top).map { Result(labels[it], scores[it]) }
    }

    /** Returns the median time of the network alone in milliseconds, without the preparation of the picture. */
    @Synchronized
    fun medianMilliseconds(bitmap: Bitmap, runs: Int = 50): Double {
        require(runs > 0) { "at least one run is needed. Received: $runs." }
        val inputBuffer = input(bitmap)
        val outputBuffer = bufferFor(interpreter.getOutputTensor(0))
        val times = DoubleArray(runs) {
            inputBuffer.rewind()
            outputBuffer.rewind()
            val start = System.nanoTime()
            interpreter.run(inputBuffer, outputBuffer)
            (System.nanoTime() - start) / 1e6
        }
        times.sort()
        return if (runs % 2 == 1) times[runs / 2] else (times[runs / 2 - 1] + times[runs / 2]) / 2
    }

    override fun close() {
        interpreter.close()
        delegate.close() // last: the interpreter uses it until it is closed
    }

    private fun input(bitmap: Bitmap): ByteBuffer {
        val tensor = interpreter.getInputTensor(0)
        val (_, height, width, channels) = tensor.shape()
        val values = Preprocess.scaled(Preprocess.prepare(square(bitmap), width, height, channels), Settings.SCALING)
        val buffer = bufferFor(tensor)
        val bytes = Settings.TAKES_BYTES
        val quantization = tensor.quantizationParams()
        val scale = if (bytes) 1f else quantization.scale
        val zeroPoint = if (!bytes) quantization.zeroPoint else if (tensor.dataType() == DataType.INT8) -128 else 0
        for (value in values) {
            when (tensor.dataType()) {
                DataType.FLOAT32 -> buffer.putFloat(value)
                DataType.UINT8 -> buffer.put(Preprocess.quantized(value, scale, zeroPoint, 0, 255))
                DataType.INT8 -> buffer.put(Preprocess.quantized(value, scale, zeroPoint, -128, 127))
                else -> throw IllegalStateException("expected an input of float32, uint8 or int8: ${tensor.dataType()}")
            }
        }
        buffer.rewind()
        return buffer
    }

    private fun score(buffer: ByteBuffer, tensor: Tensor): Float {
        val scale = tensor.quantizationParams().scale.let { if (it > 0f) it else 1f }
        val zeroPoint = tensor.quantizationParams().zeroPoint
        return when (tensor.dataType()) {
            DataType.FLOAT32 -> buffer.getFloat()
            DataType.UINT8 -> scale * ((buffer.get().toInt() and 0xff) - zeroPoint)
            DataType.INT8 -> scale * (buffer.get().toInt() - zeroPoint)
            else -> throw IllegalStateException("expected an output of float32, uint8 or int8: ${tensor.dataType()}")
        }
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
                made = Classifier(interpreter, delegate, labelsOf(context))
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

        /** Returns the network, as the interpreter takes it. */
        private fun modelOf(context: Context): ByteBuffer {
            val content = context.assets.open("model.tflite").use { it.readBytes() }
            val model = ByteBuffer.allocateDirect(content.size).order(ByteOrder.nativeOrder()).put(content)
            model.rewind()
            return model
        }

        /** Returns the names of the classes, one a line. */
        private fun labelsOf(context: Context): List<String> =
            context.assets.open("labels.txt").bufferedReader().use { it.readLines() }

        private fun bufferFor(tensor: Tensor): ByteBuffer =
            ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder())

        /** Returns the largest square in the middle, on white where it is transparent. */
        private fun square(bitmap: Bitmap): Pixels {
            // Pixels of hardware bitmaps cannot be read.
            val copy = if (bitmap.config == Bitmap.Config.ARGB_8888) bitmap else bitmap.copy(Bitmap.Config.ARGB_8888, false)
            val readable = copy ?: throw IllegalArgumentException("the pixels of this bitmap cannot be read")
            val side = min(readable.width, readable.height)
            val left = (readable.width - side) / 2
            val top = (readable.height - side) / 2
            val values = ByteArray(side * side * 3)
            val row = IntArray(side)
            for (y in 0 until side) {
                readable.getPixels(row, 0, side, left, top + y, side, 1)
                for (x in 0 until side) {
                    val alpha = row[x] ushr 24
                    for (c in 0 until 3) {
                        values[(y * side + x) * 3 + c] = Preprocess.overWhite((row[x] shr (16 - 8 * c)) and 0xff, alpha)
                    }
                }
            }
            return Pixels(side, side, 3, values)
        }
    }
}
