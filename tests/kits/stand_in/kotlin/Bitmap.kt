// In the place of Android's class of this name.
package android.graphics

class Bitmap(val width: Int, val height: Int, private val argb: IntArray) {
    enum class Config { ARGB_8888, HARDWARE }

    val config: Config? = Config.ARGB_8888

    fun copy(config: Config, isMutable: Boolean): Bitmap? = if (config == this.config && !isMutable) this else null

    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {
        for (row in 0 until height) {
            for (column in 0 until width) {
                pixels[offset + row * stride + column] = argb[(y + row) * this.width + x + column]
            }
        }
    }
}
