// In the place of Android's classes that Classifier.kt takes.
package android.content

import java.io.InputStream

abstract class AssetManager {
    abstract fun open(name: String): InputStream
}

abstract class Context {
    abstract val assets: AssetManager
}
