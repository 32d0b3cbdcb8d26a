// In the place of Android's classes that MainActivity.kt takes. The main thread is the one that runs the queue.
package android.app

import android.content.AssetManager
import android.content.Context
import android.os.Bundle
import android.widget.Group
import java.io.File
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit

open class Activity : Context() {
    override val assets = object : AssetManager() {
        override fun open(name: String) = File(System.getProperty("assets"), name).inputStream()
    }
    private val queue = LinkedBlockingQueue<Runnable>()
    lateinit var content: Group

    open fun onCreate(savedInstanceState: Bundle?) {}

    open fun onDestroy() {}

    fun setTitle(title: CharSequence) = println("title: $title")

    fun setContentView(view: Group) {
        content = view
    }

    fun runOnUiThread(action: Runnable) = queue.put(action)

    fun isDestroyed() = false

    /** Runs what was posted until nothing comes for a second. */
    fun runQueue() {
        while (true) queue.poll(1, TimeUnit.SECONDS)?.run() ?: return
    }
}
