#include "echo.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "server.h"

echo_request echo_count(uint32_t count) {
    echo_request request = ECHO_REQUEST_INIT;
    request._count_case = CONTRACT__V1__ECHO_REQUEST___COUNT_COUNT;
    request.count = count;
    return request;
}

void echo_finish(
    echo_request* request, Contract__V1__Finish* finish, int code, const char* message) {
    contract__v1__finish__init(finish);
    finish->code = code;
    finish->message = (char*)message;
    request->_finish_case = CONTRACT__V1__ECHO_REQUEST___FINISH_FINISH;
    request->finish = finish;
}

mill_slice echo_pack(const echo_request* request) {
    mill_slice packed = {NULL, contract__v1__echo_request__get_packed_size(request)};
    uint8_t* data = malloc(packed.len + 1);
    CHECK(data != NULL);
    contract__v1__echo_request__pack(request, data);
    packed.data = data;
    return packed;
}

void echo_free(mill_slice packed) {
    free((void*)packed.data);
}

echo_response* echo_unpack(mill_slice bytes) {
    CHECK(bytes.data != NULL);
    echo_response* response = contract__v1__echo_response__unpack(NULL, bytes.len, bytes.data);
    CHECK(response != NULL);
    return response;
}

void echo_free_response(echo_response* response) {
    contract__v1__echo_response__free_unpacked(response, NULL);
}

void echo_check_sequence(mill_slice message, uint64_t sequence) {
    echo_response* response = echo_unpack(message);
    CHECK_INT(sequence, response->sequence);
    echo_free_response(response);
}

mill_channel open_reference(void) {
    mill_channel channel = {0};
    OK(mill_channel_open(reference_target("http"), NULL, &channel, &error));
    return channel;
}

mill_call start_echo(
    mill_channel channel, mill_call_kind kind, const echo_request* request,
    const mill_call_options* options) {
    static const char* const paths[] = {
        [MILL_UNARY] = ECHO_UNARY,
        [MILL_CLIENT_STREAM] = ECHO_CLIENT_STREAM,
        [MILL_SERVER_STREAM] = ECHO_SERVER_STREAM,
        [MILL_BIDI] = ECHO_BIDI,
    };
    mill_call call = {0};
    mill_slice packed = echo_pack(request);
    OK(mill_call_start(channel, paths[kind], kind, options, &call, &error));
    OK(mill_call_send(call, packed, 20000, &error));
    echo_free(packed);
    if (kind == MILL_UNARY || kind == MILL_SERVER_STREAM) {
        OK(mill_call_half_close(call, &error));
    }
    return call;
}

mill_slice slice_of(const char* text) {
    mill_slice slice = {(const uint8_t*)text, strlen(text)};
    return slice;
}
