package com.example.classifier

/** What is different from network to network. */
object Settings {
    // 8-bit inputs are the pixels themselves, less 128 for int8, whatever their scale.
    const val TAKES_BYTES = false
    val SCALING = Scaling(
        scale = doubleArrayOf(1.0, 1.0, 1.0),
        offset = doubleArrayOf(0.0, 0.0, 0.0),
        reverse = false,
    )
}
