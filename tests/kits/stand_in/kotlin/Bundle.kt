// In the place of Android's class of this name.
package android.os

class Bundle
