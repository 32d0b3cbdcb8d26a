// Prints the name of the network, and runs the classifier on pictures: a line of standard input each,
// "width height file of ARGB, file for what the network saw".
package com.example.classifier

import android.content.AssetManager
import android.content.Context
import android.graphics.Bitmap
import org.tensorflow.lite.Interpreter
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

class Assets(private val folder: String) : AssetManager() {
    override fun open(name: String) = File(folder, name).inputStream()
}

class App(folder: String) : Context() {
    override val assets = Assets(folder)
}

fun main() {
    println(Settings.NAME)
    for (line in generateSequence(::readLine)) {
        val (folder, width, height, pixels, seen) = line.split(" ")
        val buffer = ByteBuffer.wrap(File(pixels).readBytes()).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer()
        val argb = IntArray(buffer.remaining()).also { buffer.get(it) }
        Classifier.open(App(folder), 1).use { classifier ->
            val results = classifier.classify(Bitmap(width.toInt(), height.toInt(), argb))
            println(results.joinToString(" ") { "${it.label}=${it.score}" })
        }
        File(seen).writeBytes(Interpreter.seen)
    }
}
