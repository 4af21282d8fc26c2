# Installs the library into an empty prefix and builds programs against it as users do.
#   cmake -Dbuild=... -Dwork=... -Dversion=... [-Dc_compiler=...] -P installed.cmake

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(JOIN " " line ${ARGN})
    message(FATAL_ERROR "${line}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect_version)
  if(NOT output MATCHES "^millstream ${version}\n$")
    message(FATAL_ERROR "the program said \"${output}\", not the version ${version}")
  endif()
endfunction()

file(REMOVE_RECURSE "${work}")
set(prefix "${work}/first")
run("${CMAKE_COMMAND}" --install "${build}" --prefix "${prefix}")
# An installation can be moved: nothing in it knows where it was made.
file(RENAME "${prefix}" "${work}/moved")
set(prefix "${work}/moved")

run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${work}/consumer"
    "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_C_COMPILER=${c_compiler}")
run("${CMAKE_COMMAND}" --build "${work}/consumer")
foreach(program consumer_c consumer_c_static consumer_cpp)
  run("${work}/consumer/${program}")
  expect_version()
endforeach()

find_program(PKG_CONFIG pkg-config)
if(NOT PKG_CONFIG)
  message(FATAL_ERROR "pkg-config is missing; install the package pkg-config")
endif()
file(GLOB_RECURSE pc "${prefix}/millstream.pc")
get_filename_component(pc "${pc}" DIRECTORY)
get_filename_component(lib "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} "${pc}")
run("${PKG_CONFIG}" --cflags --libs millstream)
separate_arguments(flags UNIX_COMMAND "${output}")
run("${c_compiler}" "${CMAKE_CURRENT_LIST_DIR}/consumer/main.c" -o "${work}/by_pkg_config" ${flags}
    "-Wl,-rpath,${lib}")
run("${work}/by_pkg_config")
expect_version()

# The documented line for the static library: the archive by its path, then what it needs.
run("${PKG_CONFIG}" --cflags --libs --static millstream)
separate_arguments(flags UNIX_COMMAND "${output}")
list(TRANSFORM flags REPLACE "^-lmillstream$" "${lib}/libmillstream.a")
run("${c_compiler}" "${CMAKE_CURRENT_LIST_DIR}/consumer/main.c" -o "${work}/static" ${flags})
run("${work}/static")
expect_version()
