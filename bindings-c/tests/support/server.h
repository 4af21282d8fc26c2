// The servers of the tests as child processes, which end with the test.
#ifndef SERVER_H
#define SERVER_H

#include <cjson/cJSON.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Starts a program and reads its first line, an object of JSON. The program runs until the test
/// ends: it is told by the end of its standard input. Fails the test when it does not start.
cJSON* server_start(const char* const* argv);

/// Kills the last server that was started, as a crash would, and waits for its end.
void server_kill(void);

/// The target of the reference server of this test under a name of its ready line: "http",
/// "https", "mtls" or "unix". Starts it when it is first asked for.
const char* reference_target(const char* name);

/// A file that the reference server wrote for TLS, such as "ca.pem", read whole.
const char* reference_pem(const char* name);

/// The target of a listener of the fault server.
const char* fault_target(const char* name);

/// A target where nobody listens.
const char* refused_target(void);

#ifdef __cplusplus
}
#endif

#endif
