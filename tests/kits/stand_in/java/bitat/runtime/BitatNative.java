// In the place of the Kotlin object of this name: calls each function of libbitat_jni.so once.
package bitat.runtime;

public final class BitatNative {
  public native long create(String[] keys, String[] values);

  public native void destroy(long handle);

  public native String kernel(long handle);

  public native String lastError(long handle);

  public native String version();

  private void refuse(String[] keys, String[] values) {
    try {
      System.out.println("made " + create(keys, values));
    } catch (IllegalArgumentException | NullPointerException error) {
      System.out.println(error.getClass().getSimpleName() + ": " + error.getMessage());
    }
  }

  public static void main(String[] arguments) {
    System.loadLibrary("bitat_jni");
    BitatNative natives = new BitatNative();
    System.out.println("version " + natives.version());
    long handle = natives.create(new String[] {"num_threads", "kernel"}, new String[] {"2", "portable"});
    System.out.println("handle " + (handle != 0));
    System.out.println("kernel " + natives.kernel(handle));
    System.out.println("error '" + natives.lastError(handle) + "'");
    natives.destroy(handle);
    natives.refuse(new String[] {"speed"}, new String[] {"9"});
    natives.refuse(new String[] {"num_threads"}, new String[] {"many"});
    natives.refuse(new String[] {"num_threads", "kernel"}, new String[] {"1"});
    natives.refuse(new String[] {"num_threads", null}, new String[] {"1", "portable"});
    natives.refuse(new String[5], new String[5]);
  }
}
