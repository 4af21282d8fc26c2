#!/bin/sh
# protoc-gen-c for proto3 files with `optional` fields. Releases of protobuf-c up to 1.5 handle such a
# field well (as a oneof of one field, so its presence is kept) but do not tell protoc so. A response
# is a protobuf message, and two of them written one after the other are merged: the second one here
# is `supported_features: FEATURE_PROTO3_OPTIONAL`.
"${PROTOC_GEN_C:-protoc-gen-c}" "$@" && printf '\020\001'
