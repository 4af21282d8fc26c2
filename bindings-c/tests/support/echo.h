// Requests to and responses of contract.v1.Echo.
#ifndef ECHO_H
#define ECHO_H

#include <millstream.h>

#include "contract/v1/echo.pb-c.h"

#define ECHO_UNARY "/contract.v1.Echo/Unary"
#define ECHO_SERVER_STREAM "/contract.v1.Echo/ServerStream"
#define ECHO_CLIENT_STREAM "/contract.v1.Echo/ClientStream"
#define ECHO_BIDI "/contract.v1.Echo/Bidi"

#ifdef __cplusplus
extern "C" {
#endif

typedef Contract__V1__EchoRequest echo_request;
typedef Contract__V1__EchoResponse echo_response;

#define ECHO_REQUEST_INIT CONTRACT__V1__ECHO_REQUEST__INIT

/// A request that asks for this many answers.
echo_request echo_count(uint32_t count);

/// A request whose call ends with this status.
void echo_finish(
    echo_request* request, Contract__V1__Finish* finish, int code, const char* message);

/// The bytes of a request: freed by echo_free.
mill_slice echo_pack(const echo_request* request);
void echo_free(mill_slice packed);

/// The response in these bytes: freed by echo_free_response. Fails the test when they are none.
echo_response* echo_unpack(mill_slice bytes);
void echo_free_response(echo_response* response);

/// Fails unless the message is an answer with this number.
void echo_check_sequence(mill_slice message, uint64_t sequence);

/// Opens a channel to the reference server without options.
mill_channel open_reference(void);

/// Starts a call and sends one Echo request; half-closes where the method takes no other.
mill_call start_echo(
    mill_channel channel, mill_call_kind kind, const echo_request* request,
    const mill_call_options* options);

mill_slice slice_of(const char* text);

#ifdef __cplusplus
}
#endif

#endif
