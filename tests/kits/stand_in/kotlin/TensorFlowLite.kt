// In the place of TensorFlow Lite's classes that Classifier.kt takes: the output is the first values of the input.
package org.tensorflow.lite

import java.nio.ByteBuffer

enum class DataType { FLOAT32, UINT8, INT8, INT32 }

class Tensor(
    private val shape: IntArray,
    private val type: DataType,
    private val quantization: QuantizationParams,
) {
    class QuantizationParams(val scale: Float, val zeroPoint: Int)

    fun shape(): IntArray = shape

    fun dataType(): DataType = type

    fun numBytes(): Int = shape.fold(if (type == DataType.FLOAT32) 4 else 1) { product, size -> product * size }

    fun quantizationParams(): QuantizationParams = quantization
}

interface Delegate {
    fun getNativeHandle(): Long
}

/** The model is a line of text: type, scale and zero point of input and output, the side, the channels, the classes. */
class Interpreter(model: ByteBuffer, private val options: Options) : AutoCloseable {
    class Options {
        var threads = 0

        fun setNumThreads(value: Int): Options = apply { threads = value }

        val delegates = mutableListOf<Delegate>()

        fun addDelegate(delegate: Delegate): Options = apply { delegates += delegate }
    }

    private val words = ByteArray(model.remaining()).also { model.get(it) }.decodeToString().trim().split(" ")
    private val input: Tensor
    private val output: Tensor

    init {
        check(options.threads > 0) { "the number of threads must be set" }
        check(options.delegates.size == 1) { "the delegate must be given" }
        options.delegates.forEach { check(it.getNativeHandle() != 0L) { "the delegate must be alive" } }
        require(words[0] != "refused") { "Internal error: Cannot create interpreter: the network is refused" }
        val quantization = Tensor.QuantizationParams(words[1].toFloat(), words[2].toInt())
        val side = words[3].toInt()
        input = Tensor(intArrayOf(1, side, side, words[4].toInt()), DataType.valueOf(words[0]), quantization)
        output = Tensor(intArrayOf(1, words[5].toInt()), DataType.valueOf(words[0]), quantization)
    }

    fun getInputTensor(index: Int): Tensor = if (index == 0) input else throw IndexOutOfBoundsException()

    fun getOutputTensor(index: Int): Tensor = if (index == 0) output else throw IndexOutOfBoundsException()

    fun run(given: Any, taken: Any) {
        val bytes = given as ByteBuffer
        check(bytes.remaining() == input.numBytes()) { "the input must be filled and rewound" }
        check(!closed) { "the interpreter has been closed" }
        options.delegates.forEach { check(it.getNativeHandle() != 0L) { "the delegate must be alive" } }
        runs++
        val result = taken as ByteBuffer
        repeat(output.numBytes()) { result.put(bytes.get()) }
        seen = ByteArray(input.numBytes()).also { bytes.rewind(); bytes.get(it) }
    }

    private var closed = false

    override fun close() {
        options.delegates.forEach { check(it.getNativeHandle() != 0L) { "the delegate must be closed after the interpreter" } }
        closed = true
    }

    companion object {
        var seen = ByteArray(0)
        var runs = 0
    }
}
