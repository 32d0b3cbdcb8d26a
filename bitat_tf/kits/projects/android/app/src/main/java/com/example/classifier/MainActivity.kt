package com.example.classifier

import android.app.Activity
import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.os.Bundle
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import java.io.IOException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Shows the picture of the assets, the five best classes, and the time that the network takes. */
class MainActivity : Activity() {
    private lateinit var picture: ImageView
    private lateinit var text: TextView

    // The network runs here: the main thread must not wait for it.
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setTitle(Settings.NAME)
        picture = ImageView(this)
        picture.setAdjustViewBounds(true) // as wide as the screen, however small the picture
        text = TextView(this)
        text.setTextSize(18f)
        text.setTextIsSelectable(true)
        text.setText(R.string.running)
        val column = LinearLayout(this)
        column.setOrientation(LinearLayout.VERTICAL)
        column.setPadding(48, 48, 48, 48)
        column.addView(picture)
        column.addView(text)
        val page = ScrollView(this)
        page.setFitsSystemWindows(true)
        page.addView(column)
        setContentView(page)
        worker.execute(::work)
    }

    override fun onDestroy() {
        worker.shutdownNow()
        super.onDestroy()
    }

    private fun work() {
        val said = try {
            val bitmap = readPicture(this)
            show { picture.setImageBitmap(bitmap) }
            describe(this, bitmap)
        } catch (error: IOException) {
            failure(error)
        } catch (error: RuntimeException) {
            failure(error)
        } catch (error: LinkageError) { // the native libraries
            failure(error)
        }
        show { text.setText(said) }
    }

    private fun show(change: () -> Unit) = runOnUiThread { if (!isDestroyed()) change() }

    companion object {
        private const val RUNS = 50

        private fun readPicture(context: Context): Bitmap =
            context.assets.open("picture.png").use { BitmapFactory.decodeStream(it) }
                ?: throw IOException("picture.png of the assets cannot be read as a picture")

        private fun describe(context: Context, bitmap: Bitmap): String {
            val threads = Runtime.getRuntime().availableProcessors().coerceIn(1, 4)
            return Classifier.open(context, threads).use { classifier ->
                val best = classifier.classify(bitmap).mapIndexed { place, result ->
                    "%d. %s  %.4g".format(place + 1, result.label, result.score)
                }
                val time = classifier.medianMilliseconds(bitmap, RUNS)
                best.joinToString("\n") + "\n\n%.3f ms, median of %d runs\n%d threads, kernels: %s"
                    .format(time, RUNS, threads, classifier.kernel)
            }
        }

        private fun failure(error: Throwable): String = "That did not work.\n\n${error.message ?: error}"
    }
}
