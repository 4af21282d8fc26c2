# protobuf_c_library(<target> <proto directory> <file>...)
#
# Makes a static library of the messages of .proto files by protobuf-c.

find_program(PROTOC protoc)
find_program(PROTOC_GEN_C protoc-gen-c)
find_path(PROTOBUF_INCLUDE google/protobuf/timestamp.proto)
find_path(PROTOBUF_C_INCLUDE protobuf-c/protobuf-c.h)
find_library(PROTOBUF_C_LIBRARY protobuf-c)
foreach(need
    "PROTOC:protobuf-compiler" "PROTOC_GEN_C:protobuf-c-compiler"
    "PROTOBUF_INCLUDE:libprotobuf-dev" "PROTOBUF_C_INCLUDE:libprotobuf-c-dev"
    "PROTOBUF_C_LIBRARY:libprotobuf-c-dev")
  string(REPLACE ":" ";" need "${need}")
  list(GET need 0 variable)
  list(GET need 1 package)
  if(NOT ${variable})
    message(FATAL_ERROR "protobuf-c is incomplete; install the package ${package}")
  endif()
endforeach()

set(PROTOBUF_C_PLUGIN "${CMAKE_CURRENT_LIST_DIR}/protoc-gen-c-optional.sh")

function(protobuf_c_library target directory)
  set(out "${CMAKE_CURRENT_BINARY_DIR}/${target}")
  file(MAKE_DIRECTORY "${out}")
  set(sources)
  foreach(file IN LISTS ARGN)
    string(REGEX REPLACE "\\.proto$" ".pb-c" base "${file}")
    set(dependency "${directory}/${file}")
    if(NOT EXISTS "${dependency}")
      set(dependency)
    endif()
    add_custom_command(
      OUTPUT "${out}/${base}.c" "${out}/${base}.h"
      COMMAND "${CMAKE_COMMAND}" -E env "PROTOC_GEN_C=${PROTOC_GEN_C}"
              "${PROTOC}" "--plugin=protoc-gen-c=${PROTOBUF_C_PLUGIN}" "--c_out=${out}"
              "--proto_path=${directory}" "--proto_path=${PROTOBUF_INCLUDE}" "${file}"
      DEPENDS ${dependency} "${PROTOBUF_C_PLUGIN}"
      VERBATIM)
    list(APPEND sources "${out}/${base}.c")
  endforeach()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC "${out}" "${PROTOBUF_C_INCLUDE}")
  target_link_libraries(${target} PUBLIC "${PROTOBUF_C_LIBRARY}")
endfunction()
