package com.example.classifier

// Written by `bitat-tf kit` for the network in model.tflite. The other sources are the same for all networks.
//
// reactnet: 53,952 bytes, sha256 80eba1cf6944986d9166ce6faac1327fb97a6d71f29f3422c45c92d725ad7705
// input: 1 x 8 x 8 x 1, float32
// output: 1 x 10, float32
// operators: 13 ADD, 6 LceQuantize, 6 LceBconv2d, 6 PRELU, 2 CONCATENATION, 1 MUL, 1 CONV_2D, 1 AVERAGE_POOL_2D, 1 MEAN, 1 FULLY_CONNECTED
// pixels: 0..255, as they are
object Settings {
    val NAME = "reactnet"
    val SCALING = Scaling(
        scale = doubleArrayOf(1.0, 1.0, 1.0),
        offset = doubleArrayOf(0.0, 0.0, 0.0),
        reverse = false,
    )
    val TAKES_BYTES = false // 8-bit inputs are the pixels themselves, less 128 for int8, whatever their scale
}
