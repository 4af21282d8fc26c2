/** Streaming gRPC calls over the native core of Millstream. */
module dev.millstream {
    exports dev.millstream;
}
