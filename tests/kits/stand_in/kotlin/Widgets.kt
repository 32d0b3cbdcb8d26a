// In the place of the views that MainActivity.kt makes.
package android.widget

import android.content.Context
import android.graphics.Bitmap

abstract class View(context: Context) {
    init {
        context.assets
    }

    fun setPadding(left: Int, top: Int, right: Int, bottom: Int) = check(left + top + right + bottom > 0)

    fun setFitsSystemWindows(fits: Boolean) = check(fits)
}

class ImageView(context: Context) : View(context) {
    var bitmap: Bitmap? = null

    fun setAdjustViewBounds(adjust: Boolean) = check(adjust)

    fun setImageBitmap(bitmap: Bitmap) {
        this.bitmap = bitmap
    }
}

class TextView(context: Context) : View(context) {
    var said: CharSequence = ""

    fun setTextSize(size: Float) = check(size > 0f)

    fun setTextIsSelectable(selectable: Boolean) = check(selectable)

    fun setText(id: Int) {
        said = "string $id"
    }

    fun setText(text: CharSequence) {
        said = text
    }
}

open class Group(context: Context) : View(context) {
    val children = mutableListOf<View>()

    fun addView(view: View) {
        children += view
    }
}

class LinearLayout(context: Context) : Group(context) {
    fun setOrientation(orientation: Int) = check(orientation == VERTICAL)

    companion object {
        const val VERTICAL = 1
    }
}

class ScrollView(context: Context) : Group(context)
