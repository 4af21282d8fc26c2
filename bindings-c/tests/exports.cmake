# Compares what the shared library exports with what the header declares, and looks at its name.
#   cmake -Dlibrary=... -Dheader=... -Dsoname=... -P exports.cmake

find_program(NM nm REQUIRED)
find_program(READELF readelf REQUIRED)

execute_process(COMMAND "${NM}" -D --defined-only "${library}"
  OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+\n" exported "${symbols}")
list(TRANSFORM exported STRIP)
list(SORT exported)

file(STRINGS "${header}" lines REGEX "^[a-z].*mill_[a-z0-9_]+\\(")
set(declared)
foreach(line IN LISTS lines)
  string(REGEX REPLACE "^.*[ *](mill_[a-z0-9_]+)\\(.*$" "\\1" name "${line}")
  list(APPEND declared "${name}")
endforeach()
list(SORT declared)

if(NOT exported STREQUAL declared)
  message(FATAL_ERROR "exported: ${exported}\ndeclared: ${declared}")
endif()

execute_process(COMMAND "${READELF}" -d "${library}"
  OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
foreach(wanted "Library soname: \\[${soname}\\]" "NODELETE")
  if(NOT dynamic MATCHES "${wanted}")
    message(FATAL_ERROR "the library has no ${wanted}:\n${dynamic}")
  endif()
endforeach()
list(LENGTH exported count)
message("${count} functions")
