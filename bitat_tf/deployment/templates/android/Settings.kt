package com.example.classifier

/** What is different from network to network. */
object Settings {
    // 8-bit inputs are the pixels themselves, less 128 for int8, whatever their scale.
    const val TAKES_BYTES = @BYTES@
    val SCALING = Scaling(
        scale = doubleArrayOf(@SCALE@),
        offset = doubleArrayOf(@OFFSET@),
        reverse = @REVERSE@,
    )
}
