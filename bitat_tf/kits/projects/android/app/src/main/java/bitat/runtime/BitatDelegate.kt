package bitat.runtime

import org.tensorflow.lite.Delegate

/** The functions of libbitat_jni.so (bitat_jni.cc); their names there hold those of this package and object. */
internal object BitatNative {
    init {
        System.loadLibrary("bitat_jni")
    }

    external fun create(keys: Array<String>, values: Array<String>): Long

    external fun destroy(handle: Long)

    external fun kernel(handle: Long): String

    external fun lastError(handle: Long): String

    external fun version(): String
}

/**
 * Runs the binary operators of larq-compute-engine's files in the interpreter of LiteRT 1.x.
 *
 *     val delegate = BitatDelegate(threads = 4)
 *     val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(4).addDelegate(delegate))
 *     ...
 *     interpreter.close()
 *     delegate.close() // after the interpreter, which uses it until then
 *
 * One delegate is for one interpreter.
 *
 * @param threads Threads of the binary operators; 0: as many as the interpreter has.
 * @param kernel "auto", the fastest that the processor can run, or "neon", "portable", ...
 * @throws IllegalArgumentException If an option has a value that it cannot have.
 * @throws UnsatisfiedLinkError If the app was built without the native libraries of this processor.
 */
class BitatDelegate(threads: Int = 0, kernel: String = "auto") : Delegate, AutoCloseable {
    private var handle = BitatNative.create(arrayOf("num_threads", "kernel"), arrayOf(threads.toString(), kernel))

    /** The kernels that are used: "neon", ... */
    val kernel: String
        get() = BitatNative.kernel(getNativeHandle())

    /** What the delegate refused or failed at last: the operator and the reason. Empty if nothing. */
    val lastError: String
        get() = BitatNative.lastError(getNativeHandle())

    override fun getNativeHandle(): Long {
        check(handle != 0L) { "the delegate has been closed" }
        return handle
    }

    override fun close() {
        if (handle != 0L) BitatNative.destroy(handle)
        handle = 0L
    }

    companion object {
        /** The version of the delegate's library. */
        val version: String
            get() = BitatNative.version()
    }
}
