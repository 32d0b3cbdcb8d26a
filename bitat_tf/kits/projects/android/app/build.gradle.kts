plugins {
    alias(libs.plugins.android.application)
}

// Forward slashes: CMake takes the path on Windows, too.
val runtimeSources = rootProject.file(providers.gradleProperty("bitat.runtime").get()).invariantSeparatorsPath

android {
    namespace = "com.example.classifier"
    compileSdk = libs.versions.compileSdk.get().toInt()
    ndkVersion = libs.versions.ndk.get()

    defaultConfig {
        applicationId = "com.example.classifier"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 1
        versionName = "1.0"
        ndk {
            // Phones, and the emulator on a computer. The delegate has fast kernels for both.
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
        externalNativeBuild {
            cmake {
                arguments += listOf(
                    "-DBITAT_RUNTIME_DIR=$runtimeSources",
                    "-DANDROID_STL=c++_static",
                    // Pages of 16 KB, which Google Play demands: on by default from NDK r28 on, needed with r27.
                    "-DANDROID_SUPPORT_FLEXIBLE_PAGE_SIZES=ON",
                    // A debug build of the app has fast kernels as well.
                    "-DCMAKE_BUILD_TYPE=Release",
                )
            }
        }
    }

    externalNativeBuild {
        cmake {
            path = file("src/main/cpp/CMakeLists.txt")
            version = libs.versions.cmake.get()
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation(libs.litert)
}
