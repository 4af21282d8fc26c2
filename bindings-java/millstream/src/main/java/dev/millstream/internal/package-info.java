/** The border to the native library. Not exported: nothing here is for applications. */
package dev.millstream.internal;
