// All versions stand in gradle/libs.versions.toml. Kotlin comes with the Android Gradle plugin.
plugins {
    alias(libs.plugins.android.application) apply false
}
