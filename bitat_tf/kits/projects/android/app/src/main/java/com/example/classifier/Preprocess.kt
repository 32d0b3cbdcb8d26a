package com.example.classifier

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/** A picture of 8 bits a channel; rows from the top, channels side by side. */
class Pixels(val width: Int, val height: Int, val channels: Int, val values: ByteArray)

/** What the network expects of pixels 0..255: scale * pixel + offset, after the channels were turned round if reverse. */
class Scaling(val scale: DoubleArray, val offset: DoubleArray, val reverse: Boolean)

/**
 * Pixels as the network was trained on them: bilinear resize as Pillow does it, gray, scaling.
 *
 * Android's own Bitmap.createScaledBitmap looks at four pixels however far it shrinks, so it gives other values.
 */
object Preprocess {
    private const val WEIGHT_BITS = 22

    /** The weights of the input pixels from first on for one output pixel, in units of 2^-22. */
    private class Window(val first: Int, val weights: IntArray)

    /** Returns the pixels that the network sees, 8 bits, before scaling; square is red, green, blue. */
    fun prepare(square: Pixels, width: Int, height: Int, channels: Int): Pixels {
        require(square.channels == 3) { "expected a picture of red, green and blue" }
        require(channels == 1 || channels == 3) { "expected a network of 1 or 3 channels. Received: $channels" }
        val resized = resize(square, width, height)
        return if (channels == 3) resized else toGray(resized)
    }

    /** Returns the picture in another size: first the rows, then the columns, each rounded to 8 bits. */
    fun resize(picture: Pixels, width: Int, height: Int): Pixels {
        val channels = picture.channels
        var rows = picture
        if (width != picture.width) {
            val windows = triangleWindows(picture.width, width)
            val values = ByteArray(width * picture.height * channels)
            for (y in 0 until picture.height) {
                for (x in 0 until width) {
                    for (c in 0 until channels) {
                        val start = (y * picture.width + windows[x].first) * channels + c
                        values[(y * width + x) * channels + c] = roundedSum(picture.values, start, channels, windows[x])
                    }
                }
            }
            rows = Pixels(width, picture.height, channels, values)
        }
        if (height == picture.height) return rows
        val windows = triangleWindows(picture.height, height)
        val line = width * channels
        val values = ByteArray(height * line)
        for (y in 0 until height) {
            for (i in 0 until line) {
                values[y * line + i] = roundedSum(rows.values, windows[y].first * line + i, line, windows[y])
            }
        }
        return Pixels(width, height, channels, values)
    }

    /** Returns, for each output pixel of a line, a triangle around its place, as wide as the line shrinks. */
    private fun triangleWindows(inputSize: Int, outputSize: Int): List<Window> {
        val ratio = inputSize.toDouble() / outputSize
        val support = max(ratio, 1.0)
        return List(outputSize) { place ->
            val centre = (place + 0.5) * ratio
            val first = max((centre - support + 0.5).toInt(), 0)
            val last = min((centre + support + 0.5).toInt(), inputSize)
            val triangle = DoubleArray(max(last - first, 0)) {
                max(1.0 - abs((it + first - centre + 0.5) * (1.0 / support)), 0.0)
            }
            var sum = 0.0
            for (weight in triangle) sum += weight
            Window(first, IntArray(triangle.size) { (0.5 + triangle[it] / sum * (1 shl WEIGHT_BITS)).toInt() })
        }
    }

    private fun roundedSum(values: ByteArray, start: Int, step: Int, window: Window): Byte {
        var sum = 1L shl (WEIGHT_BITS - 1)
        for (i in window.weights.indices) sum += (values[start + i * step].toInt() and 0xff).toLong() * window.weights[i]
        return min(max(sum shr WEIGHT_BITS, 0L), 255L).toInt().toByte()
    }

    /** Returns the luma of red, green, blue (ITU-R 601), rounded as Pillow's convert("L") does. */
    fun toGray(picture: Pixels): Pixels {
        val gray = ByteArray(picture.width * picture.height) { i ->
            val red = picture.values[3 * i].toInt() and 0xff
            val green = picture.values[3 * i + 1].toInt() and 0xff
            val blue = picture.values[3 * i + 2].toInt() and 0xff
            ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) shr 16).toByte()
        }
        return Pixels(picture.width, picture.height, 1, gray)
    }

    /** Returns the values that the network expects, in the order of its input. */
    fun scaled(pixels: Pixels, scaling: Scaling): FloatArray = FloatArray(pixels.values.size) { i ->
        val channel = i % pixels.channels
        val source = if (scaling.reverse) i - channel + (pixels.channels - 1 - channel) else i
        ((pixels.values[source].toInt() and 0xff) * scaling.scale[channel] + scaling.offset[channel]).toFloat()
    }

    /**
     * Returns the nearest value of an 8-bit tensor between lowest and highest, halves to even ones.
     *
     * A scale of 0 stands for no quantization.
     */
    fun quantized(value: Float, scale: Float, zeroPoint: Int, lowest: Int, highest: Int): Byte {
        val steps = if (scale > 0f) value / scale else value
        return min(max(round(steps) + zeroPoint, lowest.toFloat()), highest.toFloat()).toInt().toByte()
    }

    /** Returns one channel of a transparent picture over white, rounded as training had it. */
    fun overWhite(value: Int, alpha: Int): Byte {
        val sum = value * alpha * 128 + 255 * (255 - alpha) * 128 + (0x80 shl 7)
        return ((((sum shr 8) + sum) shr 8) shr 7).toByte()
    }
}
