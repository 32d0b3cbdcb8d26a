// Starts the activity, waits for its thread, and prints what stands on the screen.
package com.example.classifier

import android.widget.Group
import android.widget.ImageView
import android.widget.TextView
import org.tensorflow.lite.Interpreter

/** In the place of the class that the build makes of the resources. */
object R {
    object string {
        const val running = 7
    }
}

fun main() {
    val activity = MainActivity()
    activity.onCreate(null)
    val column = activity.content.children.single() as Group
    val (picture, text) = column.children
    println("first: ${(text as TextView).said}")
    activity.runQueue()
    activity.onDestroy()
    println("picture: ${(picture as ImageView).bitmap?.let { "${it.width}x${it.height}" }}")
    println("runs: ${Interpreter.runs}")
    println(text.said)
}
