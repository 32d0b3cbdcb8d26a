// What an app needs: these parts go into app/build.gradle.kts.
android {
    defaultConfig {
        minSdk = 30  // the level that larq-compute-engine's AAR is built for
        ndk {
            // Only arm64-v8a has fast binary kernels; x86_64 is for the emulator.
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
    }
}

dependencies {
    // The AAR of larq-compute-engine v@LCE_VERSION@, in app/libs.
    implementation(files("libs/lce-lite-v@LCE_VERSION@.aar"))
    // Only if the build does not find org.tensorflow.lite.DataType:
    // implementation("org.tensorflow:tensorflow-lite-api:@TF_VERSION@")
}

configurations.all {
    // A second native library of TensorFlow Lite does not know the binary operators.
    exclude(group = "org.tensorflow", module = "tensorflow-lite")
}
